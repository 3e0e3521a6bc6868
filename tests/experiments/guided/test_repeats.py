"""Which steps say again what stands already."""

from __future__ import annotations

import pytest

from mmprm.experiments.guided.strategies import repeats

BEFORE = ("Read Py = 3.", "so v = Qy - Py = 8 - 3 = 5", "Since AB = 5 and BC = 12, AC = 13")


@pytest.mark.parametrize(
    "step",
    [
        "read Py = 3",
        "Py = 3",
        "py=3.",
        "v = Qy - Py = 8 - 3 = 5",
        "Again, so v = Qy - Py = 8 - 3 = 5",
        "AC = 13",
        "",
    ],
)
def test_what_stands_already_is_a_repeat(step: str) -> None:
    assert repeats(step, BEFORE)


@pytest.mark.parametrize(
    "step",
    [
        "Py = 31",
        "v = Qy - Py = 8 - 3 = 6",
        "Read Py = 3, so v = 8 - 3 = 5",
        "w = Qy - Py = 8 - 3 = 5",
        "Since AB = 5 and BC = 12, AC = 13, and the area is 30",
        "Read Py = 3 from the second of the two axes there",
        "AD = 13",
    ],
)
def test_a_step_that_adds_anything_is_none(step: str) -> None:
    assert not repeats(step, BEFORE)


def test_the_first_step_repeats_nothing() -> None:
    assert not repeats("Py = 3", ())
    assert not repeats("Py = 3", ("",))
