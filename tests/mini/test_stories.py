"""Word problems for language models: their sums hold, their splits never overlap, and no two are the same."""

from __future__ import annotations

import re

import pytest

from mmprm.mini.families import apply
from mmprm.mini.problems import SPLITS, generate
from mmprm.mini.stories import STORIES
from mmprm.model.step_text import Status, parse

_FACT = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)")


@pytest.mark.parametrize(("family", "steps"), [("story", {2, 3, 4}), ("long_story", {4, 5, 6, 7, 8})])
def test_a_solution_is_a_sum_a_step_and_its_last_result_is_the_answer(family: str, steps: set[int]) -> None:
    lengths = set()
    for problem in generate("sft", 300, [family], seed=1):
        parsed = parse(problem.solution or "")
        assert parsed.status is Status.OK and not problem.images
        facts = [_FACT.findall(step) for step in parsed.steps]
        assert all(len(found) == 1 for found in facts), parsed.steps
        assert all(apply(sign, int(left), int(right)) == int(value) for ((left, sign, right, value),) in facts)
        assert facts[-1][0][3] == parsed.answer == problem.answer and int(problem.answer) > 0
        lengths.add(len(parsed.steps))
    assert lengths == steps


@pytest.mark.parametrize("family", list(STORIES))
def test_every_number_of_a_solution_is_told_or_computed_before(family: str) -> None:
    """So that a solution can be found from the question alone, and a wrong number shows."""
    for problem in generate("test", 200, [family], seed=0):
        known = set(re.findall(r"\d+", problem.question))
        for step in parse(problem.solution or "").steps:
            left, _, right, value = _FACT.findall(step)[0]
            assert {left, right} <= known, (problem.question, step)
            known.add(value)


def test_the_splits_share_no_story_whatever_the_seed_and_no_story_is_told_twice() -> None:
    told = {
        split: [problem.question for seed in (0, 1) for problem in generate(split, 400, list(STORIES), seed)]
        for split in SPLITS
    }
    for split, questions in told.items():
        assert len(set(questions[:400])) == 400
        assert all(split == other or not set(questions) & set(told[other]) for other in SPLITS)
