r"""Numbers as people write them: `1,000`, `-3/4`, `1 1/2`, `\frac{1}{2}`, `40 %`, `2.5 \text{ cm}`, `x = 5`.

In: cleaned text. Out: `Number` or None. Values are exact fractions, so nothing depends on floating point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from mmprm.grading.closeness import EXACT, Closeness

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
# Of each unit its kind, how many of the kind's first unit it is, and its names.
_SCALES = {
    "mm": ("length", "0.001", "mm millimeter millimetre 毫米"),
    "cm": ("length", "0.01", "cm centimeter centimetre 厘米"),
    "dm": ("length", "0.1", "dm decimeter decimetre 分米"),
    "m": ("length", "1", "m meter metre 米"),
    "km": ("length", "1000", "km kilometer kilometre 千米 公里"),
    "in": ("length", "0.0254", "in inch inche"),
    "ft": ("length", "0.3048", "ft foot feet"),
    "yd": ("length", "0.9144", "yd yard"),
    "mi": ("length", "1609.344", "mi mile"),
    "mg": ("mass", "0.001", "mg milligram 毫克"),
    "g": ("mass", "1", "g gram 克"),
    "kg": ("mass", "1000", "kg kilogram 千克 公斤"),
    "t": ("mass", "1000000", "t ton tonne 吨"),
    "lb": ("mass", "453.59237", "lb pound"),
    "oz": ("mass", "28.349523125", "oz ounce"),
    "ml": ("volume", "0.001", "ml milliliter millilitre 毫升"),
    "l": ("volume", "1", "l liter litre 升"),
    "s": ("time", "1", "s sec second 秒"),
    "min": ("time", "60", "min minute 分钟"),
    "h": ("time", "3600", "h hr hour 小时"),
    "degree": ("angle", "1", "degree deg ° 度"),
    "dollar": ("dollars", "1", "dollar usd"),
    "yuan": ("yuan", "1", "yuan rmb 元"),
    "euro": ("euros", "1", "euro eur"),
}
_UNITS = {alias: unit for unit, (_, _, aliases) in _SCALES.items() for alias in aliases.split()}
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
_PERCENT = ("%", "percent", "per cent")
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
    square = re.match(r"^(?:(square|sq\.?)\s+|(cubic|cu\.?)\s+|(平方)|(立方))", name)
    if square:
        power, name = ("2" if square[1] or square[3] else "3"), name[square.end() :]
    known = _UNITS.get(name) or _UNITS.get(name.removesuffix("s"))
    if known:
        return True, known + power
    if re.fullmatch(r"[\u4e00-\u9fff]{1,4}", name) and not re.search("[或和到至或与不]", name):
        return True, None
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
    percent = rest.startswith("%") or rest.casefold() in _PERCENT
    allowed, unit = (rest.casefold() in _PERCENT, None) if percent else _unit(rest)
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


def with_unit(value: Number, unit: str | None) -> Number:
    """The number in the unit that the problem states apart from it; one that it names itself stays."""
    if value.unit or not unit:
        return value
    if unit.strip().casefold() in _PERCENT:
        return replace(value, percent=True)
    return replace(value, unit=_unit(_plain(unit))[1])


def converted(gold: Number, answer: Number) -> Number | None:
    """The answer in the unit of the gold; None where these measure different things (an unwritten unit fits any)."""
    if not (gold.unit and answer.unit) or gold.unit == answer.unit:
        return answer
    (kind, scale, power), (other, factor, other_power) = _scale(gold.unit), _scale(answer.unit)
    if (kind, power) != (other, other_power):
        return None
    return replace(answer, value=answer.value * (factor / scale) ** power, unit=gold.unit)


def _scale(unit: str) -> tuple[str, Fraction, int]:
    kind, scale, _ = _SCALES[unit.rstrip("23")]
    return kind, Fraction(scale), int(unit[-1]) if unit[-1] in "23" else 1


def equal(gold: Number, answer: Number, closeness: Closeness = EXACT, part: int = 0) -> bool:
    """Equal values in equal units: 1 m is 100 cm, and an unwritten unit fits any.

    `closeness` is the benchmark's own rule for near values, which counts beside this project's:

    Rounding: an answer with more decimals than a decimal gold (or an exact fraction for a gold of two decimals or more)
    may round to it; for a fraction as gold, three correct decimals will do. Integers are exact. `40 %` is 40 and 0.4
    where the other side has no percent sign.
    """
    fitting = converted(gold, answer)
    if fitting is None:
        return False
    answer = fitting
    values = {answer.value}
    if gold.percent != answer.percent:
        values.add(answer.value / 100 if answer.percent else answer.value * 100)
    if any(closeness.near(gold.value, value, part) for value in values):
        return True
    return not closeness.only and any(_rounds_to(gold, value, answer.decimals) for value in values)


def _rounds_to(gold: Number, value: Fraction, decimals: int | None) -> bool:
    if value == gold.value:
        return True
    if gold.decimals is None:
        return decimals is not None and decimals >= 3 and abs(value - gold.value) * 2 <= Fraction(1, 10**decimals)
    finer = gold.decimals >= 2 if decimals is None else decimals > gold.decimals >= 1
    return finer and abs(value - gold.value) * 2 <= Fraction(1, 10**gold.decimals)
