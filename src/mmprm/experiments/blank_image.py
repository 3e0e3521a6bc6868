"""Is a problem's picture needed? In: the problem; later the counts of its rollouts with and without it. Out: yes or no.

The problem is shown again with uniform grey pictures of the same sizes. Its picture is *not needed* where a blank one
leaves more than `share` of the pass rate, by a one-sided comparison at `confidence`. The threshold is a difference in
proportion to the pass rate, and not a fixed one: of a hard problem, solved one time in ten, a fixed difference of 0.2
would say that no picture is needed, although it is never solved without it.
"""

from __future__ import annotations

import io
import math
from dataclasses import replace

from mmprm.annotation.tree import Counts
from mmprm.data.problem import Problem

_GREY = (128, 128, 128)


def blanked(problem: Problem) -> Problem:
    """The same problem with uniform pictures of the same sizes; UserError where a picture cannot be decoded."""
    from PIL import Image

    from mmprm.model.folders import decode_image

    pictures = []
    for image in problem.images:
        file = io.BytesIO()
        Image.new("RGB", decode_image(image).size, _GREY).save(file, "PNG")
        pictures.append(file.getvalue())
    return replace(problem, images=tuple(pictures))


def image_needed(shown: Counts, blank: Counts, share: float, confidence: float) -> bool | None:
    """False where the pass rate with a blank picture is above `share` of that with the real one, at `confidence`.

    The lower end of blank - share * shown must lie above 0: both intervals are Wilson's, put together by the method of
    squares (Newcombe 1998; Zou and Donner 2008, doi:10.1002/sim.3095). None where one of the two has no verdict.
    """
    from scipy.stats import norm

    if not shown.n_rollouts or not blank.n_rollouts:
        return None
    z = float(norm.ppf(confidence))
    with_it, without = shown.n_correct / shown.n_rollouts, blank.n_correct / blank.n_rollouts
    above = _wilson(shown, z)[1] - with_it
    below = without - _wilson(blank, z)[0]
    return not without - share * with_it - math.hypot(below, share * above) > 0


def _wilson(counts: Counts, z: float) -> tuple[float, float]:
    """Wilson's (1927) score interval of a pass rate."""
    n, rate = counts.n_rollouts, counts.n_correct / counts.n_rollouts
    centre = rate + z * z / (2 * n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
