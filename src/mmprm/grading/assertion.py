"""What a sentence asserts of the values that it names: says, denies, offers as an alternative, or merely mentions.

In: a sentence and a function that reads a value from a piece of text. Out: a `Reading`. Only a value that is said, not
taken back in the same sentence, and offered without another one beside it is the answer: "B, not A" says B; "not (B)",
"we can rule out B" and "(B) is wrong" deny it; "B or possibly C" and "if …, (A); otherwise (B)" leave it open.
"""

import re
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from mmprm.grading import cues

Value = TypeVar("Value")


class Reading(NamedTuple, Generic[Value]):
    """value: what the sentence says; None if it says nothing, or several values (`several`). denied: what is denied.

    taken_back: it says that what came before is wrong.
    """

    value: Value | None
    denied: frozenset[Value]
    several: bool = False
    taken_back: bool = False


def plain_claim(text: str) -> bool:
    """Tell whether the text has no word that denies, offers, corrects or mentions: most have none, and need no care."""
    bare = cues.HARMLESS.sub(" ", text)
    careful = cues.DENIES, cues.MENTIONS, cues.TAKES_BACK, cues.CORRECTS, cues.OTHERWISE, cues.OFFERS
    return not any(cue.search(bare) for cue in careful) and "~~" not in text and "cancel" not in text


def denies(text: str) -> bool:
    """Tell whether the text denies something."""
    return cues.DENIES.search(cues.HARMLESS.sub(" ", text)) is not None


def rejects(text: str) -> bool:
    """Tell whether the text says of something that it is wrong or not the answer."""
    return cues.REJECTS.search(text) is not None


def takes_back(sentence: str) -> bool:
    """Tell whether the sentence says that what came before it is wrong."""
    return cues.TAKES_BACK.search(sentence) is not None


def correction(sentence: str) -> re.Match[str] | None:
    """Return the words by which the sentence begins to correct what came before, such as "Sorry, "; None for others."""
    return cues.CORRECTS.match(sentence)


def without_reason(sentence: str) -> str:
    """Return the sentence up to its reason, whose values and negations are not the answer's."""
    sentence = cues.REASON_FIRST.sub("", sentence)
    head = cues.REASON.split(sentence, maxsplit=1)[0]
    return head if head.strip(" *$") else sentence


def read(
    sentence: str,
    value_in: Callable[[str], Value | None],
    any_in: Callable[[str], Value | None] | None = None,
    concludes: bool = False,
) -> Reading[Value]:
    """Read what a sentence says; `value_in` returns the value that a piece of text names, None for none.

    any_in: the same for a piece of which it is known that it denies or offers something. concludes: the sentence does
    not begin with the answer, so that what follows "so" counts.
    """
    any_in = any_in or value_in
    if plain_claim(sentence):
        return Reading(value_in(sentence), frozenset())
    text = cues.HARMLESS.sub(" ", without_reason(cues.STRUCK.sub(" ", sentence)))
    text = re.sub(r"\bif\s+not\b", "otherwise", text, flags=re.IGNORECASE)
    if corrections := list(
        cues.CORRECTS.finditer(text)
    ):  # what comes before is taken back, if the correction names a value
        last = text[corrections[-1].end() :]
        named = read(last, value_in, any_in, concludes) if last.strip() else Reading[Value](None, frozenset())
        if named.value is not None or named.several:
            return named
    if cues.OPEN.search(text):
        return Reading(None, frozenset(), several=value_in(text) is not None or any_in(text) is not None)
    return _weigh(text, value_in, any_in, concludes)


def _clauses(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the clauses of a sentence, and for each whether it begins with "so"."""
    start, concludes = 0, False
    for boundary in cues.BOUNDARY.finditer(text):
        if text[start : boundary.start()].strip():
            yield text[start : boundary.start()], concludes
        start, concludes = boundary.end(), cues.SO.search(boundary[0]) is not None
    if text[start:].strip():
        yield text[start:], concludes


def _weigh(
    text: str, value_in: Callable[[str], Value | None], any_in: Callable[[str], Value | None], concludes: bool
) -> Reading[Value]:
    """Read the clauses one after the other: the first value that is said, if no other clause speaks against it."""
    says: Value | None = None
    offered: set[Value] = set()
    denied: set[Value] = set()
    taken_back = False
    branches = cues.CONDITION.search(text) is not None and cues.OTHERWISE.search(text) is not None
    for clause, so in _clauses(text):
        if cues.TAKES_BACK.search(clause):
            taken_back, says = True, None
            continue
        says = None if so and concludes else says
        rivals = branches or cues.OFFERS.search(clause) is not None or cues.CLAIMS.search(clause) is not None
        if cues.DENIES.search(clause):
            value, aims = any_in(cues.DENIES.sub(" ", clause)), denied
        elif (value := value_in(clause)) is not None:
            aims = offered if says is None or (value != says and rivals) else set()
            if says is None and not cues.MENTIONS.search(clause):
                says, taken_back, aims = value, False, set()
        else:
            value, aims = any_in(cues.OFFERS.sub(" ", clause)) if rivals else None, offered
        if value is not None:
            aims.add(value)
    if says is not None and (says in denied or offered - {says}):
        return Reading(None, frozenset(denied), several=bool(offered), taken_back=taken_back)
    return Reading(says, frozenset(denied), several=says is None and len(offered) > 1, taken_back=taken_back)
