"""The command line: quick to start, and plain about what the user can fix."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from snake import ROOT
from typer.testing import CliRunner

from mmprm.cli import app


def mmprm(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).parent / "mmprm")
    return subprocess.run([program, *arguments], text=True, capture_output=True, check=False)


def test_help_loads_neither_models_nor_the_configuration() -> None:
    code = (
        "import sys; sys.argv = ['mmprm', '--help']\n"
        "from mmprm.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'vllm', 'transformers', 'pandas', 'pydantic'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True).stdout
    assert "annotate" in said
    assert said.splitlines()[-1] == "[]"


def test_an_error_that_the_user_can_fix_is_one_message_and_status_2(tmp_path: Path) -> None:
    done = mmprm(
        "gather-candidates", "--shards", str(tmp_path / "none.parquet"), "--out", str(tmp_path / "out.parquet")
    )
    assert done.returncode == 2
    assert "none.parquet" in done.stderr and "Traceback" not in done.stderr
    done = mmprm("config", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert "none.yaml" in done.stderr and "Traceback" not in done.stderr


def test_an_option_takes_several_files_as_snakemake_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmprm.evaluation import sample_candidates

    seen: list[list[Path]] = []
    monkeypatch.setattr(sample_candidates, "gather_candidates", lambda shards, out: seen.append([*shards, out]))
    done = CliRunner().invoke(app, ["gather-candidates", "--shards", "a", "b", "--out", "c", "--shards", "d"])
    assert done.exit_code == 0, done.output
    assert seen == [[Path("a"), Path("b"), Path("d"), Path("c")]]


@pytest.mark.parametrize("shard", ["4-of-4", "1of4", "-1-of-4", "a-of-b", "0-of-"])
def test_a_shard_that_is_none_is_refused(shard: str, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(yaml.safe_load((ROOT / "configs/ci.yaml").read_text())))
    options = ["--policy", "p", "--seeds", "s", "--work", "w", "--out", "o"]
    done = CliRunner().invoke(app, ["annotate", *options, f"--shard={shard}", f"--config={config}"])
    assert done.exit_code == 2
    assert f"--shard {shard}: not of the form 0-of-4" in done.output


def test_config_prints_every_default(tmp_path: Path) -> None:
    done = mmprm("config", str(ROOT / "configs/ci.yaml"))
    assert done.returncode == 0
    resolved = yaml.safe_load(done.stdout)
    assert resolved["annotation"]["c_puct"] == 0.125  # not in the file
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert mmprm("config", str(tmp_path / "list.yaml")).returncode == 2
