"""What is claimed of a sealed test is committed before, is what the run does, and its bars are judged as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sealed_world import CLAIM, git, loaded, register

from mmprm.runtime.errors import UserError
from mmprm.sealed.registration import Bar, registered


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_committed_registration_is_returned_with_its_hash_and_its_commit() -> None:
    register({"sealed": CLAIM})
    found = registered(loaded(), "sealed")
    assert found is not None
    entry, digest, commit = found
    assert entry.bars[0].metric == "bon_minus_majority/mean_odds" and len(digest) == 64
    assert commit.startswith(git("rev-parse", "HEAD").strip())


@pytest.mark.parametrize("state", ["no file", "not in it", "not tracked", "staged", "changed", "ignored", "no git"])
def test_without_a_committed_registration_nothing_is_looked_at_unless_that_is_said(state: str) -> None:
    if state == "not in it":
        register({"other": CLAIM})
    elif state == "no git":
        Path("evidence").mkdir()
        Path("evidence/registration.yaml").write_text(f"tests: {{sealed: {CLAIM}}}")
    elif state != "no file":
        path = register({"sealed": CLAIM}, commit=state == "changed")
        if state == "staged":
            git("add", str(path))
        if state == "changed":
            path.write_text(path.read_text() + "# lower the bar\n")
        if state == "ignored":
            Path(".gitignore").write_text("evidence/\n")
    with pytest.raises(UserError, match=r"sealed\.sealed: evidence/registration\.yaml (says nothing|is not committed)"):
        registered(loaded(), "sealed")
    assert registered(loaded(evidence={"unregistered": True}), "sealed") is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("primary", "min", "primary 'min', the configuration 'mean_odds'"),
        ("n", 16, "n 16, the configuration 4"),
        ("trainings", 5, "trainings 5, the configuration 1"),
        ("variant", "hard", r"variant 'hard', the configuration \['soft'\]"),
        ("problems", 600, "problems 600, the configuration 8"),
        ("error_share", 0.4, "error_share 0.4, the configuration 0.0"),
    ],
)
def test_a_claim_of_other_settings_ends_the_look_even_where_none_is_needed(key: str, value: Any, said: str) -> None:
    register({"sealed": CLAIM | {key: value}})
    for evidence in ({}, {"unregistered": True}):
        with pytest.raises(UserError, match=f"sealed.sealed: evidence/registration.yaml says {said}"):
            registered(loaded(evidence=evidence), "sealed")


def test_the_share_of_wrong_solutions_is_that_of_the_policys_sources() -> None:
    register({"sealed": CLAIM | {"error_share": 0.4}})
    sources = loaded().model_dump(mode="json")["sources"]
    sources["sft"]["wrong_routes"] = 0.4
    assert registered(loaded(sources=sources), "sealed") is not None


def test_what_is_no_registration_is_explained() -> None:
    register({"sealed": CLAIM | {"bars": [{"metric": "random", "abov": 0}]}})
    with pytest.raises(UserError, match=r"not a registration:\n(.*\n)*  tests\.sealed\.bars\.0\.abov"):
        registered(loaded(), "sealed")


def test_a_bar_is_met_by_the_whole_interval_or_by_the_mean_and_by_nothing_that_is_not_measured() -> None:
    row = {"value": 0.1, "ci_low": 0.0, "ci_high": 0.2}
    whole, mean = Bar(metric="m", above=0.0), Bar(metric="m", above=0.0, end="value")
    assert whole.met(row) is False and whole.met(row | {"ci_low": 0.001}) is True and mean.met(row) is True
    assert whole.met(None) is None and whole.met(row | {"ci_low": None}) is None
