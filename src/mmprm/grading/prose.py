"""The number that a sentence states: "So there are only 3 bars with values below 6." states 3.

In: a sentence. Out: the number, or None where it states none or several. A sentence states what follows its last "is",
"are", "has", "=" and the like; else what is bold; else its only number.
"""

from __future__ import annotations

import re

from mmprm.grading import number
from mmprm.grading.clean import clean

_FEW, _LENGTH = 8, 300  # the last links of a sentence, and the characters behind each, that are looked at
_LINK = re.compile(
    r"\\approx\b|\\?≈|=|:\s|\b(?:is|are|was|were|be|equals?|equal\s+to|has|have|had|gives?|gets?|costs?|saves?|spends?|needs?"
    r"|spent|pays?|contains?|shows?|sold|becomes?|remains?|leaves?|makes?|totals?|represents?|approximately|about|around|of)\b"
    r"|是|为|等于|有|得"
)
_THERE = re.compile(r"\bthere\s+(?:is|are|was|were|will\s+be|would\s+be)\b", re.IGNORECASE)
_SKIP = re.compile(
    r"^(?:[\s*$:~`(]|\\\(|\\\[|\b(?:only|just|exactly|about|approximately|around|roughly|nearly|almost|at\s+(?:least|most)"
    r"|a\s+total\s+of|equal\s+to|also|now|then|therefore|thus|still|simply|the\s+number|\d+\s*/\s*\d+\s+or)\b|约)+",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"""^(?P<token>[+-]?\s*(?:\\?[$€£¥])?\s*-?(?:
        \\[dt]?frac\s*\{\s*-?\d+\s*\}\s*\{\s*\d+\s*\}
        |(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+(?:\.\d+)?)?
        |\.\d+)
        (?:\s*(?:\\?%|percent\b|(?:\^\s*\{?\s*)?\\circ\}?|°))?)(?P<rest>.*)$""",
    re.VERBOSE | re.DOTALL,
)
_OPERATOR = re.compile(
    r"^\s*(?:[-+*/^×÷·√π_]|\\(?:times|cdot|div|pi|sqrt|frac|left|pm)\b|[a-zA-Z]\s*(?:[-+*/^=]|$)|\()"
)
_ANOTHER = re.compile(r"^\s*(?:or|and|to|,|和|或)\s*[-$]?\d")
_WORD = re.compile(r"^(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b", re.IGNORECASE)
_UNIT = re.compile(r"\s*(?:square\s+|cubic\s+)?(?:[A-Za-z°]+|[\u4e00-\u9fff]{1,4})(?:\s*\^\s*\{?[23]\}?|[²³])?")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_NUMERAL = re.compile(r"(?<![\w.,^{])[-+]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*\\?%)?(?![\w^])")


def leading(text: str) -> str | None:
    """The number that the text begins with, where what follows are words and not the rest of a formula or of a list."""
    if number.parse(whole := clean(text)):
        return whole
    bare = _SKIP.sub("", text)
    if named := _WORD.match(bare):
        return None if re.match(r"one\s+of\b", bare, re.IGNORECASE) else named[0]
    match = _TOKEN.match(bare)
    if match is None:
        return None
    rest = re.sub(r"^[\s*$`]+|^\\\)", " ", match["rest"])
    if _OPERATOR.match(rest) or _ANOTHER.match(rest) or re.match(r"^[.,]?\d", rest):
        return None
    token = match["token"].strip()
    unit = _UNIT.match(rest)
    # Its unit, if that is one that is known: the words behind a number are mostly what is counted.
    measured = number.parse(token + unit[0]) if unit else None
    return token + unit[0] if unit and measured and measured.unit else token if number.parse(token) else None


def stated(sentence: str) -> str | None:
    """The number that the sentence states, as it is written there, or None."""
    if number.parse(whole := clean(sentence)):
        return whole
    if bold := [found for piece in _BOLD.findall(sentence) if (found := stated(piece))]:
        return bold[-1]
    # "There is 1 street with exactly 36 houses": what there is comes first, everything else last.
    links = [*list(_THERE.finditer(sentence))[:1], *list(_LINK.finditer(sentence))[: -_FEW - 1 : -1]]
    if found := next((piece for link in links if (piece := leading(sentence[link.end() :][:_LENGTH]))), None):
        return found
    numerals = _NUMERAL.findall(sentence)
    alone = len(numerals) == 1 and not re.search(r"[\\^]|\d\s*[-+*/=]\s*\w|\w\s*[+*/=]\s*\d", sentence)
    return numerals[0] if alone else None
