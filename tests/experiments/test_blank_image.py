"""Is the picture needed? Blank pictures of the same sizes, and the comparison of pass rates."""

from __future__ import annotations

import io
import math
import random

import pytest
from PIL import Image

from mmprm.data.problem import Problem
from mmprm.experiments.blank_image import blanked, image_needed
from mmprm.rollouts.rollout import Counts


def counts(right: int, n: int) -> Counts:
    return Counts(n, right, 0, 0)


def test_blank_pictures_have_the_sizes_of_the_real_ones_and_one_colour(sized_problems: list[Problem]) -> None:
    for problem in sized_problems:
        blank = blanked(problem)
        for images in zip(problem.images, blank.images, strict=True):
            real, empty = (Image.open(io.BytesIO(image)) for image in images)
            assert real.size == empty.size and len(empty.getcolors()) == 1
        assert (blank.question, blank.answer, blank.problem_id) == (
            problem.question,
            problem.answer,
            problem.problem_id,
        )
        assert (blank.fingerprint == problem.fingerprint) == (not problem.images)  # other draws


@pytest.mark.parametrize(
    ("shown", "blank", "needed"),
    [
        (counts(16, 32), counts(16, 32), False),
        (counts(16, 32), counts(14, 32), False),
        (counts(16, 32), counts(8, 32), True),  # half of the pass rate: not above it
        (counts(16, 32), counts(0, 32), True),
        (counts(3, 32), counts(0, 32), True),  # a difference of 0.1 alone, but never solved without it
        (counts(3, 32), counts(3, 32), True),  # as often, but of so few that it is not shown
        (counts(4, 8), counts(8, 8), False),
        (counts(0, 0), counts(3, 8), None),
        (counts(3, 8), counts(0, 0), None),
    ],
)
def test_a_picture_is_not_needed_where_a_blank_one_leaves_most_of_the_pass_rate(
    shown: Counts, blank: Counts, needed: bool | None
) -> None:
    assert image_needed(shown, blank, share=0.5, confidence=0.9) is needed


def test_more_right_answers_with_a_blank_picture_never_make_the_picture_needed() -> None:
    found = [image_needed(counts(10, 32), counts(right, 32), 0.5, 0.9) for right in range(33)]
    assert found == sorted(found, reverse=True) and set(found) == {True, False}


def test_a_picture_that_is_needed_is_called_so_as_often_as_is_promised() -> None:
    """Simulated where it is hardest: a blank picture leaves just the share. Wilson's intervals are not exact, hence a
    little room."""
    rng = random.Random(0)
    for rate in (0.3, 0.6, 0.9):
        wrong = 0
        for _ in range(1000):
            shown = sum(rng.random() < rate for _ in range(32))
            blank = sum(rng.random() < 0.5 * rate for _ in range(32))
            wrong += image_needed(counts(shown, 32), counts(blank, 32), 0.5, 0.9) is False
        assert wrong / 1000 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 1000)
