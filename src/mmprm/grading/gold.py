"""Gold answers as sources write them. In: a gold answer. Out: its alternatives, each right by itself; its own digits.

`35/4 (or fill in 8.75)` says the same twice. `AB = CD or AC = BD` names two conditions, of which either will do, while
`x = 1 or x = 3` are the two values of one unknown, both of which belong to an answer.
"""

import re
import struct

from mmprm.grading import number
from mmprm.grading.clean import clean, compact

_IN_BRACKETS = re.compile(r"(.+?)\s*[(（]\s*or\s+(?:fill\s+in\s+)?(.+?)\s*[)）]\s*\.?", re.DOTALL)
_OR = re.compile(r"\s+or\s+")
_LONG_DECIMAL = re.compile(r"-?\d+\.\d{10,}")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}")
_FRACTIONS = re.compile(r"[\s$]*\d+\s*/\s*\d+(?:[\s$]*(?:,|;|，|；|\band\b|\n)[\s$]*\d+\s*/\s*\d+)*[\s$.]*")
_LONGEST = 2000  # characters of a gold in which alternatives are looked for


def alternatives(gold: str) -> tuple[str, ...]:
    """Return the answers of which each is right; a gold that is one answer is returned alone."""
    if (" or " not in gold and "or " not in gold) or len(gold) > _LONGEST:
        return (gold,)
    if match := _IN_BRACKETS.fullmatch(gold.strip()):
        return match[1].strip(), match[2].strip()
    pieces = [piece.strip() for piece in _OR.split(gold.strip())]
    if len(pieces) < 2 or not all(pieces):
        return (gold,)
    sides = [compact(piece).partition("=") for piece in pieces]
    conditions = all(equal and right for _, equal, right in sides) and len({left for left, _, _ in sides}) == len(sides)
    values = [number.parse(clean(piece)) for piece in pieces]
    same = all(values) and len({value.value for value in values if value}) == 1
    return tuple(pieces) if conditions or same else (gold,)


def fraction_blanks(gold: str, answer: str) -> bool:
    """Tell whether an answer has as fractions what the gold has as numerators and denominators, a line each.

    The blanks are `____/____ … ____/____`, the gold "9\\n19\\n5\\n9", and an answer says "9/19, 5/9".
    """
    lines = gold.split()
    if len(lines) < 2 or len(lines) % 2 or "\n" not in gold or not all(line.isdecimal() for line in lines):
        return False
    text = _LATEX_FRACTION.sub(r"\1/\2", answer)
    return _FRACTIONS.fullmatch(text) is not None and re.findall(r"\d+", text) == lines


def shortest(gold: str) -> str:
    """Return the shortest decimal of a gold that is a 32-bit float written with 64: 0.10000000149011612 is 0.1."""
    text = gold.strip()
    if not _LONG_DECIMAL.fullmatch(text) or abs(value := float(text)) > 1e30 or _narrow(value) != value:
        return gold
    return next((short for digits in range(1, 10) if _narrow(float(short := f"{value:.{digits}g}")) == value), gold)


def _narrow(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])
