"""The grader of multiple-choice answers: which option does the answer name, by its letter, its text or its value?

In: the options and the answer's text. Out: a set of option indices (a question may have several right ones), empty
where the answer names none. math-verify misses most right answers of this kind: it says no to gold "B" and
"The answer is (B)".
"""

from __future__ import annotations

import re
import string
from functools import lru_cache

from mmprm.grading import number, prose
from mmprm.grading.clean import clean, compact, words

_LETTERS = string.ascii_uppercase
_INLINE = re.compile(r"(?:^|(?<=[\s(（;,$]))([A-J])\s*[.)）、:：．]\s*")
_BARE = re.compile(r"^[\[({]?\s*([A-Za-z])\s*[\])}]?\s*[.:]?$")
_ONE = r"(?:[\[({]\s*[A-Ja-j]\s*[\])}]|[A-J](?![A-Za-z'′]))"
_BETWEEN = r"\s*(?:,\s*and|,\s*or|,|/|&|、|和|或|\band\b|\bor\b)\s*"
_LIST = re.compile(rf"^(?:options?\s+|choices?\s+|both\s+|either\s+)?({_ONE}(?:{_BETWEEN}{_ONE})*)(.*)$", re.DOTALL)
_ENDS_IN_LIST = re.compile(rf"(?<![A-Za-z])({_ONE}(?:{_BETWEEN}{_ONE})+)[\s.*$`}})\]]*$")
_REASON = re.compile(r"^\s+(?:because|since|as|for|due|which|with|and|is|was|has|by|,|\()", re.IGNORECASE)
_GOES_ON = re.compile(r"^\s*(?:[=+*/^_<>≤≥~·×]|-\s*\w|\\(?:times|cdot|leq?|geq?|neq|in|to|circ)\b)")
_NAMED = re.compile(r"\b(?i:answer|option|choice)\s*(?i:is|:|would be)?\s*:?\s*[*$\s{]*\(?\s*([A-Z])\b(?!')")
_ENDS = re.compile(
    r"(?:\(\s*([A-J])\s*\)|(?i:\b(?:option|choice|answer|is|be|choose|select)|:)\s+([A-J]))[\s.*$`})\]]*$"
)
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
    if (letter := _BARE.match(text)) and all(_BARE.match(option.strip()) for option in options):
        # The options are letters themselves, maybe not in order: `(e)` is that option, `E` the fifth of them.
        same = [index for index, option in enumerate(options) if letter[1] in option]
        return same[0] if len(same) == 1 else _index(letter[1], len(options))
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
    count, text = len(options), clean(answer)
    bare = (lambda: _by_text(options, text), lambda: _letter(_BARE.match(text), count))
    lists = (lambda: _several(text, count), lambda: _one(_first_words(options, text)), lambda: _listed(count, text))
    # What was cleaned away may hold the letter ("The answer is (B) because …"), so look at the whole as well.
    inside = (
        lambda: next((i for found in _NAMED.findall(answer)[::-1] if (i := _index(found, count)) is not None), None),
        lambda: _in_brackets(answer, count),
        lambda: _by_mention(options, text),
        lambda: _by_value(options, answer),
    )
    found = next((indices for attempt in bare if (indices := _one(attempt()))), frozenset[int]())
    found = found or next((indices for attempt in lists if (indices := attempt())), frozenset[int]())
    return found or next((indices for attempt in inside if (indices := _one(attempt()))), frozenset[int]())


def _one(index: int | None) -> frozenset[int]:
    return frozenset() if index is None else frozenset((index,))


def _several(text: str, count: int) -> frozenset[int]:
    """The options of a bare list of letters, `ACD` or `A, C`; empty where one of them is no option."""
    letters = {_index(letter, count) for letter in re.findall(r"[A-J]", text)} if _SEVERAL.match(text) else {None}
    return frozenset() if None in letters else frozenset(index for index in letters if index is not None)


def _in_brackets(text: str, count: int) -> int | None:
    """The one option whose letter stands in brackets anywhere in the text."""
    found = {_index(letter, count) for letter in _PARENTHESISED.findall(text)} - {None}
    return found.pop() if len(found) == 1 else None


def _listed(count: int, text: str) -> frozenset[int]:
    """The letters that the text begins with: `B because …`, `(A) or (C)`, `A, B and D.`; not the A of `A square`."""
    bare = re.sub(r"\\(?:text|textbf|mathrm|mathbf|mbox|rm)\s*\{([^{}]*)\}", r"\1", text).strip("$ *")
    match = _LIST.match(bare)
    if match is None or _GOES_ON.match(match[2]):
        return frozenset()
    letters = [letter.upper() for letter in re.findall(r"(?<![A-Za-z])[A-Ja-j](?![A-Za-z])", match[1])]
    article = match[1] in ("A", "I") and re.match(r"\s+[A-Za-z]", match[2]) and not _REASON.match(match[2])
    indices = [_index(letter, count) for letter in letters]
    if article or None in indices:
        return frozenset()
    return frozenset(index for index in indices if index is not None)


def _first_words(options: tuple[str, ...], text: str) -> int | None:
    """The option whose words the text begins with, before a comma or full stop: `No, there are not fewer.`"""
    bare = words(text)
    found = [
        (len(form), index)
        for index, option in enumerate(options)
        if (form := _forms(option)[0]) and len(form) > 1 and re.match(rf"{re.escape(form)}\s*[,.;:!(]\s*(?!\d)", bare)
    ]
    return max(found)[1] if found else None


def _by_value(options: tuple[str, ...], text: str) -> int | None:
    """The one option that equals the number which the prose states."""
    stated = prose.stated(text)
    value = number.parse(clean(stated)) if stated else None
    if value is None:
        return None
    equal = [i for i, option in enumerate(options) if (other := _forms(option)[2]) and number.equal(other, value)]
    return equal[0] if len(equal) == 1 else None


def lettered(options: tuple[str, ...], text: str, last: bool = False) -> frozenset[int]:
    """The options whose letters a sentence begins with, or ends with where it is the `last` of a response."""
    count, bare = len(options), clean(text)
    if alone := _BARE.match(bare):
        return _one(_by_text(options, bare)) or _one(_letter(alone, count))
    if last and (listed := _ENDS_IN_LIST.search(text[-120:])):
        return _listed(count, listed[1])
    if last and (index := _letter(_ENDS.search(text[-120:]), count)) is not None:
        return frozenset((index,))
    led = re.match(r"^(?:[\[({]\s*[A-J]\s*[\])}]|[A-J]\s*[.):])", bare)
    return _listed(count, bare) if led or _SEVERAL.match(bare) else frozenset()


def polar(options: tuple[str, ...], text: str, question: str) -> frozenset[int]:
    """Yes or no, where these are the options and a conclusion says again, or denies, what was asked.

    `Is X less than Y?`: "X is not less" and "X is greater" are no, "X is less than Y" is yes.
    """
    order = [option.strip().casefold() for option in options]
    if sorted(order) != ["no", "yes"] or not question:
        return frozenset()
    said, asked = words(text), words(question)
    denied = re.search(r"\b(?:not|no|cannot|never|neither)\b|n't\b", said) is not None
    compared = [{kind for kind, form in _COMPARISONS.items() if re.search(form, side)} for side in (asked, said)]
    if all(compared) and not compared[0] & compared[1]:
        denied = not denied
    elif len(set(re.findall(r"\w{4,}", asked)) & set(re.findall(r"\w{4,}", said))) < 2:
        return frozenset()
    return frozenset((order.index("no" if denied else "yes"),))


_COMPARISONS = {
    "more": r"\b(?:more|greater|larger|bigger|higher)\b",
    "less": r"\b(?:less|fewer|smaller|lower)\b",
    "same": r"\b(?:same|equal)\b",
}


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
    return _several(text, len(options)) or _one(_by_text(options, text))
