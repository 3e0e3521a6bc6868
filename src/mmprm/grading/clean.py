r"""Read boxes, strip what surrounds an answer (`$`, `\boxed{}`, bold, "the answer is"), split one of several parts.

In and out: text. Nothing here knows the gold answer.
"""

import re
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from mmprm.grading import assertion

# The full-width forms of the printable ASCII characters stand 0xFEE0 behind them.
_WIDE = (
    {0xFEE0 + code: code for code in range(0x21, 0x7F)}
    | {ord(dash): "-" for dash in "−–"}
    | {0xA0: " ", ord("—"): " - "}
)
_LEAD = re.compile(
    r"^(?:(?:so|thus|hence|therefore)\s*,?\s+)?(?:the\s+)?(?:final\s+|correct\s+|right\s+)?"
    r"(?:answer|option|choice)\b\s*(?:is|:|=)?\s*:?\s*",
    re.IGNORECASE,
)
_ANSWER_IS = re.compile(r"\b(?:answer|option|choice)\s*(?:is|are|:)\s*:?\s*", re.IGNORECASE)
_WRAPPED = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"), ('"', '"'), ("“", "”"))
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_COMMAND = re.compile(r"^\\(?:text|textbf|mathrm|mathbf|mbox|rm)\s*\{([^{}]*)\}$")
_JOINED = re.compile(r"\s+(?:or|and)\s+|\s*(?:或者|或|和|与|、)\s*")
_CIRCLED_RUN = re.compile(r"[①-⑳](?:(?:[\s,、.]|and|和|与)*[①-⑳])*")
_STATEMENTS = re.compile(r"(?:[①-⑳][\s,、.]*)+|(?:\(\d\)[\s,、.]*){2,}|\d(?:\.\d){2,}\.?|\d(?:\.\d)+\.\.")
_LOOSE_STATEMENTS = re.compile(r"(?:(?:\(?\d\)?|[①-⑳])(?:[\s,、.]|and|和|与)*)+")
_NUMBERED = re.compile(r"(?:^|(?<=[\s$.,;]))\((\d)\)\s*")


class Box(NamedTuple):
    """A box and the character span [start, end) that it takes up in the text. open: it is never closed."""

    start: int
    end: int
    content: str
    open: bool = False


def _closing_brace(text: str, start: int = 0) -> int | None:
    """Find the brace that closes one opened before `start`; None if it stays open."""
    depths = accumulate((character == "{") - (character == "}") for character in text[start:])
    return next((index for index, depth in enumerate(depths, start) if depth < 0), None)


def find_boxes(text: str) -> list[Box]:
    """Return the boxes in order, including empty ones; a box inside another one is part of its content.

    The content of a box that is never closed ends with its line; such a box spans the rest of the text.
    """
    boxes: list[Box] = []
    for match in _BOX.finditer(text):
        start = match.end()
        if boxes and match.start() < boxes[-1].end:
            continue
        end = _closing_brace(text, start)
        content = text[start:].partition("\n")[0] if end is None else text[start:end]
        boxes.append(Box(match.start(), len(text) if end is None else end + 1, content, end is None))
    return boxes


def boxed_texts(text: str) -> list[str]:
    """Return the contents of the boxes that are not empty, in order."""
    return [box.content for box in find_boxes(text) if box.content.strip()]


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{`, even one inside a box, or None; up to the end if it stays open."""
    _, command, rest = text.rpartition(r"\boxed{")
    return rest[: _closing_brace(rest)] if command else None


def narrow(text: str) -> str:
    """Replace wide characters (of Chinese text) and typographic minus signs by their plain counterparts."""
    return text.translate(_WIDE)


def _unwrapped_once(text: str) -> str:
    text = text.strip().rstrip(".,;。").strip()
    for left, right in _WRAPPED:
        inner = text[len(left) : -len(right)]
        if text.startswith(left) and text.endswith(right) and inner and left not in inner and right not in inner:
            return inner
    if text.startswith("{") and text.endswith("}") and text.count("{") == 1:
        return text[1:-1]
    command = _COMMAND.match(text)
    return command[1] if command else text


@lru_cache(maxsize=4096)
def clean(text: str) -> str:
    """Return the bare answer: wide characters made narrow, the last box opened, delimiters and introductions off."""
    text = narrow(text)
    while True:
        inner = last_boxed(text) or text
        start = max((match.end() for match in _ANSWER_IS.finditer(inner)), default=0)
        # "I doubt that the answer is 5" must not become 5.
        inner = inner[start:] if inner[start:] and assertion.plain_claim(inner[:start]) else inner
        inner = _LEAD.sub("", _unwrapped_once(inner))
        if inner == text or not inner:
            return text
        text = inner


def words(text: str) -> str:
    """Normalise for comparing words: lower case, no leading article, no LaTeX spaces or surrounding punctuation."""
    text = re.sub(r"\\(?:text|textbf|mathrm|mathbf|mbox|rm)\s*\{([^{}]*)\}", r"\1", clean(text)).casefold()
    text = re.sub(r"\\[,;!: ]|[~$]|\\left|\\right", " ", text)
    text = re.sub(r"^(?:the|an?)\s+(?=\S)", "", " ".join(text.split()))
    return text.strip(" .,;:!?'\"")


def compact(text: str) -> str:
    """Normalise for comparing formulas letter by letter: no spaces or delimiters, one spelling of \\frac."""
    text = re.sub(r"\\(?:dfrac|tfrac)", r"\\frac", clean(text))
    text = re.sub(r"(?<=\d)\\[,!](?=\d{3}(?!\d))", "", text)
    text = re.sub(r"\\left(?![a-z])|\\right(?![a-z])|\\[,;!: ]|\\quad|[~$]", "", text)
    text = re.sub(r"(?<=\d)\s+(?=\d)", "␣", text)  # 1 2 is not 12
    text = re.sub(r"\s", "", text)
    return re.sub(r"\^\{?\\circ\}?|°", "°", text).rstrip(".")


def _top_level_commas(text: str) -> list[str]:
    """Split at commas outside of brackets, but not inside a number such as 1,000."""
    pieces, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        thousands = re.match(r",\d{3}(?!\d)", text[position:]) and text[position - 1 : position].isdigit()
        if character == "," and depth == 0 and not thousands:
            pieces.append(text[start:position])
            start = position + 1
    return [*pieces, text[start:]]


def parts(text: str) -> tuple[list[str], bool]:
    """Split an answer into (its parts, whether their order counts).

    Lines, `;` and (1)…(2)… separate ordered parts; commas, "and" and "or" separate unordered ones. `{1, 2}` is a set of
    two parts, `(1, 2)` is one point.
    """
    numbered = _NUMBERED.split(text)
    displays = re.findall(r"\$\$?([^$]+)\$\$?", text)
    if numbered[1::2] == [str(index + 1) for index in range(len(numbered) // 2)] and len(numbered) > 3:
        pieces, ordered = numbered[2::2], True
    elif len(displays) > 1 and re.fullmatch(r"\s*(?:\$\$?[^$]+\$\$?[.,;]?(?:\s+|$)){2,}", text):
        pieces, ordered = displays, True  # a blank each
    elif re.fullmatch(r"\s*-?\d+(?:[ ]+-?\d+)+[\s.]*", text):
        pieces, ordered = text.split(), True
    elif re.search(r"[\n;]", text.strip()):
        pieces, ordered = re.split(r"[\n;]", text), True
    else:
        bare = re.sub(r"\\(?:text|mathrm)\s*\{\s*(or|and)\s*\}", r" \1 ", clean(text))
        bare = re.sub(r"^\\?\{(.*?)\\?\}$", r"\1", bare)  # a set
        pieces = [piece for chunk in _JOINED.split(bare) for piece in _top_level_commas(chunk)]
        ordered = False
    pieces = [clean(piece) for piece in pieces if piece.strip(" $.,;")]
    return (pieces or [clean(text)]), ordered


def named_statements(text: str, loose: bool = False) -> frozenset[str] | None:
    """Return the numbers of the statements that an answer names: `①③④`, `(1)(3)`, `1.2.4.`; None if it is no such list.

    loose: digits with commas are one too, and a sentence with one such list, because the gold answer is one.
    """
    bare = clean(text).strip()
    if loose:
        runs = [match[0] for match in _CIRCLED_RUN.finditer(bare)]
        bare = runs[0] if len(runs) == 1 else bare
    if not (_LOOSE_STATEMENTS if loose else _STATEMENTS).fullmatch(bare):
        return None
    return frozenset(str(ord(digit) - 0x245F) if digit >= "①" else digit for digit in re.findall(r"[1-9①-⑳]", bare))
