"""The page of a sealed test, and what the report says of it: claims met and missed, and all looks."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import ranked_tables
from sealed_world import CLAIM, loaded, register

from mmprm.config import Config
from mmprm.evaluation.measure import measure
from mmprm.report.page import render
from mmprm.report.sealed import write_sealed
from mmprm.runtime.errors import UserError
from mmprm.sealed.look import open_seal

PROBLEMS = 64
BARS = [
    {"metric": "bon_minus_random/mean_odds", "above": 0.0},
    {"metric": "bon_minus_random/mean_odds", "above": 0.9, "end": "value"},
    {"metric": "weighted_majority_minus_nothing", "above": 0.0},
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("policy", "prm/soft"):
        Path(name).mkdir(parents=True)
        Path(name, "config.json").write_text(f'{{"of": "{name}"}}')


def config(**changes: Any) -> Config:
    return loaded(bench={"n": 2, "resamples": 500}, **changes)


def looked_at(of: Config) -> Path:
    """The folder of a run that has looked at its sealed test: the PRM is right on three of four problems."""
    results = Path("results/small")
    open_seal(of, "sealed", Path("policy"), [Path("prm/soft")], results / "sealed/sealed/look.json")
    right = {"soft": {number for number in range(PROBLEMS) if number % 4}}
    scores = ranked_tables.write(results, "sealed", "sealed", right, [""] * PROBLEMS)
    files = (results / "problems/sealed.parquet", results / "bench/sealed/candidates.parquet", scores["soft"])
    measure(of, "sealed", "soft", *files, results / "bench/sealed/soft/metrics.json")
    return results


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_the_page_judges_each_claim_and_tells_the_looks() -> None:
    register({"sealed": CLAIM | {"n": 2, "bars": BARS}})
    results = looked_at(config())
    write_sealed(config(), "sealed", results, Path("page.html"))
    page = text(Path("page.html").read_text())
    assert "Registered in commit" in page and "one training, best of 2 by mean_odds , at least 8 problems" in page
    measured = r"\+25\.0 \+1\d\.\d to \+3\d\.\d"
    first = r"bon_minus_random/mean_odds above \+0\.0 points, with its whole interval"
    assert re.search(rf"{first} {measured} met", page)
    assert re.search(rf"above \+90\.0 points {measured} missed", page)
    assert "weighted_majority_minus_nothing above +0.0 points, with its whole interval – not measured" in page
    assert "One look" in page and "This test was looked at once." in page and "look number 1" in page
    assert "Over a random pick: +25.0 points" in page and "64 problems, 2 candidates each" in page
    assert "<script" not in Path("page.html").read_text()


def test_a_second_look_is_told_and_so_is_one_without_claims() -> None:
    looked_at(config(evidence={"unregistered": True}))
    register({"sealed": CLAIM | {"n": 2, "bars": BARS}})
    results = looked_at(config())
    write_sealed(config(), "sealed", results, Path("page.html"))
    page = text(Path("page.html").read_text())
    assert "2 looks" in page and "what later looks show may have been chosen by what earlier ones showed" in page
    assert "This run is look number 2. evidence/ledger.jsonl has 2 looks at 1 sealed test." in page
    report = text(render(config(), results))
    assert re.search(
        r"Sealed test sealed: looked at 2 times, by run small on \S+ \(not registered\), run small on", report
    )
    assert "Sealed test part: never looked at; snakemake sealed draws it." in report


def test_without_claims_the_page_says_that_it_is_no_evidence_of_any() -> None:
    of = config(evidence={"unregistered": True})
    results = looked_at(of)
    write_sealed(of, "sealed", results, Path("page.html"))
    page = text(Path("page.html").read_text())
    assert "Not registered: no committed file says what this test was to show." in page and "met" not in page.split()


def test_a_run_whose_look_is_not_in_the_ledger_says_so() -> None:
    of = config(evidence={"unregistered": True})
    results = looked_at(of)
    Path("evidence/ledger.jsonl").write_text("")
    write_sealed(of, "sealed", results, Path("page.html"))
    assert "The ledger has no look at this test" in text(Path("page.html").read_text())


def test_a_test_that_was_not_looked_at_has_no_page() -> None:
    with pytest.raises(UserError, match=r"sealed\.sealed was not looked at, or not measured"):
        write_sealed(config(), "sealed", Path("results/small"), Path("page.html"))


def test_the_reports_own_figures_hold_none_of_a_sealed_test() -> None:
    of = config(evidence={"unregistered": True})
    results = looked_at(of)
    page = render(of, results)
    assert "There is no measured benchmark in this run yet" in page
    assert json.loads((results / "bench/sealed/soft/metrics.json").read_text())["benchmark"] == "sealed"
