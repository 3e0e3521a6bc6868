r"""Where a solution may be cut into steps. In: a text. Out: the places at which pieces begin, in order, without 0.

Four ways, from the coarsest to the finest: numbered steps, blank lines, lines, sentences. No cut falls into a formula
(`$…$`, `$$…$$`, `\(…\)`, `\[…\]`, an environment) or a block of code (fenced, or a figure in Asymptote).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable

# What begins a part that is never cut, and what ends it.
_BEGINS = re.compile(r"```|\[asy\]|\$\$|(?<!\\)\\[(\[]|(?<!\\)\$(?=[^\s$])")
_ENDS = {"```": "```", "[asy]": "[/asy]", "$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{[^{}\n]{1,40}\}")

_AT_START = r"^[ \t]*(?:[-*•][ \t]+)?(?:\#{1,6}[ \t]*)?[*_]{0,3}"
_INLINE = r"(?<=[.!?;:。；：！？])[ \t]*"
_CJK_NUMBERS = {digit: value for value, digit in enumerate("一二三四五六七八九十", start=1)}
# How steps are numbered; group "n" is the number.
_NUMBERINGS = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        rf"(?:{_AT_START}(?=[Ss]tep|STEP)|{_INLINE}(?=(?:[Ss]tep|STEP)\s*\d+\s*[:.)\-–—：]))"
        r"(?:[Ss]tep|STEP)\s*\#?(?P<n>\d{1,3})(?!\d)",
        rf"(?:{_AT_START}|{_INLINE})第\s*(?P<n>[一二三四五六七八九十]|\d{{1,2}})\s*步",
        rf"{_AT_START}(?P<n>\d{{1,3}})(?:[.)](?=[ \t*_])|[、．])",
        rf"{_AT_START}[(（](?P<n>\d{{1,3}})[)）]",
        rf"(?:{_AT_START}|{_INLINE})(?P<n>[①-⑳])",
    )
)
_BLANK = re.compile(r"\n[ \t\r]*\n\s*")
_LINE = re.compile(r"\n\s*")
_SENTENCE = re.compile(r"""[.!?]["'”’)\]*_]*\s+(?=[^\sa-z])|[。！？][”’」』）)]*\s*(?=\S)|\n\s*""")
_ABBREVIATION = re.compile(
    r"""(?:^|[\s(\[,])(?:figs?|eqs?|nos?|vs|e\.g|i\.e|approx|resp|dr|mrs?|ms|prof|cf|al|refs?|secs?|thm|prop|ex|ca|st)\.$
    |(?:^|\n)[ \t]*[(]?(?:\d{1,3}|[A-Za-z]|[ivx]{2,4})\.$""",
    re.IGNORECASE | re.VERBOSE,
)
_NUMBER_FOLLOWS = re.compile(r"(?:^|[\s(\[,])nos?\.$", re.IGNORECASE)


class Whole:
    """The parts of a text into which no cut may fall: [begin, end) spans of formulas and code."""

    def __init__(self, text: str) -> None:
        found = [*_marked(text), *_environments(text)]
        self._spans: list[tuple[int, int]] = []
        for begin, end in sorted(found):
            if self._spans and begin < self._spans[-1][1]:
                self._spans[-1] = self._spans[-1][0], max(end, self._spans[-1][1])
            else:
                self._spans.append((begin, end))
        self._begins = [begin for begin, _ in self._spans]

    def allows(self, place: int) -> bool:
        """May the text be cut before the character at `place`?"""
        index = bisect_right(self._begins, place) - 1
        return index < 0 or not self._spans[index][0] < place < self._spans[index][1]


def _marked(text: str) -> list[tuple[int, int]]:
    """Formulas between marks, and code; a mark without its other end protects nothing. In time linear in the text."""
    spans, place = [], 0
    never = set()  # marks that nothing ends any more
    while match := _BEGINS.search(text, place):
        place = match.end()
        if match[0] == "$":
            end = _dollar(text, match.start())
        elif match[0] in never:
            continue
        else:
            end = text.find(_ENDS[match[0]], place) + len(_ENDS[match[0]])
            if end < place:
                never.add(match[0])
                continue
        if end is not None:
            spans.append((match.start(), end))
            place = end
    return spans


def _dollar(text: str, begin: int) -> int | None:
    """Where the formula ends that a single dollar begins, as pandoc reads it: "$5 and $6" is none."""
    end = text.find("$", begin + 1)
    if end < 0 or text[end - 1].isspace() or text[end - 1] == "\\" or text[end + 1 : end + 2].isdecimal():
        return None
    if text[end + 1 : end + 2] == "$" or _PARAGRAPH.search(text, begin, end):
        return None
    return end + 1


def _environments(text: str) -> list[tuple[int, int]]:
    r"""The outermost `\begin{…}…\end{…}`; one that is never closed protects nothing."""
    spans, depth, begin = [], 0, 0
    for match in _ENVIRONMENT.finditer(text):
        if match[1] == "begin":
            begin = begin if depth else match.start()
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                spans.append((begin, match.end()))
    return spans


def numbered(text: str) -> list[int]:
    """Before each numbered step: 1, 2, 3, … in one way of numbering, from 1 again after the last; of several ways that
    with the first step."""
    ways = [places for pattern in _NUMBERINGS if len(places := _in_sequence(pattern.finditer(text))) > 1]
    return min(ways, default=[])


def _in_sequence(matches: Iterable[re.Match[str]]) -> list[int]:
    places: list[int] = []
    last = depth = 0
    for match in matches:
        # A marker behind a sentence begins after the white space that divides the two.
        place = match.end() - len(match[0].lstrip())
        indent = place - match.string.rfind("\n", 0, place) - 1
        indent = indent if match.string[place - indent : place].isspace() else 0
        value = _value(match["n"])
        if value == last + 1 or (value == 1 and last):
            depth = depth if places else indent + 1
            if indent <= depth:  # what stands further in is a list within a step
                places.append(place)
                last = value
    return places


def _value(number: str) -> int:
    if number in _CJK_NUMBERS:
        return _CJK_NUMBERS[number]
    return int(number) if number.isdecimal() else ord(number) - ord("①") + 1


def blank_lines(text: str) -> list[int]:
    """Behind blank lines."""
    return [match.end() for match in _BLANK.finditer(text)]


def lines(text: str) -> list[int]:
    """At each line, but for one that goes on in lower case: its sentence was only wrapped."""
    return [match.end() for match in _LINE.finditer(text) if not text[match.end() : match.end() + 1].islower()]


def sentences(text: str) -> list[int]:
    """At each sentence; the point of "Fig. 3", of "e.g." and of a list's "1." ends none."""
    places = []
    for match in _SENTENCE.finditer(text):
        if match[0][0] == ".":
            before, after = text[max(0, match.start() - 12) : match.start() + 1], text[match.end() : match.end() + 1]
            before = before if match.start() > 12 else "\n" + before
            counts = _NUMBER_FOLLOWS.search(before) is not None  # "No. 5", and not "No. The"
            if _ABBREVIATION.search(before) and (not counts or after.isdecimal()):
                continue
        elif match[0][0] == "\n" and text[match.end() : match.end() + 1].islower():
            continue
        places.append(match.end())
    return places


LEVELS: dict[str, Callable[[str], list[int]]] = {
    "numbered": numbered,
    "blank_lines": blank_lines,
    "lines": lines,
    "sentences": sentences,
}


def cut(text: str, level: str) -> list[str]:
    """The pieces of a text, by one of LEVELS; together they are the text, and none is empty or white space alone."""
    whole = Whole(text)
    places = [place for place in LEVELS[level](text) if 0 < place < len(text) and whole.allows(place)]
    pieces: list[str] = []
    for begin, end in zip([0, *places], [*places, len(text)], strict=True):
        piece = text[begin:end]
        if pieces and not (piece.strip() and pieces[-1].strip()):  # white space alone is no piece
            pieces[-1] += piece
        elif piece:
            pieces.append(piece)
    return pieces
