"""Compare formulas within a time limit, inside a worker process, which survives it.

In: what `expression.compare` takes, and seconds. Out: its result, or OutOfTimeError. Sympy is stopped by an alarm, so
that no process must start again, which takes 4 to 13 s. Only what never returns to Python (powers of millions of
digits) needs the pool's harder limit, `GRACE` seconds later. Main threads only.
"""

import signal
from typing import Any

from mmprm.grading import expression
from mmprm.grading.benchmark_rules import Closeness

GRACE = 2.0
HURRIED = 0.25  # seconds for each formula, after the others of a file have lost all of its budget
_LOST = [0.0]  # seconds that this process lost to formulas that ended nowhere


class OutOfTimeError(TimeoutError):
    """The comparison was stopped; its process lives on."""


class _Alarm(BaseException):
    """Passes through the `except Exception` of sympy and math-verify."""


def _ring(*_: Any) -> None:
    raise _Alarm


def compare(gold: str, answer: str, closeness: Closeness, seconds: float, budget: float) -> bool | None:
    """Compare two formulas. budget: the seconds that this process may lose before it hurries. Raises OutOfTimeError."""
    limit = seconds if _LOST[0] < budget else min(seconds, HURRIED)
    try:
        return _within(limit, gold, answer, closeness)
    except _Alarm:
        _LOST[0] += limit
        raise OutOfTimeError from None


def _within(limit: float, gold: str, answer: str, closeness: Closeness) -> bool | None:
    previous = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        return expression.compare(gold, answer, closeness)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
