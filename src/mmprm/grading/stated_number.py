"""Find the number that a sentence states: "So there are only 3 bars with values below 6." states 3.

In: a sentence. Out: the number, or None if it states none or several. A sentence states what is bold, else what follows
its last "is", "are", "has", "=" and the like, else its only number.
"""

import re

from mmprm.grading import number
from mmprm.grading.clean import clean

_MOST, _LENGTH = 8, 300  # how many of the last links of a sentence are read, and how many characters behind each
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


def leading_number(text: str) -> str | None:
    """Return the number that the text begins with, if words follow and not the rest of a formula or of a list."""
    if number.parse(cleaned := clean(text)):
        return cleaned
    bare = _SKIP.sub("", text)
    if word := _WORD.match(bare):
        return None if re.match(r"one\s+of\b", bare, re.IGNORECASE) else word[0]
    match = _TOKEN.match(bare)
    if match is None:
        return None
    rest = re.sub(r"^[\s*$`]+|^\\\)", " ", match["rest"])
    if _OPERATOR.match(rest) or _ANOTHER.match(rest) or re.match(r"^[.,]?\d", rest):
        return None
    token = match["token"].strip()
    unit = _UNIT.match(rest)
    # Only a known unit is kept: most words behind a number say what is counted.
    measured = number.parse(token + unit[0]) if unit else None
    if unit and measured and measured.unit:
        return token + unit[0]
    return token if number.parse(token) else None


def stated_number(sentence: str) -> str | None:
    """Return the number that the sentence states, as it is written there, or None."""
    if number.parse(cleaned := clean(sentence)):
        return cleaned
    if bold := list(filter(None, map(stated_number, _BOLD.findall(sentence)))):
        return bold[-1]
    # "There is 1 street with exactly 36 houses": what there is comes first, everything else last.
    links = [*list(_THERE.finditer(sentence))[:1], *list(_LINK.finditer(sentence))[: -_MOST - 1 : -1]]
    for link in links:
        if value := leading_number(sentence[link.end() :][:_LENGTH]):
            return value
    numerals = _NUMERAL.findall(sentence)
    alone = len(numerals) == 1 and not re.search(r"[\\^]|\d\s*[-+*/=]\s*\w|\w\s*[+*/=]\s*\d", sentence)
    return numerals[0] if alone else None
