"""The grader of multiple-choice answers: which option does the answer name, by its letter, its text or its value?

In: the options and the answer's text. Out: a set of option indices (a question may have several right ones), empty
where the answer names none. math-verify misses most right answers of this kind: it says no to gold "B" and
"The answer is (B)".
"""

from __future__ import annotations

import re
import string
from functools import lru_cache

from mmprm.grading import number
from mmprm.grading.clean import clean, compact, words

_LETTERS = string.ascii_uppercase
_INLINE = re.compile(r"(?:^|(?<=[\s(（;,$]))([A-J])\s*[.)）、:：．]\s*")
_BARE = re.compile(r"^[\[({]?\s*([A-Za-z])\s*[\])}]?\s*[.:]?$")
_LED = re.compile(r"^(?:\(\s*([A-Za-z])\s*\)|\[([A-Z])\]|([A-Z])\s*[.):,]|([A-Z])\s+(?=[\\$\d(]))\s*(?=\S)")
_NAMED = re.compile(r"\b(?:answer|option|choice)\s*(?:is|:|would be)?\s*:?\s*[*$\s{]*\(?\s*([A-Z])\b(?!')", re.I)
_PARENTHESISED = re.compile(r"\(\s*([A-Z])\s*\)")
_WORDY = re.compile(r"^[^\\]*[^\W\d_]{2,}[^\\]*$")  # a word, no formula: √3 is part of many a wrong one
_SEVERAL = re.compile(r"^[({\[]?\s*[A-J](?:\s*(?:,|and|&|、|\s)\s*[A-J])*\s*[)}\]]?$|^[A-J]{2,10}$")


def inline_options(question: str) -> tuple[str, ...]:
    """The options in the question's own text, `A. … B. … C. …`; empty unless at least A and B follow on."""
    pieces = _INLINE.split(question)
    letters, texts = pieces[1::2], pieces[2::2]
    for start in range(len(letters) - 1, -1, -1):
        found = letters[start:]
        if len(found) >= 2 and found == list(_LETTERS[: len(found)]):
            return tuple(text.strip(" \n;,") for text in texts[start:])
    return ()


def _index(letter: str, count: int) -> int | None:
    index = _LETTERS.find(letter.upper())
    return index if 0 <= index < count else None


@lru_cache(maxsize=65536)
def _forms(option: str) -> tuple[str, str, number.Number | None]:
    return words(option), compact(option), number.parse(clean(option))


def _by_text(options: tuple[str, ...], text: str) -> int | None:
    """The one option whose text or value the answer is."""
    if not text.strip():
        return None
    for form in (0, 1):
        wanted = (words, compact)[form](text)
        found = [index for index, option in enumerate(options) if wanted and _forms(option)[form] == wanted]
        if found:
            return found[0]
    value = number.parse(clean(text))
    if value is None:
        return None
    equal = [i for i, option in enumerate(options) if (other := _forms(option)[2]) and number.equal(other, value)]
    return equal[0] if len(equal) == 1 else None


def _by_mention(options: tuple[str, ...], text: str) -> int | None:
    """The one option whose words the answer's prose contains; the longer one where one is part of another."""
    prose = words(text)
    if re.search(r"\b(?:not|cannot|none|neither|no way)\b|n't", prose):
        return None
    found = [
        (len(form), index)
        for index, option in enumerate(options)
        if _WORDY.match(form := _forms(option)[0]) and re.search(rf"(?<!\w){re.escape(form)}(?!\w)", prose)
    ]
    longest = max(found, default=(0, -1))
    inside = _forms(options[longest[1]])[0] if found else ""
    return longest[1] if found and all(_forms(options[index])[0] in inside for _, index in found) else None


def named(options: tuple[str, ...], answer: str) -> frozenset[int]:
    """The options that an answer names; `options` may be mere letters where they are drawn in the picture."""
    count = len(options)
    text = clean(answer)
    for attempt in (_by_text(options, text), _letter(_BARE.match(text), count)):
        if attempt is not None:
            return frozenset((attempt,))
    if _SEVERAL.match(text):
        letters = {_index(letter, count) for letter in re.findall(r"[A-J]", text)}
        if None not in letters:
            return frozenset(index for index in letters if index is not None)
    # What was cleaned away may hold the letter ("The answer is (B) because …"), so look at the whole as well.
    for found in (_LED.match(text), *reversed(list(_NAMED.finditer(answer)))):
        if (index := _letter(found, count)) is not None:
            return frozenset((index,))
    in_brackets = {_index(letter, count) for letter in _PARENTHESISED.findall(answer)} - {None}
    if len(in_brackets) == 1:
        return frozenset(index for index in in_brackets if index is not None)
    mentioned = _by_mention(options, text)
    return frozenset() if mentioned is None else frozenset((mentioned,))


def _letter(match: re.Match[str] | None, count: int) -> int | None:
    return _index(next(filter(None, match.groups())), count) if match else None


def gold_indices(options: tuple[str, ...], gold: str) -> frozenset[int]:
    """The right options: the gold answer is an option's text (MathVista), a letter (MathVision) or several ("ACD")."""
    exact = [index for index, option in enumerate(options) if option.strip() == gold.strip()]
    if len(exact) == 1:
        return frozenset(exact)
    text = clean(gold)
    if (index := _letter(_BARE.match(text), len(options))) is not None:
        return frozenset((index,))
    if _SEVERAL.match(text):
        letters = {_index(letter, len(options)) for letter in re.findall(r"[A-J]", text)}
        if None not in letters:
            return frozenset(index for index in letters if index is not None)
    value = _by_text(options, text)
    return frozenset() if value is None else frozenset((value,))
