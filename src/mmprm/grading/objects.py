"""Compare what formulas are: values, points, intervals, inequalities, equations. In: sympy objects. Out: bool."""

import re
from typing import Any
from zlib import crc32

from mmprm.grading import formula

DIGITS = 30  # to which values are computed
_SAME = 10**-18  # relative difference of values that are taken for equal


def same_value(gold: Any, answer: Any) -> bool:
    """Tell whether two formulas have the same values at points drawn beforehand, to many digits, relatively.

    At negative points only real values count: roots of them are written in several ways.
    """
    import sympy

    names = sorted(gold.free_symbols | answer.free_symbols, key=str)
    try:
        for sign, numerator in ((1, 137), (1, 53), (-1, 211)) if names else ((1, 1),):
            # A name has the same value in both forms, and no two names the same.
            point = {
                name: sympy.Rational(sign * (7 * numerator + crc32(str(name).encode()) % 977), 1000) for name in names
            }
            one, other = (form.subs(point).evalf(DIGITS) for form in (gold, answer))
            if sign < 0 and not (one.is_real and other.is_real):
                continue
            if not (one.is_number and other.is_number) or not _close(one, other):
                # Zero has no relative error.
                return 0 in (gold, answer) and bool(sympy.simplify(gold - answer) == 0)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return False
    return True


def _close(one: Any, other: Any) -> bool:
    if not (one.is_finite and other.is_finite):
        return bool(one == other) and str(one) not in ("nan", "zoo")
    return bool(abs(one - other) <= _SAME * max(abs(one), abs(other)))


def union(pieces: list[str]) -> Any:
    """Return the union of several inequalities ("x < 1 or x > 3"); None if they are none."""
    import sympy

    if len(pieces) < 2 or not all(
        re.search(r"[<>≤≥]|\\[lg]e(?:q|qslant)?(?![a-z])|\\[lg]t(?![a-z])", piece) for piece in pieces
    ):
        return None
    sets = [_as_set(formula.parse(piece)) for piece in pieces]
    return None if any(piece is None for piece in sets) else sympy.Union(*sets)


def _as_set(side: Any) -> Any:
    """Return the set of numbers that an interval or an inequality of one variable is; None for anything else."""
    import sympy
    from sympy.logic.boolalg import Boolean

    if isinstance(side, sympy.Set):
        return side
    if isinstance(side, sympy.Eq) and isinstance(side.rhs, sympy.Set) and side.lhs.is_Symbol:
        return side.rhs  # x ∈ (1, 3]
    if isinstance(side, sympy.Tuple) and len(side) == 2:
        return sympy.Interval.open(*side) if all(end.is_extended_real for end in side) and side[0] < side[1] else None
    if isinstance(side, Boolean) and not isinstance(side, sympy.Eq) and len(side.free_symbols) == 1:
        (name,) = side.free_symbols
        side = side.subs(name, sympy.Symbol("x", real=True))
        try:
            return sympy.And(*side.args).as_set() if side.func.__name__ == "And" else side.as_set()
        except (NotImplementedError, TypeError, ValueError):
            return None
    return None


def same_object(gold: Any, answer: Any) -> bool:
    """Compare points, intervals, inequalities, sets, matrices and equations with anything."""
    import math_verify
    import sympy
    from sympy.logic.boolalg import Boolean

    if isinstance(gold, sympy.Tuple) and isinstance(answer, sympy.Tuple):
        pairs = list(zip(gold, answer, strict=False))
        return len(gold) == len(answer) and all(
            same_value(*pair) if all(isinstance(side, sympy.Expr) for side in pair) else pair[0] == pair[1]
            for pair in pairs
        )
    relations = [isinstance(side, Boolean) and not isinstance(side, sympy.Eq) for side in (gold, answer)]
    if all(relations) and gold.free_symbols != answer.free_symbols:
        return False
    if any(
        isinstance(side, sympy.Expr) or (isinstance(side, sympy.Eq) and not isinstance(side.rhs, sympy.Set))
        for side in (gold, answer)
    ):
        return False  # a value, or an equation, and something else
    sets = _as_set(gold), _as_set(answer)
    if sets[0] is not None and sets[1] is not None:
        return bool(sets[0] == sets[1]) or _same_ends(*sets)
    return bool(math_verify.verify([gold], [answer], timeout_seconds=None, allow_set_relation_comp=True))


def _same_ends(gold: Any, answer: Any) -> bool:
    """Compare intervals, and unions of them, by their ends."""
    import sympy

    sides = [side.args if isinstance(side, sympy.Union) else (side,) for side in (gold, answer)]
    if len(sides[0]) != len(sides[1]) or not all(isinstance(piece, sympy.Interval) for piece in sides[0] + sides[1]):
        return False
    for one, other in zip(*(sorted(side, key=lambda piece: float(piece.inf)) for side in sides), strict=True):
        if (one.left_open, one.right_open) != (other.left_open, other.right_open):
            return False
        if not (same_value(one.start, other.start) and same_value(one.end, other.end)):
            return False
    return True


def same_equation(gold: Any, answer: Any) -> bool:
    """Tell whether two equations are the same up to a constant factor: `x + y = 1` and `2x + 2y = 2`.

    `f(x) = …` is `y = …`. Source: OlympiadBench's `equation_equal`, which accepts integer factors only.
    """
    import sympy

    def difference(equation: Any) -> Any:
        left = equation.lhs
        applied = getattr(left, "is_Function", False) and isinstance(left, sympy.core.function.AppliedUndef)
        return sympy.expand((sympy.Symbol("y") if applied else left) - equation.rhs)

    if not all(isinstance(end, sympy.Expr) for equation in (gold, answer) for end in equation.args):
        return bool(gold == answer)
    sides = [difference(equation) for equation in (gold, answer)]
    if sides[0] == 0 or sides[1] == 0 or sides[0].free_symbols != sides[1].free_symbols:
        return False
    ratio = sympy.simplify(sides[0] / sides[1])
    return bool(ratio.is_number and ratio != 0)
