"""The mini world: its splits never overlap, its solutions are right and many, its lessons keep off the tests."""

from __future__ import annotations

import io
import random
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmprm.config.sources import Family
from mmprm.data.problem import Problem
from mmprm.mini import splits
from mmprm.mini.families import apply
from mmprm.mini.lessons import KINDS, lesson
from mmprm.mini.problems import (
    ALL_FAMILIES,
    FAMILIES,
    IN_DOMAIN,
    OUT_OF_DOMAIN,
    check_problem,
    draw_task,
    generate,
)
from mmprm.mini.statements import solve, wrong_value
from mmprm.model.step_text import Status, parse
from mmprm.runtime.errors import UserError

_FACT = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)")
_READING = re.compile(r"^(?:read )?(.+?) (?:=|is) (\d+)$")


def _values(problem: Problem) -> tuple[str | None, str, tuple[tuple[str, str], ...]]:
    """What a problem is: its family, question and figure's values, read back from its solution."""
    steps = parse(problem.solution or "").steps
    readings = [match.groups() for step in steps if not _FACT.search(step) and (match := _READING.match(step))]
    return problem.family, problem.question, tuple(sorted(pair for pair in readings if "the " not in pair[0]))


def _drawn_splits(monkeypatch: pytest.MonkeyPatch, place: str) -> list[str | None]:
    """The splits of all tasks that are drawn from now on through the name at `place`."""
    drawn: list[str | None] = []
    name = place.rpartition(".")[2]
    draw, split_of_task = getattr(splits, name), splits.lesson_split if "lesson" in name else splits.split_of

    def noted(family: str, split: str, rng: random.Random) -> object:
        task = draw(family, split, rng)
        drawn.append(split_of_task(family, task))
        return task

    monkeypatch.setattr(place, noted)
    return drawn


def _holds(names: str, fact: str, value: str, known: dict[str, str]) -> bool:
    """Are the values of "names = fact = value" those of the names, and is the result right?"""
    there = "".join(known.get(part, part) for part in re.split(r"( [-+*] )", names))
    left, sign, right = fact.split(" ")
    return there == fact and apply(sign, int(left), int(right)) == int(value)


def test_the_families_of_the_configuration_are_those_that_can_be_drawn() -> None:
    assert get_args(Family) == ALL_FAMILIES


def test_no_two_problems_of_a_test_set_share_family_question_and_values() -> None:
    problems = generate("test", 400, IN_DOMAIN, seed=0)
    assert len({_values(problem) for problem in problems}) == 400
    assert len({problem.problem_id for problem in problems}) == 400


def test_out_of_domain_families_are_others_and_their_chains_are_longer() -> None:
    def lengths(families: tuple[str, ...]) -> list[int]:
        return [len(parse(problem.solution or "").steps) for problem in generate("sft", 200, families, 0)]

    assert not set(IN_DOMAIN) & set(OUT_OF_DOMAIN)
    assert len(IN_DOMAIN) >= 4
    assert len(OUT_OF_DOMAIN) >= 2
    assert set(lengths(IN_DOMAIN)) == {4, 5, 6, 7}
    assert min(lengths(OUT_OF_DOMAIN)) > max(lengths(IN_DOMAIN))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_solution_parses_its_facts_hold_and_its_last_fact_is_the_answer(family: str) -> None:
    for problem in generate("sft", 100, [family], seed=3):
        parsed = parse(problem.solution or "")
        assert parsed.status is Status.OK
        facts = [match.groups() for step in parsed.steps for match in _FACT.finditer(step)]
        assert all(apply(sign, int(left), int(right)) == int(value) for left, sign, right, value in facts)
        assert facts[-1][3] == parsed.answer == problem.answer


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_problem_has_many_right_solutions(family: str) -> None:
    task = draw_task(family, "sft", random.Random(0))
    solutions = {tuple(solve(task, random.Random(seed))[0]) for seed in range(200)}
    assert len(solutions) > 100


def test_the_same_seed_gives_the_same_problems_and_another_seed_others() -> None:
    assert generate("test", 24, list(FAMILIES), 5) == generate("test", 24, list(FAMILIES), 5)
    assert generate("test", 24, list(FAMILIES), 5) != generate("test", 24, list(FAMILIES), 6)


def test_figures_of_the_same_values_differ_in_place_and_colour() -> None:
    task = draw_task("rectangle", "sft", random.Random(0))
    figures = {FAMILIES["rectangle"].draw(task.readings, random.Random(seed)).png() for seed in range(20)}
    assert len(figures) == 20
    assert {Image.open(io.BytesIO(figure)).size for figure in figures} == {(128, 128)}


def test_a_family_that_has_too_few_problems_is_named() -> None:
    with pytest.raises(UserError, match="bars"):
        generate("dev", 5_000, ["bars"], 0)


def test_lessons_use_the_figures_of_their_split_alone_and_no_step_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = _drawn_splits(monkeypatch, "mmprm.mini.lessons.draw_lesson_task")
    for kind in KINDS:
        for seed in range(50):
            text = lesson(kind, "sft", random.Random(seed)).text
            assert not re.search(r"</?(step|answer|prm)>", text)
    assert set(drawn) == {"sft"}


def test_a_judged_fact_is_called_right_exactly_when_it_is() -> None:
    for seed in range(200):
        for line in lesson("judge_facts", "sft", random.Random(seed)).text.splitlines():
            if match := _FACT.search(line):
                left, sign, right, value = match.groups()
                assert line.endswith("? Yes") == (apply(sign, int(left), int(right)) == int(value))


@pytest.mark.parametrize("kind", ["judge_figure", "judge_use"])
def test_a_judged_operation_is_called_right_exactly_when_its_values_are_those_of_its_names(kind: str) -> None:
    judged = []
    for seed in range(200):
        text = lesson(kind, "sft", random.Random(seed)).text
        known = dict(re.findall(r"^(?:read )?([\w ]+?) (?:=|is) (\d+)(?:\? Yes)?$", text, re.M))
        for line in re.findall(r"^\w+ = .+ = .+ = .+\?.*$", text, re.M):
            names, fact, value, said = re.match(r"^\w+ = (.+) = (.+) = (-?\d+)\? (Yes|No)$", line).groups()
            if not all(name in known or name.isdigit() for name in re.split(r" [-+*] ", names)):
                continue  # in a figure, a quantity that no right statement has named
            holds = _holds(names, fact, value, known)
            judged.append(holds)
            assert (said == "Yes") == holds, line
    assert 0.3 < sum(judged) / len(judged) < 0.7


def test_an_operation_judged_by_a_question_is_right_when_it_holds_and_leads_to_what_is_asked() -> None:
    useful = {
        "Find A * B + C.": {"p: A * B", "answer: C + p"},
        "Find A + B * C.": {"p: B * C", "answer: A + p"},
        "Find (A + B) * C.": {"s: A + B", "answer: C * s", "p: A * C", "q: B * C", "answer: p + q"},
    }
    judged = []
    for seed in range(400):
        text = lesson("judge_plan", "sft", random.Random(seed)).text
        question = text.splitlines()[2].removesuffix("<|im_end|>")
        if question not in useful:
            continue
        known = dict(re.findall(r"^(?:read )?([ABC]) (?:=|is) (\d+)$", text, re.M))
        expected = eval(question[5:-1], {name: int(value) for name, value in known.items()})
        for line in re.findall(r"^\w+ = .+ = .+ = .+\?.*$", text, re.M):
            out, names, fact, value, said = re.match(r"^(\w+) = (.+) = (.+) = (-?\d+)\? (Yes|No)$", line).groups()
            left, sign, right = names.split(" ")
            meaning = f"{out}: {names if sign == '-' else f' {sign} '.join(sorted([left, right]))}"
            holds = _holds(names, fact, value, known) and meaning in useful[question]
            assert (said == "Yes") == holds, line
            judged.append(holds)
            if holds:
                known[out] = value
        assert int(known["answer"]) == expected
    assert 0.4 < sum(judged) / len(judged) < 0.6


def test_a_check_says_of_each_statement_whether_it_holds_and_counts_those_that_do_not() -> None:
    verdicts = []
    for seed in range(200):
        rng = random.Random(seed)
        family = rng.choice(list(FAMILIES))
        task = draw_task(family, "sft", rng)
        problem = check_problem("check-sft-00000", family, task, rng)
        steps = parse(problem.solution or "").steps
        values = {name: str(value) for name, value in task.readings.items()}
        for line in steps:
            statement, said = line.split("? ")
            if statement.count(" = ") < 3:
                name, value = _READING.match(statement).groups()
                holds = values[name] == value
            else:
                _, names, fact, value = statement.split(" = ")
                holds = _holds(names, fact, value, values)
            assert (said == "Yes") == holds, line
            verdicts.append(holds)
        assert problem.answer == str(sum(line.endswith("No") for line in steps))
    assert 0.4 < sum(verdicts) / len(verdicts) < 0.7


def test_checks_are_drawn_on_the_figures_of_their_split_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = _drawn_splits(monkeypatch, "mmprm.mini.problems.draw_task")
    problems = generate("sft", 60, ["check"], 0)
    assert set(drawn) == {"sft"}
    assert all(parse(problem.solution or "").status is Status.OK for problem in problems)


@given(st.integers(0, 200), st.lists(st.integers(0, 99), max_size=4), st.integers())
def test_a_wrong_value_is_wrong(value: int, near: list[int], seed: int) -> None:
    assert wrong_value(value, near, random.Random(seed)) not in {value, -1}
