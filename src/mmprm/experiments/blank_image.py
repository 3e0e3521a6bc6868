"""Is a problem's picture needed (`seeds.blank_image`)? In: the problem, and its rollouts with and without the picture.

Out: the problem with uniform grey pictures of the same sizes; then yes or no. The picture is *not needed* where a blank
one leaves more than `blank_share` of the pass rate, by a one-sided comparison at `blank_confidence`. The threshold is
in proportion to the pass rate, and not a fixed difference: of a hard problem, solved one time in ten, a fixed
difference of 0.2 would say that no picture is needed, although it is never solved without it.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmprm.config.annotation import Seeds
from mmprm.data.problem import Problem
from mmprm.rollouts.rollout import Counts
from mmprm.seeds.pass_rate import KEPT

Row = dict[str, Any]

_GREY = (128, 128, 128)


def blanked(problem: Problem) -> Problem:
    """Give a problem uniform pictures of the same sizes; UserError where a picture cannot be decoded."""
    from PIL import Image

    from mmprm.data.problem import decode_image

    pictures = []
    for image in problem.images:
        file = io.BytesIO()
        Image.new("RGB", decode_image(image).size, _GREY).save(file, "PNG")
        pictures.append(file.getvalue())
    return replace(problem, images=tuple(pictures))


@dataclass(frozen=True)
class BlankImageComparison:
    """The comparison of a problem's rollouts with those of a blank picture, for `select_seeds`."""

    settings: Seeds

    def columns(self, reason: str, shown: Counts, blank: Counts) -> Row:
        """Return the columns of schemas.SEED_DECISIONS; of a kept problem whether its picture is needed.

        With `drop`, the reason of one that is solved as well without it becomes image_not_needed.
        """
        settings = self.settings
        columns: Row = {"blank_n_rollouts": blank.n_rollouts, "blank_n_correct": blank.n_correct}
        if reason == KEPT:
            needed = image_needed(shown, blank, settings.blank_share, settings.blank_confidence)
            columns["image_needed"] = needed
            if needed is False and settings.blank_image == "drop":
                columns["reason"] = "image_not_needed"
        return columns

    def statistics(self, rows: Sequence[Row], tokens: int) -> Row | None:
        """Sum up the comparison over all decisions; None where it was not made."""
        compared = [row for row in rows if row["blank_n_rollouts"] is not None]
        if not compared:
            return None
        return {
            "problems": len(compared),
            "image_not_needed": sum(row["image_needed"] is False for row in compared),
            "rollouts": sum(row["blank_n_rollouts"] for row in compared),
            "tokens": tokens,
            "pass_rate": _pass_rate(compared, ""),
            "pass_rate_blank": _pass_rate(compared, "blank_"),
        }


def _pass_rate(rows: Sequence[Row], prefix: str) -> float | None:
    n = sum(row[f"{prefix}n_rollouts"] for row in rows)
    return sum(row[f"{prefix}n_correct"] for row in rows) / n if n else None


def image_needed(shown: Counts, blank: Counts, share: float, confidence: float) -> bool | None:
    """Return False where the pass rate with a blank picture is above `share` of that with the real one.

    At `confidence`: the lower end of blank - share * shown must lie above 0. Both intervals are Wilson's, combined by
    the method of squares (Newcombe 1998; Zou and Donner 2008, doi:10.1002/sim.3095). None where one of the two has no
    verdict.
    """
    from scipy.stats import norm

    if not shown.n_rollouts or not blank.n_rollouts:
        return None
    z = float(norm.ppf(confidence))
    with_picture, without = shown.n_correct / shown.n_rollouts, blank.n_correct / blank.n_rollouts
    above = _wilson(shown, z)[1] - with_picture
    below = without - _wilson(blank, z)[0]
    return not without - share * with_picture - math.hypot(below, share * above) > 0


def _wilson(counts: Counts, z: float) -> tuple[float, float]:
    """Wilson's (1927) score interval of a pass rate."""
    n, rate = counts.n_rollouts, counts.n_correct / counts.n_rollouts
    centre = rate + z * z / (2 * n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
