"""The number that a sentence states: what is bold, else what follows its last "is", "has", "=", else its only number.

In: a sentence. Out: the number as it is written there, or None. A bound ("at least 12"), a multiple ("half of 12"), an
operation ("12 minus 5") and a choice ("12 or 13") state no number.
"""

import re

from mmprm.grading import assertion, number, numerals
from mmprm.grading.clean import clean

_MOST, _LENGTH = 8, 300  # how many of the last links of a sentence are read, and how many characters behind each
_LINK = re.compile(
    r"\\approx\b|\\?≈|(?<![<>!])=|:\s|(?<=[\u4e00-\u9fff]):|\b(?:is|are|was|were|be|equals?|equal\s+to|has|have|had|gives?|gets?|costs?|saves?|spends?|needs?"
    r"|spent|pays?|contains?|shows?|sold|becomes?|remains?|leaves?|makes?|totals?|represents?|approximately|about|around|of)\b"
    r"|是|为|等于|有|得"
)
_THERE = re.compile(r"\bthere\s+(?:is|are|was|were|will\s+be|would\s+be)\b", re.IGNORECASE)
_SKIP = re.compile(
    r"^(?:[\s*$:~`(\"'“‘]|\\\(|\\\[|\b(?:only|just|exactly|about|approximately|around|roughly|nearly|almost|be|should|it|is"
    r"|a\s+total\s+of|equal\s+to|also|now|then|therefore|thus|still|simply|the\s+number|\d+\s*/\s*\d+\s+or)\b|约)+",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"""^(?P<token>(?:(?:negative|minus)\s+)?[+-]?\s*(?:\\?[$€£¥])?\s*-?(?:
        \\[dt]?frac\s*\{\s*-?\d+\s*\}\s*\{\s*\d+\s*\}
        |\d*\.\d*\\overline\s*\{?\s*\d+\s*\}?
        |(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+(?:\.\d+)?)?
        |\.\d+)
        (?:\s*(?:dozen|hundred|thousand|million|billion|trillion)s?\b)*
        (?:\s*(?:\\?%|percent\b|(?:\^\s*\{?\s*)?\\circ\}?|°))?)(?P<rest>.*)$""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_OPERATOR = re.compile(
    r"""^\s*(?:[-+*/^×÷·√π_!<>≤≥=±]|\\(?:times|cdot|div|pi|sqrt|frac|left|pm|leq?|geq?|neq?|overline|dot)\b|[a-zA-Z]\s*(?:[-+*/^=<>]|[.,;]?\s*$)|\(\s*[-\w]\s*[-+)]
        |(?:half|halves|thirds?|quarters?|fifths?|tenths?|hundredths?|minus|plus|times(?!\s+(?:more|as|the|larger|greater|higher|longer|bigger|smaller|less|fewer|that|in|per)\b)|divided|multiplied|squared|cubed|factorial|raised|to\s+the\s+(?:power|\w+\s+power)|modulo?|choose|added|subtracted|increased|decreased|reduced)\b
        |(?:more|less|fewer|greater|larger|smaller|higher|lower)\s+than\s+(?:\$?-?\d|\$?[a-zA-Z]\b(?!\s+[a-z])|twice|half|double|the\s+(?:answer|value|number|result))
        |(?:or|and)\s+(?:more|less|fewer|above|below|over|under|up|greater|higher|lower|larger|smaller|so\b|beyond)|(?:at\s+(?:least|most)|upwards?|minimum|maximum|and\s+up)\b
        |[%]?\s*(?:percent\s+)?of\s+(?:\$?-?\d|\$?[a-zA-Z]\b)|\\%\s*of\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_ANOTHER = re.compile(
    r"^\s*(?:or|and|to|through|-|–|,|/|&|和|或|至|到)\s*[-$]?\d|^\s*(?:or|and|to)\s+(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b(?!\s+of\b)|^\s*(?:or|and|to)\s+(?:maybe\s+|perhaps\s+|possibly\s+|even\s+)?[-$]?\d"
)
_BEFORE = re.compile(
    r"""(?:\b(?:at\s+(?:least|most|minimum|maximum)|(?:less|more|greater|fewer|larger|smaller|higher|lower|bigger|other|rather)\s+than|over|under|above|below|beneath
        |beyond|up\s+to|exceed\w*|between|within|from|minimum(?:\s+of)?|maximum(?:\s+of)?|upwards\s+of|short\s+of|north\s+of|lower\s+bound(?:\s+of)?|upper\s+bound(?:\s+of)?
        |not|never|cannot\s+be|n['’]t|anything\s+but|except|far\s+from|instead\s+of|unequal\s+to|different\s+from
        |twice|thrice|double|triple|half|quarter|third|(?:multiples?|half|halves|thirds?|quarters?|fifths?|double|twice|squares?|roots?|cubes?|reciprocal|opposite|inverse|negation|negative|factors?
        |divisors?|powers?|fraction|percent|percentage|%|logarithm|log|factorial|out|part|complement|function|neighbou?rhood)\s+of|divisible\s+by|multiplied\s+by|divided\s+by|times|plus|minus|modulo?)
        |[<>≤≥≠!^_+*/×÷-]|\\(?:leq?|geq?|neq?|lt|gt|times|cdot|div|pm|sqrt|ne))[\s*$:(]*(?:(?:the|a|an|only|just|about|exactly)\s+)*$""",
    re.IGNORECASE | re.VERBOSE,
)
_UNKNOWN = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_WORD_OR_COMMAND = re.compile(r"\\?[A-Za-z]{2,}\b|\ba\b(?=\s+[a-z])")
_OPERATES = re.compile(r"[-+*/^]|\\(?:sqrt|frac|times|cdot|log|ln)\b|√|\d\s*[A-Za-z](?![A-Za-z])")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_NUMERAL = re.compile(
    r"(?<![\w.,^{!√])[-+]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*(?:dozen|hundred|thousand|million|billion)s?\b)*(?:\s*\\?%)?(?![\w^!]|\.\d)"
)
_UNIT = re.compile(
    r"\s*(?:square\s+|cubic\s+)?(?:[A-Za-z°]+|[\u4e00-\u9fff]{1,4})(?:\s*\^\s*\{?[23]\}?|[²³])?(?:\s*(?:/|per)\s*[A-Za-z]+(?:\s*\^\s*\{?[23]\}?|[²³])?)?"
)
_FORMULA = re.compile(r"[\\^<>≤≥≠√!?±]|\d\s*[-+*/=]\s*\w|\w\s*[+*/=]\s*\d|\w\s-\s\d")
_WORDY = re.compile(r"(?=[a-z]*[aeiou])[a-z]{2,}|[\u4e00-\u9fff]", re.IGNORECASE)
_LETTERS = re.compile(r"^\s*[b-df-hj-np-tv-z]{2,4}(?![a-z])", re.IGNORECASE)  # no word: xyz


def leading_number(text: str) -> str | None:
    """Return the number that the text begins with, if words follow and not the rest of a formula or of a list."""
    if number.parse(cleaned := clean(text)):
        return cleaned
    skipped = _SKIP.match(text)
    bare = text[skipped.end() :] if skipped else text
    if word := numerals.NUMERAL.match(bare):
        rest = bare[word.end() :]
        refused = re.match(r"one\s+of\b", bare, re.IGNORECASE) or _OPERATOR.match(rest) or _ANOTHER.match(rest)
        return None if refused or numerals.value_of(word[0]) is None else word[0]
    if (match := _TOKEN.match(bare)) is None:
        return None
    rest = re.sub(r"^[\s*$`]+|^\\\)", " ", match["rest"])
    if _OPERATOR.match(rest) or _ANOTHER.match(rest) or re.match(r"^[.,]?\d|^\{?,\}?\d", rest):
        return None
    return _with_unit(match["token"].strip(), rest)


def _with_unit(token: str, rest: str) -> str | None:
    """Return the number with its unit, if that is a known one: most words behind a number say what is counted."""
    if (unit := _UNIT.match(rest)) and (measured := number.parse(token + unit[0])) and measured.unit.kind:
        return token + unit[0]
    return token if number.parse(token) and not _LETTERS.match(rest) else None


def stated_number(sentence: str) -> str | None:
    """Return the number that the sentence asserts, as it is written there; None if it states none or several.

    "So there are only 3 bars with values below 6." states 3.
    """
    if number.parse(cleaned := clean(sentence)):
        return cleaned
    return assertion.read(sentence, _named_number, concludes=True).value


def _named_number(clause: str) -> str | None:
    if number.parse(cleaned := clean(clause)):
        return cleaned
    if bold := [value for match in _BOLD.finditer(clause) if (value := _bold_number(clause, match))]:
        return bold[-1]
    # "There is 1 street with exactly 36 houses": what there is comes first, everything else last.
    links = [*list(_THERE.finditer(clause))[:1], *list(_LINK.finditer(clause))[: -_MOST - 1 : -1]]
    for link in links:
        if _BEFORE.search(clause[: link.end()]) or (link[0] == "=" and _of_unknown(clause[: link.start()])):
            continue
        if value := leading_number(clause[link.end() :][:_LENGTH]):
            return value
    return _only_number(clause)


def _of_unknown(left: str) -> bool:
    r"""Tell whether the left side of an equation computes with an unknown: `\sqrt{x} = 5` is not about 5 alone."""
    side = re.split(r"=|\$|≈|\\approx|\\\(|\\\[|[,;:]\s", left)[-1]
    if number.split_name(f"{side}=")[1] == "":
        return False
    return _UNKNOWN.search(_WORD_OR_COMMAND.sub(" ", side)) is not None and _OPERATES.search(side) is not None


def _bold_number(clause: str, match: re.Match[str]) -> str | None:
    return None if _BEFORE.search(clause[: match.start()]) else leading_number(match[1]) or _only_number(match[1])


def _only_number(clause: str) -> str | None:
    """Return the only number of words around it; a formula is not one number."""
    numerals_found = list(_NUMERAL.finditer(clause))
    spelled = [match for match in numerals.NUMERAL.finditer(clause) if not re.match(r"one\b", match[0], re.I)]
    if not _WORDY.search(clause) or _FORMULA.search(clause):
        return None
    found = numerals_found or (spelled if len(spelled) == 1 else [])
    if len(found) != 1:
        return None
    (only,) = found
    if _BEFORE.search(clause[: only.start()]) or _OPERATOR.match(clause[only.end() :]):
        return None
    return only[0] if number.parse(only[0]) else None
