r"""Parse numbers as people write them: `1,000`, `-3/4`, `1 1/2`, `\frac{1}{2}`, `40 %`, `2.5 \text{ cm}`, `x = 5`.

In: cleaned text. Out: `Number`, or None unless all of the text is one number with its name and its unit. Values are
exact fractions: nothing depends on floating point.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from mmprm.grading import numerals, units
from mmprm.grading.benchmark_rules import EXACT, Closeness

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d*)?|\.\d+)"
_NUMBER = re.compile(
    rf"""^(?P<sign>[+-]?)\s*(?P<currency>[$€£¥]?)\s*(?P<sign2>-?)(?:
      (?P<whole>\d+)?\s*\\frac\s*(?:\{{\s*(?P<num>-?\d+)\s*\}}\s*\{{\s*(?P<den>-?\d+)\s*\}}|(?P<n1>\d)\s*(?P<d1>\d))
      |(?P<mixed>\d+)\s+(?P<mn>\d+)\s*/\s*(?P<md>\d+)
      |(?P<repeated>\d*\.\d*)\\(?:overline|dot|overdot)\s*\{{?\s*(?P<period>\d+)\s*\}}?
      |(?P<a>{_DIGITS})(?:\s*/\s*(?P<b>{_DIGITS})(?!\s*[/^]))?
       (?:[eE](?P<exp>[+-]?\d{{1,3}})|\s*(?:\\times|\\cdot|\*|x|×)\s*10\s*\^\s*\{{?\s*(?P<power>[+-]?\d{{1,3}})\s*\}}?)?
    )(?P<rest>.*)$""",
    re.VERBOSE | re.DOTALL,
)
_PERCENT = ("%", "percent", "per cent")
_CURRENCIES = {"$": "dollar", "€": "euro", "¥": "yuan", "£": "£"}
_WRAPPER = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|rm|operatorname|mathit)\s*\{([^{}]*)\}")
_ORDINAL = re.compile(r"(?<=\d)\s*\^?\s*\{?\s*(?:st|nd|rd|th)\s*\}?$")
# What may stand before "=": one unknown, an angle, a side, a value of a function, a trigonometric value, or words.
_SYMBOL = r"(?:[A-Za-z]|\\(?!sqrt|frac|pm|pi|infty|left|log|ln|lg)[A-Za-z]+(?![A-Za-z])|[α-ω])"
_SUBSCRIPT = r"(?:'|′|_\s*(?:\{[^{}=]{1,20}\}|\w))*"
_NAME = re.compile(
    rf"""^\s*(?P<name>(?:m?\s*(?:\\angle|∠|\\triangle|△)\s*)?(?:[A-Z]{{1,4}}\d?|{_SYMBOL}){_SUBSCRIPT}
        |{_SYMBOL}{_SUBSCRIPT}\s*\([^()=<>]{{1,12}}\)
        |(?:\\?(?:sin|cos|tan|cot)\s*)(?:\\angle|∠)?\s*(?:[A-Z]{{1,3}}|{_SYMBOL}|\d{{1,3}}\s*°)
        |\|[A-Z]{{2}}\||\\(?:overline|widehat|overarc)\s*\{{[A-Z]{{2,3}}\}}
        |(?P<words>(?=[A-Za-z ]*[A-Za-z]{{4}}|sum\b|age\b|the\b)[A-Za-z]+(?:\s+[A-Za-z]+){{0,6}}))
        \s*(?:=|≈|\\approx|\\thickapprox|:(?!\s*\d+\s*:))\s*""",
    re.VERBOSE,
)
_ABOUT = re.compile(r"^(?:≈|=|\\approx|approximately|about|around|exactly|roughly|约)\s*", re.IGNORECASE)
_SIGN_WORD = re.compile(r"^(?:negative|minus)\s+(?=[\d.]|[a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """A number. `decimals`: how many were written, None for a fraction; `name`: the symbol it is said to equal."""

    value: Fraction
    decimals: int | None
    unit: units.Measure = units.COUNT
    percent: bool = False
    name: str = ""


def plain(text: str) -> str:
    """Replace LaTeX spaces, units and signs by plain characters."""
    text = re.sub(r"\\(?:dfrac|tfrac)", r"\\frac", text)
    text = re.sub(r"\\number\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"(?<=\d)\\[,!](?=\d{3}(?!\d))", "", text.replace("{,}", ","))
    text = re.sub(r"\{\s*\}\s*(?=\^)", "", re.sub(r"\$(?!\s*-?[\d.])", " ", text))
    text = re.sub(r"\\[,;!: ]|~|\\quad|\\left(?![a-z])|\\right(?![a-z])", " ", text)
    text = re.sub(r"\s*\^\s*\{?\s*\\circ\s*\}?|\\circ(?![a-z])|\s*°", " ° ", _WRAPPER.sub(r" \1 ", text))
    return text.replace(r"\%", "%").replace(r"\$", "$").replace(r"\degree", " ° ").strip(" $.,;")


def split_name(text: str) -> tuple[str, str]:
    """Return (the symbol that the text names, "" for words or none; the text without it)."""
    if match := _NAME.match(text):
        return "" if match["words"] else re.sub(r"[\s{}\\]|^m(?=angle)", "", match["name"]), text[match.end() :]
    return "", text


def _value(match: re.Match[str]) -> tuple[Fraction, int | None] | None:
    part = match.groupdict()
    try:
        if part["mixed"]:
            value, decimals = Fraction(int(part["mixed"])) + Fraction(int(part["mn"]), int(part["md"])), None
        elif part["period"]:
            digits, period = part["repeated"], part["period"]
            unit = Fraction(1, 10 ** len(digits.partition(".")[2]))
            value, decimals = Fraction("0" + digits + "0") + unit * Fraction(int(period), 10 ** len(period) - 1), None
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
    if len(text) > 400:
        return None
    name, text = split_name(plain(text))
    while shorter := _ABOUT.match(text):
        text = text[shorter.end() :]
    sign = _SIGN_WORD.match(text)
    number = _parse_value(text[sign.end() :] if sign else text)
    if number is None:
        return None
    return replace(number, name=name, value=-number.value if sign else number.value)


def _parse_value(text: str) -> Number | None:
    if (spelled := numerals.NUMERAL.match(text)) and (value := numerals.value_of(spelled[0])) is not None:
        unit = units.measure(text[spelled.end() :]) if re.match(r"\W|$", text[spelled.end() :]) else None
        return None if unit is None else Number(value, 0, unit)
    match = _NUMBER.match(_ORDINAL.sub("", text))
    if match is None or (parsed := _value(match)) is None:
        return None
    value, decimals = parsed
    rest = match["rest"]
    if scale := numerals.SCALE.match(rest):
        value, rest = value * numerals.SCALES[next(filter(None, scale.groups())).casefold()], rest[scale.end() :]
        decimals = None if decimals else 0
    percent = rest.strip(" .,").casefold() in _PERCENT
    unit = units.COUNT if percent else units.measure(rest)
    if unit is None or (match["period"] and re.match(r"\s*[\\{\d]", rest)):
        return None
    if match["currency"]:
        unit = units.measure(f" {_CURRENCIES[match['currency']]}") or unit
    return Number(value, decimals, unit, percent)


def with_unit(value: Number, unit: str | None) -> Number:
    """Return the number in the unit that the problem states separately; a unit of its own stays."""
    if value.unit.kind or not unit:
        return value
    if unit.strip().casefold() in _PERCENT:
        return replace(value, percent=True)
    return replace(value, unit=units.measure(f" {plain(unit)}") or value.unit)


def equal(gold: Number, answer: Number, closeness: Closeness = EXACT, part: int = 0) -> bool:
    """Tell whether the values are equal in equal units: 1 m is 100 cm, and a missing unit fits any.

    An answer with more decimals than a decimal gold (or an exact fraction for a gold of two or more decimals) may round
    to it. For a fraction as gold, three correct decimals suffice. Integers are exact. `40 %` equals 40 and 0.4 if the
    other side has no percent sign. `closeness` is the benchmark's own rule, which applies in addition.
    """
    ratio = units.ratio(gold.unit, answer.unit)
    if ratio is None or (gold.name and answer.name and gold.name != answer.name):
        return False
    value = answer.value * ratio
    values = {value}
    if gold.percent != answer.percent:
        values.add(value / 100 if answer.percent else value * 100)
    if closeness.near(gold.value, value, part) or any(
        closeness.near(gold.value, other, part) and not closeness.truncate for other in values
    ):
        return True
    if any(other == gold.value for other in values):
        return True
    return not closeness.only and any(_rounds_to(gold, other, answer.decimals) for other in values)


def _rounds_to(gold: Number, value: Fraction, decimals: int | None) -> bool:
    if gold.decimals is None:
        return decimals is not None and decimals >= 3 and abs(value - gold.value) * 2 <= Fraction(1, 10**decimals)
    finer = gold.decimals >= 2 if decimals is None else decimals > gold.decimals >= 1
    return finer and abs(value - gold.value) * 2 <= Fraction(1, 10**gold.decimals)
