"""Runs are compared problem by problem, on those that are the same in both; the page and the table say the same."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import browser as chromium
import numpy as np
import pytest
import report_example
from browser import Browser
from typer.testing import CliRunner

from mmprm.cli import app
from mmprm.data import schemas, tables
from mmprm.evaluation.between_runs import RankedBy, paired
from mmprm.evaluation.measure import minus_first
from mmprm.pages.compare import differing
from mmprm.runtime.errors import UserError

PRIMARY = "mean_odds"


@pytest.fixture(scope="module")
def other_run(example_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example again, with a PRM that sees right as wrong, one problem changed, and other settings."""
    folder = tmp_path_factory.mktemp("other") / "results" / "other"
    shutil.copytree(example_run, folder)
    settings = json.loads((folder / "config.json").read_text()) | {"run": "other"}
    settings["seeds"]["rollouts"] = 5
    settings["sources"]["more"] = settings["sources"]["pool"]
    (folder / "config.json").write_text(json.dumps(settings))
    scores = folder / "bench/test/soft/scores.parquet"
    turned = tables.read_rows(scores, schemas.SCORES)
    for row in turned:
        row["probabilities"] = [1 - p for p in row["probabilities"]]
    tables.write(scores, turned, schemas.SCORES)
    problems = folder / "problems/test.parquet"
    rows = tables.read_rows(problems, schemas.PROBLEMS)
    rows[0]["question"] += " Again."
    tables.write(problems, rows, schemas.PROBLEMS)
    return folder


def ranked(run: Path, *names: str) -> RankedBy:
    """The tables of the benchmark `test`; names: of the trainings."""
    bench = run / "bench" / "test"
    scores = [bench / name / "scores.parquet" for name in names or ("soft",)]
    return RankedBy(run / "problems/test.parquet", bench / "candidates.parquet", scores, report_example.N)


def test_runs_with_the_same_candidates_differ_as_their_prms_do(example_run: Path, other_run: Path) -> None:
    """Where all but the PRM is the same, it is the paired difference that an ablation has, with its interval."""
    config, bench = report_example.settings(), example_run / "bench/test"
    unchanged = dataclasses.replace(ranked(other_run), problems=example_run / "problems/test.parquet")
    found = paired(ranked(example_run), unchanged, config.bench, config.seed)
    scores = {"first": [bench / "soft/scores.parquet"], "other": [other_run / "bench/test/soft/scores.parquet"]}
    known = minus_first(config, example_run / "problems/test.parquet", bench / "candidates.parquet", scores)["other"]
    compared = {(row["metric"], row["n"]): row for row in found["rows"]}
    for key in ((f"bon/{PRIMARY}", 4), (f"bon/{PRIMARY}", 2), ("weighted_majority", 4)):
        ours = [compared[key][name] for name in ("difference", "ci_low", "ci_high")]
        assert ours == pytest.approx([known[key][name] for name in ("value", "ci_low", "ci_high")]), key
    metrics = json.loads((bench / "soft/metrics.json").read_text())["accuracy"]
    for metric in ("random", "majority", f"bon/{PRIMARY}", "weighted_majority", "oracle"):
        assert compared[metric, 4]["first"] == pytest.approx(metrics[metric]), metric
    assert compared["oracle", 4]["difference"] == 0, "the same candidates"


def test_a_problem_that_is_not_the_same_is_not_paired(example_run: Path, other_run: Path) -> None:
    config = report_example.settings()
    found = paired(ranked(example_run), ranked(other_run), config.bench, config.seed)
    assert (found["problems"], found["changed"], found["only_first"], found["only_other"]) == (11, 1, 0, 0)
    changed = tables.read_rows(example_run / "problems/test.parquet", schemas.PROBLEMS)[0]["problem_id"]
    assert changed not in {name for name, *_ in found["by_problem"]}
    best = next(row for row in found["rows"] if row["metric"] == f"bon/{PRIMARY}" and row["n"] == 4)
    differences = [other - first for _, first, other in found["by_problem"]]
    assert best["difference"] == pytest.approx(np.mean(differences))


def test_trainings_are_paired_as_many_as_both_have(example_run: Path, other_run: Path) -> None:
    config = report_example.settings()
    found = paired(ranked(example_run, "soft", "hard"), ranked(other_run), config.bench, config.seed)
    assert found["trainings"] == 1
    both = paired(ranked(example_run, "soft", "soft"), ranked(other_run, "soft", "hard"), config.bench, config.seed)
    one = {(row["metric"], row["n"]): row for row in found["rows"]}[f"bon/{PRIMARY}", 4]
    two = {(row["metric"], row["n"]): row for row in both["rows"]}[f"bon/{PRIMARY}", 4]
    assert both["trainings"] == 2 and two["difference"] == pytest.approx(one["difference"] / 2), "hard is unchanged"
    assert two["ci_high"] - two["ci_low"] > one["ci_high"] - one["ci_low"], "what trainings add is in the interval"


def test_runs_that_share_no_problem_are_not_compared(example_run: Path, tmp_path: Path) -> None:
    theirs = ranked(example_run)
    bench = example_run / "bench/dev"
    other = RankedBy(
        example_run / "problems/dev.parquet", bench / "candidates.parquet", [bench / "soft/scores.parquet"], 4
    )
    with pytest.raises(UserError, match="share 0 problems"):
        paired(theirs, other, report_example.settings().bench, 0)


def test_settings_differ_where_a_value_or_a_key_does() -> None:
    ours, theirs = report_example.settings(), report_example.settings(title="Another")
    theirs = theirs.model_copy(update={"run": "b", "benchmarks": {"test": theirs.benchmarks["test"]}})
    found = {row["key"]: row["values"] for row in differing([ours, theirs])}
    assert found["report.title"][1] == '"Another"'
    assert found["benchmarks.dev.source"] == ['"dev"', None]
    assert not [key for key in found if key == "run" or key.startswith("benchmarks.test")]
    assert differing([ours, ours]) == []


def test_the_verb_writes_a_page_and_a_table_that_agree(
    example_run: Path, other_run: Path, tmp_path: Path, browser: Browser
) -> None:
    page = tmp_path / "compare.html"
    result = CliRunner().invoke(app, ["compare", str(example_run), str(other_run), "--out", str(page)])
    assert result.exit_code == 0 and result.stdout.splitlines()[-1] == str(page), result.output
    rows = list(csv.DictReader(page.with_suffix(".csv").open(encoding="utf-8", newline="")))
    of_part: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        of_part.setdefault(row["part"], []).append(row)
    assert {row["name"] for row in of_part["setting"]} >= {"seeds.rollouts", "sources.more.kind"}
    assert any(row["name"] == "annotate: tokens" and float(row["difference"]) == 0 for row in of_part["cost"])
    primary = next(
        row
        for row in of_part["difference"]
        if (row["benchmark"], row["variant"], row["name"], row["n"]) == ("test", "soft", f"bon/{PRIMARY}", "4")
    )
    assert float(primary["difference"]) < -0.3 and primary["problems"] == "11"
    browser.open(page)
    shown = browser.text("tr.primary")
    assert f"−{-100 * float(primary['difference']):.1f}" in shown
    assert "11 problems are too few" in shown
    assert "seeds.rollouts" in browser.text("#page") and "1 not the same in both" in browser.text("#page")
    assert browser.said == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1440])
def test_nothing_of_a_comparison_is_cut_off_at_any_width(
    width: int, dark: bool, example_run: Path, other_run: Path, tmp_path: Path, browser: Browser
) -> None:
    page = tmp_path / "compare.html"
    CliRunner().invoke(app, ["compare", str(example_run), str(other_run), "--out", str(page)])
    browser.look(width, dark=dark)
    browser.open(page)
    browser.js("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert browser.js("document.documentElement.scrollWidth - innerWidth") <= 0
    if chromium.AXE.is_file():
        assert browser.serious() == []


@pytest.mark.parametrize("names", [["{run}"], ["{run}", "{run}/."]])
def test_fewer_than_two_runs_are_an_error_with_a_remedy(names: list[str], example_run: Path) -> None:
    given = [name.format(run=example_run) for name in names]
    result = CliRunner().invoke(app, ["compare", *given])
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
