"""Places of images in a question: `<image>`, `<image1>`, `<image 1>`, `<image_1>`. In: texts. Out: a question."""

import itertools
import re

from mmprm.problems.refusals import RowRefusedError

PLACE = "<image>"
_BEFORE, _BEHIND = re.compile(r"\s*(?:<image>\s*)*"), re.compile(r"\s*(?:>egami<\s*)*")  # the latter read backwards
_NUMBERED = re.compile(r"<image[ _]?(\d{1,3})>")


def split_outer(question: str) -> tuple[str, str, str]:
    """Split off the places at the start and the end, each with the blanks beside it, in linear time.

    They only announce the image, for which the prompt has its own.
    """
    start = len(_BEFORE.match(question)[0])  # type: ignore[index]
    end = len(question) - len(_BEHIND.match(question[start:][::-1])[0])  # type: ignore[index]
    return question[:start], question[start:end], question[end:]


def numbered(question: str, n_images: int, choices: tuple[str, ...] = (), composite: bool = False) -> str:
    """Return the question with its inner places numbered, so that it is clear which image is meant.

    RowRefusedError where it does not have one `<image>` for each of `n_images` images, or none at all, or where it or a
    choice has a higher number than there are images. composite: one picture may have several numbered places, as
    MathVision's do.
    """
    bare = question.count(PLACE)
    if bare and bare != n_images:
        raise RowRefusedError("placeholders", f"the question has {_many(bare, 'place')}, and the row {_many(n_images)}")
    numbers = [int(number) for text in (question, *choices) for number in _NUMBERED.findall(text)]
    if max(numbers, default=0) > n_images and not composite:
        raise RowRefusedError("placeholders", f"it names image {max(numbers)}, and the row has {_many(n_images)}")
    before, inner, behind = split_outer(question)
    if PLACE in inner:
        count = itertools.count(before.count(PLACE) + 1)
        inner = re.sub(PLACE, lambda _: f"<image{next(count)}>", inner)
    return before + inner.replace("<image ", "<image") + behind if numbers else before + inner + behind


def _many(number: int, what: str = "image") -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
