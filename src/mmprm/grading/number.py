r"""Parse numbers as people write them: `1,000`, `-3/4`, `1 1/2`, `\frac{1}{2}`, `40 %`, `2.5 \text{ cm}`, `x = 5`.

In: cleaned text or a sentence. Out: `Number` or None. Values are exact fractions: nothing depends on floating point.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from mmprm.grading.benchmark_rules import EXACT, Closeness
from mmprm.grading.clean import clean

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
# For each unit: what it measures, its size in the SI-like unit of that kind, and its names.
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
# Words of three or more letters that may follow a number and are not its unit.
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

# How a sentence states a number.
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


@dataclass(frozen=True)
class Number:
    """A number. `decimals`: how many were written, None for a fraction; `unit`: None also for an unknown unit."""

    value: Fraction
    decimals: int | None
    unit: str | None = None
    percent: bool = False


def _plain(text: str) -> str:
    """Replace LaTeX spaces, units and signs by plain characters."""
    text = re.sub(r"\\(?:dfrac|tfrac)", r"\\frac", text)
    text = re.sub(r"\\number\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\{,\}", ",", text)
    text = re.sub(r"\\[,;!: ]|~|\\quad|\\left|\\right", " ", text)
    text = re.sub(r"\\(?:text|textbf|mathrm|mbox|rm|operatorname)\s*\{([^{}]*)\}", r" \1 ", text)
    text = re.sub(r"\s*\^\s*\{?\s*\\circ\s*\}?|\s*°", " ° ", text)
    return text.replace(r"\%", "%").replace(r"\$", "$").strip(" $.,;")


def _unit(rest: str) -> tuple[bool, str | None]:
    """Return (whether `rest` may follow a number, its unit if that is a known one)."""
    text = rest.strip(" .,")
    if not text:
        return True, None
    base = re.sub(r"\s*(?:\^\s*\{?\s*([23])\s*\}?|([²³]))\s*$", "", text)
    power = "" if base == text else ("2" if re.search(r"[2²]", text[len(base) :]) else "3")
    name = base.strip().casefold()
    square = re.match(r"^(?:(square|sq\.?)\s+|(cubic|cu\.?)\s+|(平方)|(立方))", name)
    if square:
        power, name = ("2" if square[1] or square[3] else "3"), name[square.end() :]
    if known := _UNITS.get(name) or _UNITS.get(name.removesuffix("s")):
        return True, known + power
    chinese = re.fullmatch(r"[\u4e00-\u9fff]{1,4}", name) and not re.search("[或和到至与不]", name)
    # Any words may be a unit ("cubes", "people per year"), but short ones are variables: 2x, 3ab.
    words = re.fullmatch(r"[a-z][a-z /.'-]*", name) and len(name.split()[0]) >= 3 and not _NOT_UNITS.search(name)
    return bool(chinese or words), None


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
    """Return the number that the whole text is, possibly with a name before it and a unit behind it, or None."""
    text = _plain(text)
    while shorter := _NAME.match(text):
        text = text[shorter.end() :]
    if text.casefold() in _WORDS:
        return Number(Fraction(_WORDS.index(text.casefold())), 0)
    match = _NUMBER.match(text)
    if match is None or (parsed := _value(match)) is None:
        return None
    rest = match["rest"].strip()
    percent = rest.casefold() in _PERCENT
    allowed, unit = (True, None) if percent else _unit(rest)
    if not allowed:
        return None
    unit = {"$": "dollar", "€": "euro"}.get(match["currency"], unit)
    return Number(*parsed, unit, percent)


def parse_prose(text: str) -> Number | None:
    """Return the number of a sentence: what follows its last "is", "are", "equals" or "=", or the only number in it."""
    if number := parse(text):
        return number
    tail = re.split(r"\b(?:is|are|equals|has|have)\b|=|≈|\\approx", _plain(text))[-1]
    if tail.strip() and (number := parse(tail)):
        return number
    numerals = re.findall(rf"(?<![\w.])[+-]?{_DIGITS}(?:\s*%)?", text)
    if len(numerals) == 1 and len(text.split()) >= 3 and not re.search(r"[\\^*/+=]|\b(?:not|cannot|no)\b|n't", text):
        return parse(numerals[0])
    return None


def leading_number(text: str) -> str | None:
    """Return the number that the text begins with, if words follow and not the rest of a formula or of a list."""
    if parse(cleaned := clean(text)):
        return cleaned
    bare = _SKIP.sub("", text)
    if word := _WORD.match(bare):
        return None if re.match(r"one\s+of\b", bare, re.IGNORECASE) else word[0]
    if (match := _TOKEN.match(bare)) is None:
        return None
    rest = re.sub(r"^[\s*$`]+|^\\\)", " ", match["rest"])
    if _OPERATOR.match(rest) or _ANOTHER.match(rest) or re.match(r"^[.,]?\d", rest):
        return None
    token = match["token"].strip()
    # Only a known unit is kept: most words behind a number say what is counted.
    if (unit := _UNIT.match(rest)) and (measured := parse(token + unit[0])) and measured.unit:
        return token + unit[0]
    return token if parse(token) else None


def stated_number(sentence: str) -> str | None:
    """Return the number that the sentence states, as it is written there; None if it states none or several.

    A sentence states what is bold, else what follows its last "is", "are", "has", "=" and the like, else its only
    number: "So there are only 3 bars with values below 6." states 3.
    """
    if parse(cleaned := clean(sentence)):
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


def with_unit(value: Number, unit: str | None) -> Number:
    """Return the number in the unit that the problem states separately; a unit of its own stays."""
    if value.unit or not unit:
        return value
    if unit.strip().casefold() in _PERCENT:
        return replace(value, percent=True)
    return replace(value, unit=_unit(_plain(unit))[1])


def _converted(gold: Number, answer: Number) -> Number | None:
    """Convert the answer to the unit of the gold; None if they measure different things (a missing unit fits any)."""
    if not (gold.unit and answer.unit) or gold.unit == answer.unit:
        return answer
    (kind, size, _), (other_kind, other_size, _) = (_SCALES[unit.rstrip("23")] for unit in (gold.unit, answer.unit))
    power, other_power = (int(unit[-1]) if unit[-1] in "23" else 1 for unit in (gold.unit, answer.unit))
    if (kind, power) != (other_kind, other_power):
        return None
    return replace(answer, value=answer.value * (Fraction(other_size) / Fraction(size)) ** power, unit=gold.unit)


def equal(gold: Number, answer: Number, closeness: Closeness = EXACT, part: int = 0) -> bool:
    """Tell whether the values are equal in equal units: 1 m is 100 cm, and a missing unit fits any.

    An answer with more decimals than a decimal gold (or an exact fraction for a gold of two or more decimals) may round
    to it. For a fraction as gold, three correct decimals suffice. Integers are exact. `40 %` equals 40 and 0.4 if the
    other side has no percent sign. `closeness` is the benchmark's own rule, which applies in addition.
    """
    converted = _converted(gold, answer)
    if converted is None:
        return False
    values = {converted.value}
    if gold.percent != answer.percent:
        values.add(converted.value / 100 if answer.percent else converted.value * 100)
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
