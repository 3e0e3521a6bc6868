"""The page of candidates says what each strategy chose, as the measures do, and finds the PRM's worst choices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import browser as chromium
import pytest
import report_example
from browser import Browser

from mmprm.data.problem import Problem
from mmprm.evaluation.candidates import candidates_by_problem, join_scores
from mmprm.pages.candidate_items import candidate_item, candidate_row
from mmprm.pages.candidates import write_candidates
from mmprm.report.page import write_report


def tables_of(run: Path) -> tuple[Path, Path, Path]:
    bench = run / "bench" / "test"
    return run / "problems" / "test.parquet", bench / "candidates.parquet", bench / "soft" / "scores.parquet"


@pytest.fixture(scope="module")
def candidate_page(example_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the example's benchmark `test` as the variant `soft` sees it, where a run has it."""
    run = shutil.copytree(example_run, tmp_path_factory.mktemp("candidates") / "example")
    out = run / "candidates/test/soft/candidates.html"
    config = report_example.settings()
    write_candidates(config, "test", "soft", *tables_of(example_run), out, out.with_name("parts"))
    return out


def items_of(run: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    problems, candidates, scores = tables_of(run)
    by_id, rows = candidates_by_problem(problems, candidates)
    joined = join_scores(rows, scores)
    items = [candidate_item(by_id[name], joined[name], "mean_odds") for name in sorted(joined)]
    return items, [candidate_row(item, by_id[item["id"]]) for item in items]


def completion(number: int, answer: str | None, verdict: str, p: list[float]) -> dict[str, Any]:
    """A candidate with its scores."""
    parsed = answer is not None
    row = {"problem_id": "p", "candidate": number, "text": "?", "steps": ["a"] if parsed else [], "answer": answer}
    row |= {"status": "ok" if parsed else "truncated", "verdict": verdict, "method": "number", "finish_reason": "stop"}
    return row | {"probabilities": p if parsed else []}


PROBLEM = Problem("p", "s", "How many?", "3", answer_type="number")


def test_the_choices_of_all_problems_add_up_to_the_measures(example_run: Path) -> None:
    """What stands in metrics.json at the largest N is the mean of the shares that the page shows."""
    items, rows = items_of(example_run)
    metrics = json.loads((example_run / "bench/test/soft/metrics.json").read_text())["accuracy"]
    for index, metric in enumerate(["bon/mean_odds", "majority", "weighted_majority"]):
        shares = [item["strategies"][index]["right"] for item in items]
        assert sum(shares) / len(shares) == pytest.approx(metrics[metric], abs=1e-9), metric
    for item in items:
        for strategy in item["strategies"][3:]:
            assert strategy["name"].startswith("PRM, ")
    for name in ("min", "product", "sum_log_odds"):
        shares = [next(s["right"] for s in item["strategies"] if s["name"] == f"PRM, {name}") for item in items]
        assert sum(shares) / len(shares) == pytest.approx(metrics[f"bon/{name}"], abs=1e-9), name
    assert sum(row["right"] > 0 for row in rows) / len(rows) == pytest.approx(metrics["oracle"])


def test_a_wrong_choice_is_as_sure_as_it_lies_above_the_best_right_one() -> None:
    rows = [
        completion(0, "4", "incorrect", [0.9, 0.7]),
        completion(1, "3", "correct", [0.5, 0.5]),
        completion(2, "3", "correct", [0.6, 0.4]),
        completion(3, None, "unparsed", []),
        completion(4, "5", "undecided", [0.99, 0.99]),
    ]
    item = candidate_item(PROBLEM, rows, "mean_odds")
    chosen = {strategy["name"]: (strategy["candidates"], strategy["right"]) for strategy in item["strategies"]}
    assert chosen["PRM, mean_odds"] == ([0], 0.0) and chosen["majority"] == ([1, 2], 1.0)
    assert chosen["majority, weighted by average"] == ([1, 2], 1.0)
    assert [(vote["answer"], vote["count"], vote["right"]) for vote in item["votes"]] == [
        ("3", 2, True),
        ("4", 1, False),
    ]
    assert [row["number"] for row in item["candidates"]] == [0, 2, 1, 3, 4], "by score, what has none at the end"
    row = candidate_row(item, PROBLEM)
    assert row["surely"] == pytest.approx(0.8 - 0.5)
    assert (row["candidates"], row["right"], row["undecided"], row["unparsed"]) == (5, 2, 1, 1)


def test_tied_choices_are_all_named_and_count_as_their_share() -> None:
    rows = [completion(0, "4", "incorrect", [0.5, 0.5]), completion(1, "3", "correct", [0.5, 0.5])]
    item = candidate_item(PROBLEM, rows, "mean_odds")
    assert {(*strategy["candidates"], strategy["right"]) for strategy in item["strategies"]} == {(0, 1, 0.5)}
    none = candidate_item(PROBLEM, [completion(0, None, "undecided", [])], "mean_odds")
    assert none["strategies"] == none["votes"] == [] and candidate_row(none, PROBLEM)["prm"] is None


def test_from_the_reports_number_to_the_worst_step_in_four_clicks(
    candidate_page: Path, example_run: Path, browser: Browser
) -> None:
    _, rows = items_of(example_run)
    missed = [row for row in rows if row["prm"] < 0.5 and row["right"]]
    assert missed
    run = candidate_page.parents[3]
    write_report(report_example.settings(), run, run / "report.html")
    browser.open(run / "report.html")
    browser.click("table.first a")
    browser.wait("document.querySelector('.count') !== null")
    browser.choose("#f-case", "missed")
    assert browser.text(".count") == f"{len(missed)} of {len(rows)} problems"
    worst = max(missed, key=lambda row: row["surely"])
    browser.click(".entries a")
    browser.wait(f"document.querySelector('.detail h2')?.textContent === {json.dumps(worst['id'])}")
    assert "The PRM chose a wrong candidate" in browser.text(".detail")
    browser.click("tr.primary a")
    browser.wait("document.querySelector('.candidate.here')")
    card = browser.text(".candidate.here")
    assert "PRM, mean_odds" in card and "wrong" in card and "PRM 0." in card
    assert browser.said == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1440])
def test_nothing_of_a_candidate_is_cut_off_at_any_width(
    width: int, dark: bool, candidate_page: Path, browser: Browser
) -> None:
    browser.look(width, dark=dark)
    browser.open(candidate_page)
    overflow = "document.documentElement.scrollWidth - innerWidth"
    assert browser.js(overflow) <= 0
    browser.key("n")
    browser.wait("document.querySelectorAll('.candidate').length === 4")
    browser.js("document.querySelectorAll('.detail details').forEach(e => { e.open = true; })")
    assert browser.js(overflow) <= 0
    browser.key("ArrowDown", times=2)
    assert browser.js("document.activeElement.getAttribute('aria-label')").startswith("candidate ")
    if chromium.AXE.is_file():
        assert browser.serious() == []


def test_the_list_begins_where_a_better_choice_was_there(
    candidate_page: Path, example_run: Path, browser: Browser
) -> None:
    _, rows = items_of(example_run)
    hopeless = {row["id"] for row in rows if not row["right"]}
    assert hopeless
    browser.open(candidate_page)
    assert browser.text(".detail") == "Choose a problem from the list."
    names = browser.texts(".entries .name")
    assert set(names[-len(hopeless) :]) == hopeless
    surely = {row["id"]: row["surely"] if row["surely"] is not None else -9 for row in rows}
    ranked = [surely[name] for name in names[: -len(hopeless)]]
    assert ranked == sorted(ranked, reverse=True)


def test_the_parts_hold_every_candidate_of_every_problem(candidate_page: Path) -> None:
    parts = sorted(candidate_page.with_name("parts").iterdir())
    texts = [path.read_text(encoding="utf-8").partition(", ")[2].removesuffix(");\n") for path in parts]
    items = [item for text in texts for item in json.loads(text)]
    assert sum(len(item["candidates"]) for item in items) == 12 * 4
