"""Agreement of synthetic raters: whoever made these marks is a random number generator, and the truth is known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mmprm.audit.agreement import agreement, kappa
from mmprm.audit.marks import COLUMNS, Mark, read_marks
from mmprm.audit.sample import Unit, allocate, draw
from mmprm.cli import app
from mmprm.runtime.errors import UserError


def marks_of(table: Sequence[Sequence[int]], kind: str = "step") -> list[Mark]:
    """Marks of one synthetic person on items of problems of their own; table: claim (right, wrong) by mark."""
    names = ("right", "wrong", "unclear")
    cells = [(claim, mark) for claim, row in enumerate(table) for mark, n in enumerate(row) for _ in range(n)]
    return [
        Mark(f"i{number}", kind, "synthetic", names[mark], names[claim], 1.0, "all", f"p{number}")
        for number, (claim, mark) in enumerate(cells)
    ]


def test_kappa_is_that_of_the_textbook() -> None:
    """The example of https://en.wikipedia.org/wiki/Cohen's_kappa: 50 grant proposals, two readers."""
    assert kappa(np.array([[20.0, 5.0], [10.0, 15.0]])) == pytest.approx(0.4)
    assert kappa(np.array([[45.0, 15.0], [25.0, 15.0]])) == pytest.approx(0.1304, abs=1e-4)
    assert kappa(np.array([[25.0, 35.0], [5.0, 35.0]])) == pytest.approx(0.2593, abs=1e-4)
    assert np.isnan(kappa(np.array([[9.0, 0.0], [0.0, 0.0]]))), "who always says the same agrees by chance"


def test_precision_and_recall_are_of_wrong_and_unclear_marks_are_left_out() -> None:
    (row,) = agreement(marks_of([[60, 10, 5], [5, 20, 3]]), resamples=200)
    run = row["with_run"]
    assert run["precision"]["value"] == pytest.approx(20 / 25) and run["recall"]["value"] == pytest.approx(20 / 30)
    assert run["agree"]["value"] == pytest.approx(80 / 95) and run["agree"]["count"] == 95
    assert run["kappa"]["value"] == pytest.approx(float(kappa(np.array([[60.0, 10.0], [5.0, 20.0]]))))
    assert run["kappa"]["ci_low"] < run["kappa"]["value"] < run["kappa"]["ci_high"]
    assert row["marks"] == {"right": 65, "wrong": 30, "unclear": 8} and row["between"] == []


def test_an_item_counts_once_however_many_judged_it_and_pairs_are_compared() -> None:
    first = marks_of([[20, 5], [10, 15]])
    names = ("right", "wrong")
    second = [Mark(**{**vars(mark), "rater": "another", "mark": mark.claim}) for mark in first]
    (row,) = agreement(first + second, resamples=200)
    (pair,) = row["between"]
    assert pair["raters"] == ["another", "synthetic"] and pair["kappa"]["value"] == pytest.approx(0.4)
    assert row["with_run"]["agree"]["count"] == 50 and row["with_run"]["agree"]["value"] == pytest.approx((0.7 + 1) / 2)
    assert {mark.mark for mark in first} == set(names)


def test_of_one_class_or_few_problems_nothing_is_made_up() -> None:
    (row,) = agreement(marks_of([[5, 0], [0, 0]]))
    assert row["with_run"]["kappa"] is row["with_run"]["recall"] is None
    assert row["with_run"]["agree"] == {"value": 1.0, "ci_low": None, "ci_high": None, "count": 5}
    (unclear,) = agreement(marks_of([[0, 0, 4]]))
    assert unclear["with_run"]["agree"] is None and unclear["strata"] == []


def population(size: int = 4000) -> list[Unit]:
    """Labels of which 2 % have MC 0; a tenth of those are right in truth, a twentieth of the others wrong."""
    rng = random.Random(1)
    units = []
    for number in range(size):
        zero = number % 50 == 0
        wrong = rng.random() < (0.9 if zero else 0.05)
        depth = f"step {number % 3}"
        units.append(Unit("MC 0" if zero else "MC 1", (depth,), "wrong" if zero else "right", (number, wrong)))
    return units


def test_weights_give_the_whole_what_a_stratified_sample_has_too_much_or_too_little_of() -> None:
    units = population()
    called, wrong = [unit.claim == "wrong" for unit in units], [unit.place[1] for unit in units]
    truth = sum(a and b for a, b in zip(called, wrong, strict=True)) / sum(wrong)  # recall of "wrong"
    found, plain = [], []
    for seed in range(40):
        chosen = draw(units, 100, seed)
        marks = [
            Mark(
                str(n),
                "step",
                "synthetic",
                "wrong" if unit.place[1] else "right",
                unit.claim,
                weight,
                unit.stratum,
                str(n),
            )
            for n, (unit, weight) in enumerate(chosen)
        ]
        assert sum(mark.weight for mark in marks) == pytest.approx(len(units))
        assert sum(mark.stratum == "MC 0" for mark in marks) == 50
        (row,) = agreement(marks, resamples=1)
        found.append(row["with_run"]["recall"]["value"])
        hits = [mark.claim == "wrong" for mark in marks if mark.mark == "wrong"]
        plain.append(sum(hits) / len(hits))
    assert np.mean(found) == pytest.approx(truth, abs=0.08) and np.mean(plain) > truth + 0.5


def test_a_sample_is_spread_over_what_it_is_ordered_by_and_the_same_each_time() -> None:
    units = population()
    chosen = draw(units, 60, 7)
    depths = [unit.order[0] for unit, _ in chosen if unit.stratum == "MC 1"]
    assert all(9 <= depths.count(f"step {depth}") <= 11 for depth in range(3))
    assert draw(reversed(units), 60, 7) == chosen and draw(units, 60, 8) != chosen
    strata = [unit.stratum for unit, _ in chosen]
    assert strata != sorted(strata), "no one sees the strata one after another"
    assert len(draw(units[:10], 60, 7)) == 10


def test_what_a_small_stratum_cannot_take_goes_to_the_others() -> None:
    assert allocate({"a": 2, "b": 100, "c": 100}, 10) == {"a": 2, "b": 4, "c": 4}
    assert allocate({"a": 1, "b": 1}, 10) == {"a": 1, "b": 1}
    assert sum(allocate(dict.fromkeys("abcdefg", 9), 5).values()) == 5 and allocate({}, 5) == {}


def write(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> Path:
    lines = [",".join(columns), *(",".join(str(row.get(name, "")) for name in columns) for row in rows)]
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    return path


ROW = {"item": "a", "kind": "step", "rater": "A", "mark": "right", "claim": "wrong", "weight": 2.5, "problem_id": "p"}


def test_the_verb_prints_what_two_synthetic_persons_agree_on(tmp_path: Path) -> None:
    rows = [
        ROW | {"item": str(n), "problem_id": f"p{n}", "claim": "wrong" if n % 2 else "right", "stratum": "MC 0"}
        for n in range(40)
    ]
    first = write(tmp_path / "marks-a.csv", [row | {"mark": row["claim"]} for row in rows])
    second = write(
        tmp_path / "marks-b.csv",
        [row | {"rater": "", "mark": "right" if n < 10 else row["claim"]} for n, row in enumerate(rows)],
    )
    done = CliRunner().invoke(app, ["audit", str(first), str(second), "--out", str(tmp_path / "audit.json")])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "2 persons judged 40 labelled steps" in said and "Cohen's kappa 0.8" in said
    assert "A and marks-b agree on 87.5 %" in said and "MC 0 80 judged 93.8 % as the run says" in said
    assert (tmp_path / "audit.json").is_file()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([ROW | {"mark": "rihgt"}], "line 2: mark is 'rihgt'; allowed: right, wrong, unclear"),
        ([ROW | {"weight": "much"}], "line 2: weight is 'much'"),
        ([ROW, ROW], "'A' marked the item a twice"),
        ([ROW, ROW | {"rater": "B", "weight": 3}], "says otherwise of the item a"),
        ([ROW | {"mark": ""}], "no marks in"),
    ],
)
def test_marks_that_cannot_be_right_are_named(rows: list[dict[str, Any]], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        read_marks([write(tmp_path / "marks.csv", rows)])


def test_a_file_that_holds_no_marks_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it has no column claim, item"):
        read_marks([write(tmp_path / "other.csv", [], ["kind", "rater", "mark", "value", "weight", "stratum", "note"])])
    with pytest.raises(UserError, match=r"none\.csv"):
        read_marks([tmp_path / "none.csv"])
