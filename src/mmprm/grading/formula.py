r"""Bring a formula into one spelling, and parse it, all of it.

In: a text. Out: LaTeX, or a sympy object; None where any piece of the text is not understood, so that no part of an
answer is silently dropped. Decimals become exact fractions, and capitals stay capitals.
"""

import re
from functools import lru_cache
from typing import Any

from mmprm.grading.clean import clean

_FUNCTIONS = "arcsin arccos arctan sinh cosh tanh sin cos tan cot sec csc log ln lg exp sqrt pi alpha beta theta infty"
_PLAIN_FUNCTION = re.compile(r"(?<![\\A-Za-z])(" + "|".join(_FUNCTIONS.split()) + r")(?![A-Za-z])")
_WRAPPER = re.compile(
    r"\\(?:text|textbf|mathrm|mathbf|mathit|mbox|rm|operatorname|textit|boldsymbol)\s*\{\s*([^{}]*?)\s*\}"
)
_SYMBOLS = {
    "√": r"\sqrt",
    "∛": r"\sqrt[3]",
    "π": r"\pi ",
    "∞": r"\infty ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\neq ",
    "×": r"\times ",
    "·": r"\cdot ",
    "÷": r"\div ",
    "±": r"\pm ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∅": r"\emptyset ",
    "∈": r"\in ",
    "²": "^{2}",
    "³": "^{3}",
    "½": r"\frac{1}{2}",
    "θ": r"\theta ",
    "α": r"\alpha ",
    "β": r"\beta ",
    "°": "",
}
_DECIMAL = re.compile(r"(?<![\d.,])(\d*)\.(\d*)(?:\\(?:overline|dot|overdot)\s*\{?\s*(\d+)\s*\}?)?(?![\d.])")
# What is certain to take the parser or sympy for ever: towers of powers, huge exponents and factorials.
_TOWER = re.compile(r"(\d*)((?:\^-?\d+)+)")
_HUGE_FACTORIAL = re.compile(r"\d{6,}\)?!|!\)?!")
_MOST_DIGITS = 100_000
_UNKNOWN = re.compile(
    r"\\(?:ldots|cdots|dots|vdots)|\.{2,}|…|[?#@&;~`\"]|\d\s+\d|\d\s*['′]|\\(?:text|because|therefore)\b|[\u2460-\u24ff\u4e00-\u9fff]"
)


def too_large(text: str) -> bool:
    """Tell whether nothing can compute a formula: a tower of powers, a factorial of a million."""
    bare = re.sub(r"\^[{(]*", "^", re.sub(r"\\left|\\right|\s|[−]", "", text))
    if _HUGE_FACTORIAL.search(bare):
        return True
    for match in _TOWER.finditer(bare):
        base, *exponents = [match[1] or "2", *(piece.lstrip("-") for piece in match[2].split("^")[1:])]
        height = 1
        for exponent in reversed(exponents):
            if len(exponent) > 6 or height * max(len(exponent), 1) > 20:
                return True
            height = int(exponent) ** height
            if height > _MOST_DIGITS:
                return True
        if height * len(base) > _MOST_DIGITS:
            return True
    return False


def normal(text: str) -> str:
    r"""Return one spelling of a formula: `\sqrt[3]2`, `pi/2`, `√3`, `4$\sqrt{3}$`, `2\mathrm{e}`, `0.\overline{3}`."""
    text = re.sub(r"(?<=\d)\\[,!](?=\d{3}(?!\d))", "", text)
    text = re.sub(r"\$|(?<!\\)\\[()\[\]]|\\(?:displaystyle|left|right|big|Big)(?![a-z])|\\number\b", " ", clean(text))
    text = re.sub(r"(?<!\\)\\[,;!: ]|\\q?quad\b|\{,\}", lambda match: "," if match[0] == "{,}" else " ", text)
    while (bare := _WRAPPER.sub(_unwrapped, text)) != text:
        text = bare
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|\\degree\b", "", text)
    text = "".join(_SYMBOLS.get(character, character) for character in text)
    text = re.sub(r"\\(?:dfrac|tfrac|cfrac)", r"\\frac", text)
    text = re.sub(r"<=|\\(?:leqslant|leq)(?![a-z])|≦|⩽", r"\\le ", text)
    text = re.sub(r">=|\\(?:geqslant|geq)(?![a-z])|≧|⩾", r"\\ge ", text)
    text = re.sub(r"\\lt(?![a-z])", "<", re.sub(r"\\gt(?![a-z])", ">", text))
    text = re.sub(r"(?<=[A-Za-z])['′](?!_)", "_{9}", text)  # a name of its own, which the parser would drop
    text = _PLAIN_FUNCTION.sub(r"\\\1 ", text)
    text = re.sub(r"\\lg(?![a-z])", r"\\log_{10}", text)
    text = re.sub(r"(\\[A-Za-z]+)\s+(?=\{)", r"\1", re.sub(r"_\s*(\w)(?!\w)", r"_{\1}", text))
    text = _braced_fractions(text)
    text = re.sub(r"\\sqrt\s*(\[[^\]]*\])?\s*(\d+|[A-Za-z])", r"\\sqrt\1{\2}", text)
    text = _bracketed_roots(text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = _DECIMAL.sub(_fraction, text)
    return re.sub(r"\s+", " ", text.replace("{ }", "").replace("{}", "").replace("*", r"\cdot ")).strip(" .,")


def _unwrapped(match: re.Match[str]) -> str:
    inner: str = match[1]
    if len(inner) <= 1 or re.fullmatch(r"[\d.]+", inner):
        return inner
    return rf"\{inner} " if inner in _FUNCTIONS.split() else f" {inner} "


def _fraction(match: re.Match[str]) -> str:
    whole, decimals, period = match.groups()
    digits = int((whole or "0") + decimals) if whole or decimals else 0
    if period is None:
        return rf"\frac{{{digits}}}{{{10 ** len(decimals)}}}" if decimals else whole
    nines = 10 ** len(period) - 1
    return rf"\frac{{{digits * nines + int(period)}}}{{{nines * 10 ** len(decimals)}}}"


def _braced_fractions(text: str) -> str:
    r"""Put both arguments of each `\frac` into braces: `\frac12`, `\frac{\sqrt{3}}2`, `\frac1{x}`."""
    position = 0
    while (start := text.find(r"\frac", position)) >= 0:
        position = start + 5
        for _ in range(2):
            while text[position : position + 1] == " ":
                text = text[:position] + text[position + 1 :]
            if text[position : position + 1] == "{":
                depth, end = 1, position + 1
                while end < len(text) and depth:
                    depth += {"{": 1, "}": -1}.get(text[end], 0)
                    end += 1
                position = end
            elif text[position : position + 1].isalnum():
                text = f"{text[:position]}{{{text[position]}}}{text[position + 1 :]}"
                position += 3
        position = start + 5
    return text


def _bracketed_roots(text: str) -> str:
    r"""Turn `\sqrt(x+1)` into `\sqrt{x+1}`."""
    while match := re.search(r"\\sqrt\s*(\[[^\]]*\])?\s*\(", text):
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        if depth:
            break
        text = f"{text[: match.start()]}\\sqrt{match[1] or ''}{{{text[match.end() : end - 1]}}}{text[end:]}"
    return text


@lru_cache(maxsize=4096)
def parse(text: str) -> Any:
    """Return the sympy object of all of the text; None if any of it is not understood, or if it is `too_large`."""
    from latex2sympy2_extended import latex2sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig

    latex = normal(text)
    bare = re.sub(r"\\(?:begin|end)\{[a-z]+\}", "", latex)
    bare = bare if bare == latex else bare.replace("&", "")  # a matrix
    if not bare or too_large(bare) or _UNKNOWN.search(bare) or re.search(r"(?<![\\A-Za-z])[A-Za-z]{4,}", bare):
        return None
    config = ConversionConfig(lowercase_symbols=False)
    try:
        return latex2sympy(latex, is_real=None, normalization_config=None, conversion_config=config)
    except TimeoutError:
        raise
    except Exception:  # the parser raises bare Exceptions, and sympy whatever it likes
        return None
