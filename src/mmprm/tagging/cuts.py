r"""Find where a solution may be cut into steps. In: a text. Out: the indices where pieces begin, in order, without 0.

There are four levels, from the coarsest to the finest: numbered steps, blank lines, lines, sentences. No cut falls into
a formula (`$…$`, `$$…$$`, `\(…\)`, `\[…\]`, an environment) or a block of code (fenced, or a figure in Asymptote).
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from unicodedata import numeric

# The marks that start and end a span without cuts.
_STARTS = re.compile(r"```|\[asy\]|\$\$|(?<!\\)\\[(\[]|(?<!\\)\$(?=[^\s$])")
_ENDS = {"```": "```", "[asy]": "[/asy]", "$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{[^{}\n]{1,40}\}")

_AT_START = r"^[ \t]*(?:[-*•][ \t]+)?(?:\#{1,6}[ \t]*)?[*_]{0,3}"
_INLINE = r"(?<=[.!?;:。；：！？])[ \t]*"
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


class ProtectedSpans:
    """The parts of a text into which no cut may fall: [start, end) spans of formulas and code."""

    def __init__(self, text: str) -> None:
        self._spans: list[tuple[int, int]] = []
        for start, end in sorted([*_delimited(text), *_environments(text)]):
            if self._spans and start < self._spans[-1][1]:
                self._spans[-1] = self._spans[-1][0], max(end, self._spans[-1][1])
            else:
                self._spans.append((start, end))
        self._starts = [start for start, _ in self._spans]

    def allow_cut(self, index: int) -> bool:
        """Tell whether the text may be cut before the character at `index`."""
        span = bisect_right(self._starts, index) - 1
        return span < 0 or not self._spans[span][0] < index < self._spans[span][1]


def _delimited(text: str) -> list[tuple[int, int]]:
    """Find formulas between delimiters, and code; a delimiter that is never closed protects nothing. Linear time."""
    spans, index = [], 0
    unclosed = set()  # delimiters that are not closed in the rest of the text
    while match := _STARTS.search(text, index):
        index = match.end()
        if match[0] == "$":
            end = _dollar(text, match.start())
        elif match[0] in unclosed:
            continue
        else:
            end = text.find(_ENDS[match[0]], index) + len(_ENDS[match[0]])
            if end < index:
                unclosed.add(match[0])
                continue
        if end is not None:
            spans.append((match.start(), end))
            index = end
    return spans


def _dollar(text: str, start: int) -> int | None:
    """Find the end of the formula that a single dollar starts, as pandoc reads it: "$5 and $6" is no formula."""
    end = text.find("$", start + 1)
    if end < 0 or text[end - 1].isspace() or text[end - 1] == "\\" or text[end + 1 : end + 2].isdecimal():
        return None
    if text[end + 1 : end + 2] == "$" or _PARAGRAPH.search(text, start, end):
        return None
    return end + 1


def _environments(text: str) -> list[tuple[int, int]]:
    r"""Find the outermost `\begin{…}…\end{…}`; one that is never closed protects nothing."""
    spans, depth, start = [], 0, 0
    for match in _ENVIRONMENT.finditer(text):
        if match[1] == "begin":
            start = start if depth else match.start()
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                spans.append((start, match.end()))
    return spans


def numbered(text: str) -> list[int]:
    """Find the numbered steps 1, 2, 3, … of one numbering style, possibly restarting at 1.

    If several styles occur, the one with the earliest first step counts.
    """
    styles = [indices for pattern in _NUMBERINGS if len(indices := _in_sequence(pattern.finditer(text))) > 1]
    return min(styles, default=[])


def _in_sequence(matches: Iterable[re.Match[str]]) -> list[int]:
    indices: list[int] = []
    last = depth = 0
    for match in matches:
        # A number behind a sentence begins after the white space between the two.
        index = match.end() - len(match[0].lstrip())
        indent = index - match.string.rfind("\n", 0, index) - 1
        indent = indent if match.string[index - indent : index].isspace() else 0
        value = int(match["n"]) if match["n"].isdecimal() else int(numeric(match["n"]))  # 3, or one of 三 and ③
        if value == last + 1 or (value == 1 and last):
            depth = depth if indices else indent + 1
            if indent <= depth:  # a deeper indentation is a list inside a step
                indices.append(index)
                last = value
    return indices


def blank_lines(text: str) -> list[int]:
    """Find the text behind each blank line."""
    return [match.end() for match in _BLANK.finditer(text)]


def lines(text: str) -> list[int]:
    """Find each line, except one that starts in lower case: its sentence was only wrapped."""
    return [match.end() for match in _LINE.finditer(text) if not text[match.end() : match.end() + 1].islower()]


def sentences(text: str) -> list[int]:
    """Find each sentence; the point of "Fig. 3", of "e.g." and of a list's "1." ends no sentence."""
    indices = []
    for match in _SENTENCE.finditer(text):
        if match[0][0] == ".":
            before, after = text[max(0, match.start() - 12) : match.start() + 1], text[match.end() : match.end() + 1]
            before = before if match.start() > 12 else "\n" + before
            number = _NUMBER_FOLLOWS.search(before) is not None  # "No. 5", but not "No. The"
            if _ABBREVIATION.search(before) and (not number or after.isdecimal()):
                continue
        elif match[0][0] == "\n" and text[match.end() : match.end() + 1].islower():
            continue
        indices.append(match.end())
    return indices


LEVELS: dict[str, Callable[[str], list[int]]] = {
    function.__name__: function for function in (numbered, blank_lines, lines, sentences)
}


def cut(text: str, level: str) -> list[str]:
    """Cut a text at one of LEVELS; the joined pieces are the text, and none is empty or white space only."""
    spans = ProtectedSpans(text)
    indices = [index for index in LEVELS[level](text) if 0 < index < len(text) and spans.allow_cut(index)]
    pieces: list[str] = []
    for start, end in zip([0, *indices], [*indices, len(text)], strict=True):
        piece = text[start:end]
        if pieces and not (piece.strip() and pieces[-1].strip()):  # white space alone is no piece
            pieces[-1] += piece
        elif piece:
            pieces.append(piece)
    return pieces
