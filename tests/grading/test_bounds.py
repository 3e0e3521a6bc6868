"""What hostile answers cost: no restart for what sympy can be stopped at, none at all for towers, a budget a file."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from waiting import HANG

from mmprm.data.problem import Problem
from mmprm.grading import Grader, Verdict, expression, grade, grader, time_limit
from mmprm.grading.benchmark_rules import EXACT
from mmprm.grading.formula import too_large
from mmprm.grading.grade_answers import grade_answers

ROOT_OF_TWO = Problem("p", "test", "?", r"\sqrt{2}")


def endless(*_: object) -> bool:
    while True:
        time.sleep(0.01)


@pytest.mark.parametrize(
    "text", ["9^{9^{9^{9}}}", r"2^{1000000}", "x^{8^{8^{8}}}", "5000000!", "(40!)!", r"3^{\left(9^{9^9}\right)}"]
)
def test_what_nothing_can_compute_is_undecided_at_once(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "compare", lambda *_: pytest.fail("it was compared"))
    found = grade(text, ROOT_OF_TWO)
    assert (found.verdict, found.method) == (Verdict.UNDECIDED, "size")


@pytest.mark.parametrize("text", [r"2^{10}", "2004!", "2^{2^{3}}", "x^{12}", r"10^{-20}", r"(2^3)^4", "1000000"])
def test_ordinary_powers_are_compared(text: str) -> None:
    assert not too_large(text)


def test_a_formula_is_stopped_without_its_process_and_the_next_has_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "compare", endless)
    monkeypatch.setattr(time_limit, "_LOST", [0.0])
    monkeypatch.setattr(time_limit, "HURRIED", 0.05)
    for limit, lost in ((0.2, 0.2), (60.0, 0.25), (60.0, 0.3)):  # the budget of 0.1 s is spent by the first
        with pytest.raises(time_limit.OutOfTimeError):
            time_limit.compare("a", "b", EXACT, limit, 0.1)
        assert time_limit._LOST[0] == pytest.approx(lost)
    monkeypatch.undo()
    assert time_limit.compare("x+1", "1+x", EXACT, HANG, 0.1) is True


def test_after_a_few_killed_processes_the_formulas_of_a_file_are_left_undecided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from concurrent.futures import Future

    tried = []

    def killed(key: object) -> Future[bool]:
        tried.append(key)
        future: Future[bool] = Future()
        future.set_exception(TimeoutError())
        return future

    with Grader(workers=1, patient=False) as impatient:
        monkeypatch.setattr(impatient, "_schedule", killed)
        found = impatient.grade_many([(f"x + {number}", ROOT_OF_TWO) for number in range(40)])
        assert {item.verdict for item in found} == {Verdict.UNDECIDED}
        assert len(tried) <= grader._MOST_KILLS + 4
        assert impatient.grade_many([(r"\sqrt{2}", ROOT_OF_TWO), ("12", Problem("p", "test", "?", "12"))])[
            1
        ].verdict is (Verdict.CORRECT)


def test_half_a_character_ends_no_run_and_changes_no_verdict(tmp_path: Path) -> None:
    rows = [
        {"problem_id": "1", "answer": "Friday", "response": "The answer is Friday \ud83d"},
        {"problem_id": "\udc00x", "answer": "7", "response": "It is \ud83d 7.", "choices": []},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert grade_answers(tmp_path / "a.jsonl", tmp_path / "a.parquet") == {"correct": 2}
