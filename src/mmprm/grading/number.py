r"""Numbers as people write them: `1,000`, `-3/4`, `1 1/2`, `\frac{1}{2}`, `40 %`, `2.5 \text{ cm}`, `x = 5`.

In: cleaned text. Out: `Number` or None. Values are exact fractions, so nothing depends on floating point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_UNITS = {
    alias: unit
    for unit, aliases in {
        "mm": "mm millimeter millimetre",
        "cm": "cm centimeter centimetre",
        "dm": "dm",
        "m": "m meter metre",
        "km": "km kilometer kilometre",
        "in": "in inch inche",
        "ft": "ft foot feet",
        "yd": "yd yard",
        "mi": "mi mile",
        "mg": "mg",
        "g": "g gram",
        "kg": "kg kilogram",
        "t": "t ton tonne",
        "lb": "lb pound",
        "oz": "oz ounce",
        "ml": "ml milliliter millilitre",
        "l": "l liter litre",
        "s": "s sec second",
        "min": "min minute",
        "h": "h hr hour",
        "degree": "degree deg °",
        "dollar": "dollar usd",
        "yuan": "yuan rmb",
        "euro": "euro eur",
    }.items()
    for alias in aliases.split()
}
# Words of three letters and more that follow a number and are not its unit.
_NOT_UNITS = re.compile(r"\b(?:sin|cos|tan|cot|log|sqrt|exp|pi|or|and|not|to|plus|minus|times|over|frac)\b|\\")
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d*)?|\.\d+)"
_NUMBER = re.compile(
    rf"""^(?P<sign>[+-]?)\s*(?P<currency>[$€£¥]?)\s*(?P<sign2>-?)(?:
      (?P<whole>\d+)?\s*\\frac\s*(?:\{{\s*(?P<num>-?\d+)\s*\}}\s*\{{\s*(?P<den>\d+)\s*\}}|(?P<n1>\d)\s*(?P<d1>\d))
      |(?P<mixed>\d+)\s+(?P<mn>\d+)\s*/\s*(?P<md>\d+)
      |(?P<a>{_DIGITS})(?:\s*/\s*(?P<b>{_DIGITS})(?!\s*[/^]))?
       (?:[eE](?P<exp>[+-]?\d{{1,3}})|\s*(?:\\times|\\cdot|\*|x|×)\s*10\s*\^\s*\{{?\s*(?P<power>[+-]?\d{{1,3}})\s*\}}?)?
    )(?P<rest>.*)$""",
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(
    r"^(?:[A-Za-z\\∠△][\w\\'{}∠△ ]{0,30}?\s*(?:=|≈|\\approx)|≈|\\approx|approximately|about|around|exactly)\s*", re.I
)


@dataclass(frozen=True)
class Number:
    """`decimals` is how many were written, None for a fraction; `unit` is None for none and for an unknown one."""

    value: Fraction
    decimals: int | None
    unit: str | None = None
    percent: bool = False


def _plain(text: str) -> str:
    """LaTeX's spaces, units and signs as plain characters."""
    text = re.sub(r"\\(?:dfrac|tfrac)", r"\\frac", text)
    text = re.sub(r"\\number\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\{,\}", ",", text)
    text = re.sub(r"\\[,;!: ]|~|\\quad|\\left|\\right", " ", text)
    text = re.sub(r"\\(?:text|textbf|mathrm|mbox|rm|operatorname)\s*\{([^{}]*)\}", r" \1 ", text)
    text = re.sub(r"\s*\^\s*\{?\s*\\circ\s*\}?|\s*°", " ° ", text)
    return text.replace(r"\%", "%").replace(r"\$", "$").strip(" $.,;")


def _unit(rest: str) -> tuple[bool, str | None]:
    """(is `rest` something that may follow a number?, the unit if it is a known one)."""
    text = rest.strip(" .,")
    if not text:
        return True, None
    base = re.sub(r"\s*(?:\^\s*\{?\s*([23])\s*\}?|([²³]))\s*$", "", text)
    power = "" if base == text else ("2" if re.search(r"[2²]", text[len(base) :]) else "3")
    name = base.strip().casefold()
    square = re.match(r"^(square|cubic|sq\.?|cu\.?)\s+", name)
    if square:
        power, name = ("2" if square[1].startswith("s") else "3"), name[square.end() :]
    known = _UNITS.get(name) or _UNITS.get(name.removesuffix("s"))
    if known:
        return True, known + power
    # Any words may be a unit ("cubes", "people per year"), but short ones are variables: 2x, 3ab.
    if re.fullmatch(r"[a-z][a-z /.'-]*", name) and len(name.split()[0]) >= 3 and not _NOT_UNITS.search(name):
        return True, None
    return False, None


def _value(match: re.Match[str]) -> tuple[Fraction, int | None] | None:
    part = match.groupdict()
    try:
        if part["mixed"]:
            value, decimals = Fraction(int(part["mixed"])) + Fraction(int(part["mn"]), int(part["md"])), None
        elif part["a"]:
            digits = part["a"].replace(",", "")
            value, decimals = Fraction(digits + "0" if digits.endswith(".") else digits), len(digits.partition(".")[2])
            if part["b"]:
                value, decimals = value / Fraction(part["b"].replace(",", "")), None
            power = int(part["exp"] or part["power"] or 0)
            if power:
                value, decimals = value * Fraction(10) ** power, None
        else:
            fraction = Fraction(int(part["num"] or part["n1"]), int(part["den"] or part["d1"]))
            value, decimals = Fraction(int(part["whole"] or 0)) + fraction, None
    except (ZeroDivisionError, ValueError):
        return None
    return (-value if (part["sign"] == "-") != (part["sign2"] == "-") else value), decimals


def parse(text: str) -> Number | None:
    """The number that the whole text is (a name before it and a unit behind it allowed), or None."""
    text = _plain(text)
    while shorter := _NAME.match(text):
        text = text[shorter.end() :]
    if text.casefold() in _WORDS:
        return Number(Fraction(_WORDS.index(text.casefold())), 0)
    match = _NUMBER.match(text)
    if match is None:
        return None
    found = _value(match)
    rest = match["rest"].strip()
    percent = rest.startswith("%") or rest.casefold() in ("percent", "per cent")
    allowed, unit = (rest in ("%", "percent", "per cent"), None) if percent else _unit(rest)
    if found is None or not allowed:
        return None
    unit = {"$": "dollar", "€": "euro"}.get(match["currency"], unit)
    return Number(found[0], found[1], unit, percent)


def parse_prose(text: str) -> Number | None:
    """The number of a sentence: what follows its last "is", "are", "equals" or "=", or the only number in it."""
    if number := parse(text):
        return number
    tail = re.split(r"\b(?:is|are|equals|has|have)\b|=|≈|\\approx", _plain(text))[-1]
    if tail.strip() and (number := parse(tail)):
        return number
    numerals = re.findall(rf"(?<![\w.])[+-]?{_DIGITS}(?:\s*%)?", text)
    if len(numerals) == 1 and len(text.split()) >= 3 and not re.search(r"[\\^*/+=]|\b(?:not|cannot|no)\b|n't", text):
        return parse(numerals[0])
    return None


def equal(gold: Number, answer: Number) -> bool:
    """Equal values in equal units (an unwritten unit fits any).

    Rounding: an answer with more decimals than a decimal gold (or an exact fraction for a gold of two decimals or more)
    may round to it; for a fraction as gold, three correct decimals will do. Integers are exact. `40 %` is 40 and 0.4
    where the other side has no percent sign.
    """
    if gold.unit and answer.unit and gold.unit != answer.unit:
        return False
    values = {answer.value}
    if gold.percent != answer.percent:
        values.add(answer.value / 100 if answer.percent else answer.value * 100)
    return any(_rounds_to(gold, value, answer.decimals) for value in values)


def _rounds_to(gold: Number, value: Fraction, decimals: int | None) -> bool:
    if value == gold.value:
        return True
    if gold.decimals is None:
        return decimals is not None and decimals >= 3 and abs(value - gold.value) * 2 <= Fraction(1, 10**decimals)
    finer = gold.decimals >= 2 if decimals is None else decimals > gold.decimals >= 1
    return finer and abs(value - gold.value) * 2 <= Fraction(1, 10**gold.decimals)
