"""Two other graders on the same rows, to compare ours with: math-verify alone, and MathVision's own rule.

In: a row as `mmprm grade` takes it. Out: right or not. Source of the second: MathVision's `evaluate.py` and
`utils.py`, in short: an answer behind "the answer is" or in the last box, a letter at an end of the response, then
equal texts or equal values at two decimals. MathVista's rule needs a language model for its extraction.
"""

from __future__ import annotations

import re
from typing import Any

from mmprm.data.problem import Problem
from mmprm.grading import rules
from mmprm.grading.choice import named_options

_FLAGS = ("the final answer is", "the answer is", "the correct answer is", "the answer should be")


def _gold(row: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    gold, choices = row["answer"], row.get("choices") or row.get("options") or []
    return ", ".join(map(str, gold)) if isinstance(gold, list) else str(gold), tuple(map(str, choices))


def math_verify_alone(row: dict[str, Any]) -> bool:
    """Grade the whole response by math-verify's own extraction, a choice by the letter of its option."""
    from math_verify import parse, verify

    gold, choices = _gold(row)
    if choices:
        right = rules.target_of(Problem("", "", "", gold, choices=choices, answer_type="choice")).right
        gold = chr(ord("A") + min(right)) if right else gold
    sides = parse(f"${gold}$", parsing_timeout=5), parse(row["response"] or "", parsing_timeout=5)
    return bool(verify(*sides, timeout_seconds=5))


def mathvision_rule(row: dict[str, Any]) -> bool:
    """Grade a response by the rule that MathVision publishes."""
    gold, choices = _gold(row)
    text = (row["response"] or "").strip()
    for letter in "ABCDE":
        ends = (f" {letter}.", f" ({letter}).", f" {letter}", f" ({letter})")
        if text.endswith(ends) or text.startswith((f"{letter}\n", f"({letter})\n")) or text == letter:
            text = letter
    if "oxed{" in text:
        text = text.split("oxed{")[-1].partition("\n")[0].rpartition("}")[0] or text
    else:
        for flag in _FLAGS:
            before, found, _ = text.lower().rpartition(flag)
            if found:
                text = text[len(before) + len(flag) :].split("\n")[0].split(". ")[0].strip()
                break
    text = re.sub(r"^\(([A-Ea-e])\)", r"\1", text.strip(" $.:*"))
    if choices and re.fullmatch(r"[A-E]", gold.strip()):
        named = text[:1].upper() == gold.strip() and (len(text) == 1 or not text[1].isalnum())
        return named or text.casefold() == choices["ABCDE".index(gold.strip())].casefold()
    if choices:
        return named_options(choices, text) == named_options(choices, gold)
    return _equal(gold.strip(" $."), text)


def _equal(gold: str, text: str) -> bool:
    if gold.replace(" ", "").casefold() == text.replace(" ", "").casefold():
        return True
    try:
        from latex2sympy2_extended import latex2sympy

        values = [float(latex2sympy(side).evalf()) for side in (gold, text)]
    except Exception:  # the published rule calls whatever it cannot read unequal
        return False
    return round(values[0], 2) == round(values[1], 2)
