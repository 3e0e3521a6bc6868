"""A person judges a sample by mouse or keyboard alone; the marks survive, are saved, and say what the run claimed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import browser as chromium
import pytest
import report_example
from browser import Browser

from mmprm.audit import sample
from mmprm.audit.marks import read_marks
from mmprm.audit.page import write_audit
from mmprm.config import load
from mmprm.data import schemas, tables
from mmprm.runtime.errors import UserError


@pytest.fixture(scope="module")
def audit_page(example_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the example: labelled steps and verdicts."""
    out = tmp_path_factory.mktemp("audit") / "audit.html"
    write_audit(report_example.settings(), example_run, out)
    return out


def rows_of(page: Path) -> list[dict[str, Any]]:
    found = re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)
    assert found is not None
    rows: list[dict[str, Any]] = json.loads(found[1])["rows"]
    return rows


def test_marks_are_made_by_keys_kept_saved_and_read_back(audit_page: Path, browser: Browser) -> None:
    rows = rows_of(audit_page)
    browser.open(audit_page)
    browser.js("localStorage.clear()")
    browser.open(audit_page)
    browser.click("#rater")
    browser.type('=A, "B"')
    browser.click(".detail")
    browser.key("n")
    browser.wait("document.querySelector('#asks')")
    for key in "rwu":
        browser.key(key)
    browser.wait("document.querySelector('.bar-of-tools .count').innerText.startsWith('3 of')")
    browser.click(".choices-of-mark button")  # the fourth, by mouse
    browser.wait("document.querySelector('.bar-of-tools .count').innerText.startsWith('4 of')")
    browser.open(audit_page)
    assert browser.text(".bar-of-tools .count").startswith(f"4 of {len(rows)} marked"), "kept by the browser"
    browser.click("#save")
    name = f"marks--A-B--{browser.js('JSON.parse(document.getElementById(`data`).textContent).sample')}.csv"
    text = browser.downloaded(name)
    (browser.downloads / name).unlink()
    path = audit_page.with_name("marks.csv")
    path.write_text(text, encoding="utf-8")
    marks = read_marks([path])
    assert [(mark.mark, mark.item) for mark in marks] == [
        (mark, row["id"]) for mark, row in zip(["right", "wrong", "unclear", "right"], rows, strict=False)
    ]
    assert {mark.rater for mark in marks} == {'\'=A, "B"'}, "no spreadsheet runs a name"
    assert [(mark.claim, mark.problem_id) for mark in marks] == [(row["claim"], row["problem_id"]) for row in rows[:4]]
    assert browser.said == []
    browser.js("localStorage.clear()")
    browser.open(audit_page)
    assert browser.text(".bar-of-tools .count").startswith("0 of")
    load_ = f"(() => {{ const t = new DataTransfer(); t.items.add(new File([{json.dumps(text)}], 'marks.csv'));"
    browser.js(
        load_
        + " const f = document.querySelector('#marks'); f.files = t.files; f.dispatchEvent(new Event('change')); })()"
    )
    browser.wait("document.querySelector('.bar-of-tools .count').innerText.includes('4 marks of this sample read')")


def test_the_page_shows_nothing_that_the_run_claims(audit_page: Path, browser: Browser) -> None:
    rows = rows_of(audit_page)
    assert {row["kind"] for row in rows} == {"step", "verdict"}
    browser.open(audit_page, f"id={next(row['id'] for row in rows if row['kind'] == 'step')}")
    browser.wait("document.querySelector('#asks')")
    words = browser.text("main")
    assert "MC" not in words and "claim" not in words and "PRM" not in words


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1440])
def test_nothing_of_the_audit_is_cut_off_at_any_width(
    width: int, dark: bool, audit_page: Path, browser: Browser
) -> None:
    browser.look(width, dark=dark)
    browser.open(audit_page)
    overflow = "document.documentElement.scrollWidth - innerWidth"
    assert browser.js(overflow) <= 0
    browser.key("n")
    browser.wait("document.querySelector('#asks')")
    assert browser.js(overflow) <= 0
    if chromium.AXE.is_file():
        assert browser.serious() == []


def test_steps_are_drawn_once_a_state_and_stand_for_all_of_their_kind(example_run: Path) -> None:
    config = report_example.settings()
    items = sample.steps(config, example_run, 1000)
    labelled = set()
    for row in tables.read_rows(example_run / "labels/paths.parquet", schemas.PATHS):
        for place, hard in enumerate(row["hard"][: len(row["steps"])]):
            if hard is not None:
                labelled.add((row["problem_id"], tuple(row["steps"][: place + 1]), "right" if hard else "wrong"))
    assert {(item.problem_id, tuple(item.shown["steps"]), item.unit.claim) for item in items} == labelled
    assert len(items) == len(labelled) and {item.weight for item in items} == {1.0}
    few = sample.steps(config, example_run, 6)
    assert sum(item.weight for item in few) == pytest.approx(len(labelled)) and len({item.name for item in few}) == 6
    wrong = {item.unit.stratum for item in items if item.unit.claim == "wrong"}
    assert wrong == {"MC 0"}


def test_refusals_of_curation_are_drawn_with_their_problems(example_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(example_run, tmp_path / "run"))
    values = report_example.settings().model_dump(mode="json")
    values["sources"]["clean"] = {"kind": "curated", "sources": ["pool"]}
    config = load(values)
    name = tables.read(run / "problems/pool.parquet", schemas.PROBLEMS)["problem_id"][0].as_py()
    refused = [{"source": "clean", "row": 0, "problem_id": name, "reason": "near_duplicate", "detail": "of another"}]
    tables.write(run / "problems/clean.refused.parquet", refused, schemas.REFUSED)
    (item,) = sample.refusals(config, run, 5)
    assert item.problem is not None and item.problem.problem_id == name
    assert item.shown == {"reason": "near duplicate", "detail": "of another"} and item.unit.claim == "right"


def test_a_run_with_nothing_to_judge_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to judge"):
        write_audit(report_example.settings(), tmp_path, tmp_path / "audit.html")
