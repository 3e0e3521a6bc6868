"""Uploads: what goes to the hub, and what does not because a licence is unknown or forbids it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub, hub
from typer.testing import CliRunner

from mmprm.cli import app
from mmprm.hub.push import planned
from mmprm.runtime.errors import UserError


def folder(path: Path, **licences: str | None) -> Path:
    """An exported folder with these licences of its data, and a PRM of a base that is free."""
    stated = {"labels": licences, "prm/soft": {"base": "apache-2.0"} | licences}
    files = {"README.md": "# card", "data/labels.parquet": "PAR1", "data_card/seeds.svg": "<svg/>"}
    files |= {"metrics/best_of_n.json": "{}", "prm/soft/config.json": "{}", "prm/soft/README.md": "# prm"}
    files["export.json"] = json.dumps({"run": "a", "licences": stated})
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def pushed(there: Hub, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `mmprm push` with the stand-in as the hub, in a process of its own: other tests have put this one offline."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, "-c", "from mmprm.cli import app; app()", "push", *arguments]
    asked = {"env": environment | {"HF_ENDPOINT": there.url, "HF_TOKEN": "hf_of_the_tests"}, "text": True}
    return subprocess.run(command, capture_output=True, check=False, **asked)  # type: ignore[call-overload, no-any-return]


def test_the_data_go_to_a_data_set_and_a_prm_to_a_model(tmp_path: Path) -> None:
    made = folder(tmp_path, mm_k12="apache-2.0", drawn=None)
    with hub() as there:
        for more in (["me/steps"], ["me/prm", "--part", "prm/soft", "--public"]):
            done = pushed(there, str(made), *more)
            assert done.returncode == 0 and "/commit/" in done.stdout, done.stderr
    data, model = there.files["datasets/me/steps"], there.files["models/me/prm"]
    assert set(data) == {"README.md", "data/labels.parquet", "data_card/seeds.svg", "metrics/best_of_n.json"}
    assert set(model) == {"README.md", "config.json"} and data["README.md"] == b"# card"
    assert there.repos["datasets/me/steps"]["visibility"] == "private"


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("unknown", r"the licence of 'pool' is 'unknown', so it is not uploaded\. State it"),
        ("other", "is 'other', so it is not uploaded"),
        ("cc-by-nc-nd-4.0", "cc-by-nc-nd-4.0, forbids it"),
        ("CC BY-ND 4.0", "forbids it"),
        ("All rights reserved", "forbids it"),
    ],
)
def test_what_a_licence_does_not_allow_is_not_uploaded(tmp_path: Path, licence: str, said: str) -> None:
    made = folder(tmp_path, pool=licence, free="mit")
    for part in ("data", "prm/soft"):
        with pytest.raises(UserError, match=said):
            planned(made, part, "me/steps")


@pytest.mark.parametrize("licence", ["cc-by-sa-4.0", "mit", "apache-2.0", "cc-by-nc-4.0", "cc0-1.0", "odc-by"])
def test_licences_that_let_changes_be_shared_are_uploaded(tmp_path: Path, licence: str) -> None:
    assert planned(folder(tmp_path, pool=licence), "data", "me/steps").repo == "me/steps"


def test_a_dry_run_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = folder(tmp_path, pool="mit")
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda *_, **__: pytest.fail("it asked"))
    done = CliRunner().invoke(app, ["push", str(made), "me/steps", "--dry-run"])
    assert done.exit_code == 0 and "dataset me/steps: 4 files" in done.output and "data/labels.parquet" in done.output


def test_what_the_hub_refuses_is_said(tmp_path: Path) -> None:
    made = folder(tmp_path, pool="mit")
    with hub() as there:
        there.refuses = (403, "You have no write access")
        done = pushed(there, str(made), "me/steps")
    assert done.returncode == 2 and "mmprm push: me/steps: the hub did not take it" in done.stderr
    assert "403" in done.stderr and "hf_of_the_tests" not in done.stderr


@pytest.mark.parametrize("damage", [None, "{", '{"licences": [1]}', "[]"])
def test_only_an_exported_folder_is_uploaded(tmp_path: Path, damage: Any) -> None:
    made = folder(tmp_path, pool="mit")
    if damage is None:
        (made / "export.json").unlink()
    else:
        (made / "export.json").write_text(damage)
    with pytest.raises(UserError, match="name a folder of `mmprm export`"):
        planned(made, "data", "me/steps")
    with pytest.raises(UserError, match="there is no part 'labels' in it; allowed: data, prm/soft"):
        planned(folder(tmp_path, pool="mit"), "labels", "me/steps")
