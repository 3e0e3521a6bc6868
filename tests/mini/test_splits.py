"""Splits of the mini world: no figure, nor a twin of one, is in two of them; held-out problems were never taught."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Mapping
from typing import Any, get_args

import pytest

from mmprm.config.sources import MiniSource
from mmprm.mini.families import FAMILIES, IN_DOMAIN, MiniTask
from mmprm.mini.lessons import KINDS, lesson
from mmprm.mini.problems import generate
from mmprm.mini.splits import LESSON_SPLITS, SPLITS, STORY_SPLITS, draw_task, lesson_split, split_of
from mmprm.mini.stories import STORIES
from mmprm.mini.truth import figure_of

# What a figure and its twins have in common, said again by hand.
ALIKE = {
    "bars": lambda v: tuple(sorted(v.values())),
    "rectangle": lambda v: frozenset(v.values()),
    "triangle": lambda v: frozenset(v.values()),
    "table": lambda v: _rows(v, ("pen price", "pen count"), ("cup price", "cup count")),
    "lshape": lambda v: _rows(v, "ab", "cd"),
    "grid": lambda v: tuple(sorted([(v["Px"], v["Qx"]), (v["Py"], v["Qy"])])),
}


def _rows(values: Mapping[str, int], *rows: Any) -> Any:
    return tuple(sorted(tuple(sorted(values[name] for name in row)) for row in rows))


def _figures(split: str, family: str, seed: int, size: int = 24) -> set[Any]:
    figures = (figure_of(problem) for problem in generate(split, size, [family], seed))
    return {ALIKE[family]({name: values[0] for name, values in f.readings.items()}) for f in figures if f is not None}


def test_the_splits_of_the_configuration_are_those_that_are_drawn() -> None:
    assert get_args(MiniSource.model_fields["split"].annotation) == tuple(SPLITS) == tuple(STORY_SPLITS)
    assert all(sum(shares.values()) == 100 for shares in (SPLITS, STORY_SPLITS, LESSON_SPLITS))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_no_split_has_a_figure_of_another_not_even_mirrored_or_under_another_question(family: str) -> None:
    seen = {split: _figures(split, family, 0) | _figures(split, family, 1) for split in SPLITS}
    assert all(len(figures) >= 4 for figures in seen.values())
    for first, second in itertools.combinations(SPLITS, 2):
        assert not seen[first] & seen[second]


def test_every_twin_has_the_answer_of_its_figure_to_some_question_or_is_its_mirror_image() -> None:
    """Twins are what a model could answer by heart; so an order of the values that changes all answers is none."""
    rng = random.Random(0)
    for family in FAMILIES.values():
        task = family.task(rng)
        for twin in family.twins:
            if twin == ("C", "B", "A"):  # the bars from right to left
                continue
            turned = {name: task.readings[other] for name, other in zip(family.ranges, twin, strict=True)}
            assert any(_answer(turned, q) == _answer(task.readings, q) for q in family.questions.values())


def _answer(readings: Mapping[str, int], routes: Any) -> int:
    from mmprm.mini.truth import make_figure

    return make_figure(readings, routes).answer[0]


def test_no_held_out_problem_was_taught_to_the_base_model() -> None:
    """The lessons' division, by family, question and values, as the release that made models/mini-base had it."""
    for split in ("seeds", "dev", "test", "sealed"):
        for family in FAMILIES:
            for seed in range(40):
                task = draw_task(family, split, random.Random(seed))
                key = f"{family}|{task.question}|{sorted(task.readings.items())}"
                remainder = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100
                narrow = family not in ("bars", "rectangle") or max(task.readings.values()) <= {"bars": 9}.get(
                    family, 39
                )
                assert not (narrow and remainder < 50)


def test_the_lessons_are_those_that_the_base_model_in_the_repository_was_taught() -> None:
    sha = hashlib.sha256()
    for kind in KINDS:
        for seed in range(20):
            item = lesson(kind, "sft", random.Random(f"golden/{kind}/{seed}"))
            sha.update(f"{item.text}{item.spans}{item.checked}".encode() + (item.image or b""))
    assert sha.hexdigest()[:16] == "d9c893653d86e98c"


@pytest.mark.parametrize("family", ["bars", "rectangle"])  # which have the fewest
def test_there_are_problems_for_the_default_run_and_for_a_sealed_test_of_more_than_600(family: str) -> None:
    for split, size in {"seeds": 125, "dev": 100, "test": 160, "sealed": 160}.items():
        assert len(generate(split, size, [family], 0)) == size


def test_a_value_that_only_wider_ranges_have_is_in_no_lesson() -> None:
    task = MiniTask("Find the perimeter.", {"width": 45, "height": 8}, ())
    assert lesson_split("rectangle", task) is None
    assert split_of("rectangle", task) in SPLITS


def test_two_seeds_draw_other_sealed_problems() -> None:
    first, second = (_texts(generate("sealed", 120, IN_DOMAIN, seed)) for seed in (11, 12))
    assert len(first & second) < 60 and first == _texts(generate("sealed", 120, IN_DOMAIN, 11))


def _texts(problems: Any) -> set[str]:
    return {f"{problem.question} {sorted(figure_of(problem).readings.items())}" for problem in problems}


def test_training_seed_and_dev_stories_are_those_of_the_release_before() -> None:
    for family in STORIES:
        for split in ("sft", "seeds", "dev"):
            for problem in generate(split, 20, [family], 3):
                key = f"{family}|{problem.question}|[]"
                place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100
                low, high = {"sft": (0, 50), "seeds": (50, 75), "dev": (75, 83)}[split]
                assert low <= place < high
