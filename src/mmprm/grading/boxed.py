r"""Read what `\boxed{…}` and `\fbox{…}` hold. In: a text. Out: the contents, with balanced braces."""

import re
from typing import NamedTuple

_COMMAND = re.compile(r"\\(?:boxed|fbox)\s*\{")


class Box(NamedTuple):
    """A box and the character span [start, end) that it takes up in the text."""

    start: int
    end: int
    content: str


def _closing_brace(text: str, start: int = 0) -> int | None:
    """Find the brace that closes one opened before `start`; None if it stays open."""
    depth = 1
    for index in range(start, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return index
    return None


def find_boxes(text: str) -> list[Box]:
    """Return the boxes in order, including empty ones; a box inside another one is part of its content.

    The content of a box that is never closed ends with its line; such a box spans the rest of the text.
    """
    boxes: list[Box] = []
    for match in _COMMAND.finditer(text):
        start = match.end()
        if boxes and match.start() < boxes[-1].end:
            continue
        if (end := _closing_brace(text, start)) is None:
            boxes.append(Box(match.start(), len(text), text[start:].partition("\n")[0]))
        else:
            boxes.append(Box(match.start(), end + 1, text[start:end]))
    return boxes


def boxed_texts(text: str) -> list[str]:
    """Return the contents of the boxes that are not empty, in order."""
    return [box.content for box in find_boxes(text) if box.content.strip()]


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{`, even one inside another box; None if there is none.

    If it is never closed, the rest of the text is its content.
    """
    _, command, rest = text.rpartition(r"\boxed{")
    return rest[: _closing_brace(rest)] if command else None
