r"""Units of measurement: a closed list, products and powers of them, and the words for what is counted.

In: the text behind a number. Out: a `Measure`, or None where the text may not stand behind a number: a variable, an
operation ("12 minus 5", "3 squared"), another number.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

# For each kind its base unit, and for each unit its size in the base unit and its names.
_TABLE = {
    "length": """0.001 mm millimeter millimetre 毫米|0.01 cm centimeter centimetre 厘米|0.1 dm decimeter decimetre 分米
        |1 m meter metre 米|1000 km kilometer kilometre 千米 公里|0.0254 in inch inche|0.3048 ft foot feet
        |0.9144 yd yard|1609.344 mi mile|0.000001 µm μm micrometer micrometre micron
        |0.000000001 nm nanometer nanometre""",
    "mass": """0.001 mg milligram 毫克|1 g gram gm 克|1000 kg kilogram kilo 千克 公斤|1000000 t ton tonne 吨
        |453.59237 lb pound|28.349523125 oz ounce|500 斤""",
    "time": """1 s sec second 秒|0.001 ms millisecond|60 min minute 分钟|3600 h hr hour 小时 时|86400 d day 天 日
        |604800 week wk 周|month 月|year yr 年""",
    "angle": "1 degree deg ° 度|1/60 arcminute|180/3.14159265358979323846264338327950288 rad radian 弧度",
    "volume": "0.001 l liter litre 升|0.000001 ml milliliter millilitre 毫升 cc|0.003785411784 gal gallon",
    "area": "10000 ha hectare 公顷|4046.8564224 acre|666.6666666667 亩",
    "dollar": "1 dollar usd $ buck|0.01 cent ¢",
    "yuan": "1 yuan rmb 元 ¥ cny|0.1 jiao 角",
    "euro": "1 euro eur €",
    "pound sterling": "1 £ gbp",
    "temperature": "1 celsius ℃|fahrenheit ℉|kelvin",
    "force": "1 newton N|1000 kN",
    "energy": "1 joule J|1000 kJ|cal calorie|kcal",
    "power": "1 watt W|1000 kW",
    "current": "1 ampere amp A|0.001 mA",
    "voltage": "1 volt V",
    "resistance": "1 ohm Ω",
    "pressure": "1 pascal Pa|1000 kPa|1000000 MPa",
    "frequency": "1 hertz Hz|1000 kHz|1000000 MHz",
}
_ABBREVIATIONS = {"mph": "mi/h", "kph": "km/h", "kmh": "km/h", "kmph": "km/h", "°c": "℃", "°f": "℉"}
_ABBREVIATED = re.compile(r"^\s*(?:mph|kph|kmp?h|°\s*[CF])\b", re.IGNORECASE)
_POWERS = {"²": 2, "³": 3, "2": 2, "3": 3, "平方": 2, "立方": 3}
# Words that are no unit and change what the number before them means, or name a second number.
_CHANGES = re.compile(
    r"""\b(?:minus|plus|times(?!\s+(?:more|as|the|larger|greater|higher|longer|bigger|smaller|less|fewer|that|in|per)\b)|over|divided|multiplied|added|subtracted|squared|cubed|factorial|percent\w*|per|root|power|least|most
        |raised|mod\w*|less|more|fewer|greater|higher|lower|larger|smaller|bigger|above|below|beyond|under|and|or|nor|to
        |not|no|but|if|unless|otherwise|else|when|is|are|was|were|isn|maybe|perhaps|possibly|probably|either|instead
        |rather|hundred|thousand|million|billion|trillion|dozen|score|half|halves|thirds?|quarters?|fourths?|fifths?
        |tenths?|hundredths?|double|twice|triple|thrice|sin|cos|tan|cot|sec|csc|log|ln|lg|sqrt|exp|pi|frac|wrong|incorrect
        |zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|versus|vs|until|through|between|except)\b
        |[或和到至与不减加乘除倍]""",
    re.VERBOSE | re.IGNORECASE,
)
_TERM = re.compile(
    r"""\s*(?P<op>/|·|\*|\\cdot|per\b|)\s*(?P<before>(?:square[ds]?|sq\.?|cubic|cu\.?)\s+|平方|立方|)
        (?P<name>[A-Za-zµμΩ]+|[°℃℉$€£¥¢]|[\u4e00-\u9fff]+)
        (?:\s*\^\s*\{?\s*(?P<power>-?[123])\s*\}?|(?P<small>[²³]))?""",
    re.VERBOSE,
)
_COUNTED = re.compile(r"[A-Za-z][A-Za-z-]*(?:['’]s)?(?:[ /,.]+[A-Za-z(][A-Za-z()'’-]*)*\.?|[\u4e00-\u9fff]{1,6}")


class Measure(NamedTuple):
    """What stands behind a number. size: in base units; kind: base units and their powers, empty for what is counted.

    loose: one small letter that touches the number, a unit (`5m`) or a variable (`3t`). counted: there are words, but
    no unit.
    """

    size: Fraction = Fraction(1)
    kind: tuple[tuple[str, int], ...] = ()
    loose: str = ""
    counted: bool = False


COUNT = Measure()


def _read_table() -> dict[str, tuple[Fraction, dict[str, int]]]:
    names: dict[str, tuple[Fraction, dict[str, int]]] = {}
    for kind, rows in _TABLE.items():
        base = {"volume": {"length": 3}, "area": {"length": 2}}.get(kind, {kind: 1})
        for row in rows.split("|"):
            first, *aliases = row.split()
            sized = first[0].isdigit()
            top, _, bottom = first.partition("/") if sized else ("1", "", "")
            size = Fraction(top) / Fraction(bottom or "1")
            # A unit without a fixed size ("month") is a kind of its own.
            entry = (size, base) if sized else (Fraction(1), {first: 1})
            names |= dict.fromkeys(aliases if sized else [first, *aliases], entry)
    return names


_NAMES = _read_table()


def _known(name: str) -> tuple[Fraction, dict[str, int]] | None:
    """Find a unit by its name; symbols of one or two letters are told apart by case, longer names are not."""
    if name in _NAMES:
        return _NAMES[name]
    small = name.casefold()
    if len(name) == 1:
        return _NAMES.get("l") if name == "L" else None
    for form in (small, small.removesuffix("s"), small.removesuffix("es")):
        if form in _NAMES and len(form) > 1:
            return _NAMES[form]
    return None


@lru_cache(maxsize=4096)
def measure(text: str) -> Measure | None:
    """Return what the text behind a number says; None if it may not stand there."""
    loose = re.fullmatch(r"[a-z]", text)
    bare = text.strip(" .,;")
    if not bare:
        return COUNT
    unit, rest = _unit(bare)
    if unit is not None and (not rest or _is_counted(rest)):
        return unit._replace(loose=bare) if loose else unit
    touches = re.match(r"[A-Za-z]", text) and not (len(bare) > 3 and re.fullmatch(r"[A-Za-z]+", bare))
    if touches or not _is_counted(bare):
        return None
    return COUNT._replace(
        counted=re.match(r"(?:(?:square|sq\.?|cubic)\s+)?(?:units?|in\b|of\b|at\b|on\b)", bare) is None
    )


def _is_counted(text: str) -> bool:
    """Tell whether words name what is counted ("cubes", "people in the room") and change nothing about the number."""
    bare = text.strip(" .,;")
    first = re.match(r"[A-Za-z]+", bare)
    if first and len(first[0]) < 3 and first[0].casefold() not in ("in", "of", "at", "on", "by"):
        return False  # 2 x, 3 ab
    if first and len(first[0]) < 5 and not re.search(r"[aeiou]", first[0], re.IGNORECASE):
        return False  # 2 xyz
    return _COUNTED.fullmatch(bare) is not None and _CHANGES.search(bare) is None


def _unit(text: str) -> tuple[Measure | None, str]:
    """Read as many units as the text begins with: (their product, the rest of the text)."""
    size, kind, position = Fraction(1), {}, 0  # type: tuple[Fraction, dict[str, int], int]
    text = _ABBREVIATED.sub(lambda match: _ABBREVIATIONS[re.sub(r"\s", "", match[0]).casefold()], text)
    while match := _TERM.match(text, position):
        found = _known(match["name"])
        if found is None or (bool(match["op"]) if position == 0 else not match["op"] and len(match["name"]) > 2):
            break
        power = int(match["power"] or _POWERS.get(match["small"] or "", 0) or _prefix(match["before"]))
        sign = -power if match["op"] in ("/", "per") else power
        size *= found[0] ** sign
        for base, exponent in found[1].items():
            kind[base] = kind.get(base, 0) + exponent * sign
        position = match.end()
    if not position:
        return None, text
    if re.match(r"\s*(?:/|per\b)", text[position:]):  # per something that is counted: "5 dollars per book"
        position = len(text) if _COUNTED.fullmatch(re.sub(r"^\s*(?:/|per)\s*", "", text[position:])) else position
    return Measure(size, tuple(sorted(item for item in kind.items() if item[1]))), text[position:]


def _prefix(before: str) -> int:
    return 2 if before[:2] in ("sq", "平方") else 3 if before[:2] in ("cu", "立方") else 1


def ratio(gold: Measure, answer: Measure) -> Fraction | None:
    """Return by what the answer's value is multiplied to be in the gold's unit; None if they measure different things.

    A missing unit fits any, unless the other side is a letter that may be a variable.
    """
    if gold.loose != answer.loose and not (gold.kind == answer.kind and gold.size == answer.size):
        return None
    if not gold.kind or not answer.kind:
        return (
            None if (gold.kind and answer.counted) or (answer.kind and gold.counted) else Fraction(1)
        )  # 5 apples, 5 m
    return answer.size / gold.size if gold.kind == answer.kind else None
