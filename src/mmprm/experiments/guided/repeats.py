"""Steps that repeat earlier ones. In: a step, the steps before it. Out: whether it is a repeat.

A PRM of MC values judges the state that a step leads to, not what the step adds to it. A right step stays right when it
is repeated, while a new step may be wrong: a search that follows such a PRM alone fills its paths with repeats.
"""

import re
from collections.abc import Sequence

_TOKEN = re.compile(r"[^\W_]+|[^\w\s]|_")
_WORD = re.compile(r"[^\W\d_]+|[,.;:]")
_FRAME = 4  # words around a repeat, such as "so we get"


def repeats(step: str, before: Sequence[str]) -> bool:
    """Tell whether an earlier step contains the step, or the step is an earlier one with a few words around it.

    Case, spaces and punctuation at the ends do not count; numbers, names and signs do.
    """
    tokens = _tokens(step)
    return any(_within(tokens, other) is not None or _adds_nothing(tokens, other) for other in map(_tokens, before))


def _tokens(step: str) -> list[str]:
    tokens = _TOKEN.findall(step.casefold())
    while tokens and tokens[-1] in ".,;:":
        tokens.pop()
    return tokens


def _within(part: Sequence[str], whole: Sequence[str]) -> int | None:
    """Return where `part` begins in `whole`; None where it does not occur."""
    starts = range(len(whole) - len(part) + 1)
    return next((start for start in starts if whole[start : start + len(part)] == part), None)


def _adds_nothing(tokens: Sequence[str], other: Sequence[str]) -> bool:
    start = _within(other, tokens)
    if start is None or not other:
        return False
    around = [*tokens[:start], *tokens[start + len(other) :]]
    return len(around) <= _FRAME and all(_WORD.fullmatch(token) for token in around)
