"""Numbers in English words: `twenty-five`, `one hundred and five`, `12 million`. In: text. Out: exact fractions."""

import re
from fractions import Fraction

_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {word: value for value, word in enumerate(_SMALL)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}
SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 1_000,
    "million": 1_000_000,
    "billion": 10**9,
    "trillion": 10**12,
    "k": 1_000,
    "万": 10_000,
    "亿": 10**8,
    "打": 12,
}
_WORD = "|".join(sorted((*_VALUES, *(name for name in SCALES if len(name) > 2)), key=len, reverse=True))
NUMERAL = re.compile(
    rf"(?:an?\s+(?=(?:dozen|hundred|thousand|million|billion)\b))?(?:{_WORD})\b(?:(?:\s+and\s+|\s*-\s*|\s+)(?:{_WORD})\b)*",
    re.IGNORECASE,
)
SCALE = re.compile(r"\s*(?:\b(dozen|hundred|thousand|million|billion|trillion)s?\b|(k)\b|([万亿打]))", re.IGNORECASE)


def value_of(words: str) -> Fraction | None:
    """Return the number that some words are; None if they are no number, such as `three five`."""
    total, group, last = 0, 0, 10**15
    seen = False
    for word in re.findall(r"[a-z]+", words.casefold()):
        if word in ("and", "a", "an"):
            continue
        seen = True
        if word in _VALUES:
            value = _VALUES[word]
            if value >= last or (value == 0 and last < 10**15):  # digits that follow each other are several numbers
                return None
            group, last = group + value, (10 if value >= 20 else 1)
        elif word in SCALES:
            scale = SCALES[word]
            group = max(group, 1) * scale
            last = min(scale, 10**15)
            if scale >= 1_000:
                total, group = total + group, 0
        else:
            return None
    return Fraction(total + group) if seen else None
