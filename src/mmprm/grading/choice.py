"""Find the options of a multiple-choice question that an answer names, by their letters, texts or values.

In: the options and the answer's text. Out: a set of option indices, empty if the answer names none. math-verify misses
most right answers of this kind: it rejects "The answer is (B)" for gold "B".
"""

import re
import string
from collections.abc import Callable, Iterable
from functools import lru_cache

from mmprm.grading import number
from mmprm.grading.clean import clean, compact, words

_LETTERS = string.ascii_uppercase
_NONE: frozenset[int] = frozenset()
_INLINE = re.compile(r"(?:^|(?<=[\s(（;,$]))([A-J])\s*[.)）、:：．]\s*")
_BARE = re.compile(r"^[\[({]?\s*([A-Za-z])\s*[\])}]?\s*[.:]?$")
_LETTER = r"(?:[\[({]\s*[A-Ja-j]\s*[\])}]|[A-J](?![A-Za-z'′]))"
_SEP = r"\s*(?:,\s*and|,\s*or|,|/|&|、|和|或|\band\b|\bor\b)\s*"
_LIST = re.compile(rf"^(?:options?\s+|choices?\s+|both\s+|either\s+)?({_LETTER}(?:{_SEP}{_LETTER})*)(.*)$", re.DOTALL)
_ENDS_IN_LIST = re.compile(rf"(?<![A-Za-z])({_LETTER}(?:{_SEP}{_LETTER})+)[\s.*$`}})\]]*$")
_REASON = re.compile(r"^\s+(?:because|since|as|for|due|which|with|and|is|was|has|by|,|\()", re.IGNORECASE)
_FORMULA_FOLLOWS = re.compile(r"^\s*(?:[=+*/^_<>≤≥~·×]|-\s*\w|\\(?:times|cdot|leq?|geq?|neq|in|to|circ)\b)")
_NAMED = re.compile(r"\b(?i:answer|option|choice)\s*(?i:is|:|would be)?\s*:?\s*[*$\s{]*\(?\s*([A-Z])\b(?!')")
_ENDS = re.compile(
    r"(?:\(\s*([A-J])\s*\)|(?i:\b(?:option|choice|answer|is|be|choose|select)|:)\s+([A-J]))[\s.*$`})\]]*$"
)
_PARENTHESISED = re.compile(r"\(\s*([A-Z])\s*\)")
_WORDY = re.compile(r"^[^\\]*[^\W\d_]{2,}[^\\]*$")  # a word, no formula: √3 is part of many a wrong one
_SEVERAL = re.compile(r"^[({\[]?\s*[A-J](?:\s*(?:,|and|&|、|\s)\s*[A-J])*\s*[)}\]]?$|^[A-J]{2,10}$")
_RELATIONS = (r"\b(?:more|greater|larger|bigger|higher)\b", r"\b(?:less|fewer|smaller|lower)\b", r"\b(?:same|equal)\b")


def inline_options(question: str) -> tuple[str, ...]:
    """Return the options in the question's own text, `A. … B. … C. …`; empty unless at least A and B are there."""
    pieces = _INLINE.split(question)
    letters, texts = pieces[1::2], pieces[2::2]
    for start in range(len(letters) - 1, -1, -1):
        run = letters[start:]
        if len(run) >= 2 and run == list(_LETTERS[: len(run)]):
            return tuple(text.strip(" \n;,") for text in texts[start:])
    return ()


def named_options(options: tuple[str, ...], answer: str) -> frozenset[int]:
    """Return the options that an answer names; `options` may be mere letters if they are drawn in the picture."""
    count, text = len(options), clean(answer)
    attempts: tuple[Callable[[], frozenset[int]], ...] = (
        lambda: _by_text(options, text),
        lambda: _by_letter(_BARE.match(text), count),
        lambda: _several(text, count),
        lambda: _by_first_words(options, text),
        lambda: _leading_letters(text, count),
        # `clean` may have removed the letter ("The answer is (B) because …"), so the rest reads the original answer.
        lambda: next(filter(None, (_indices(letter, count) for letter in reversed(_NAMED.findall(answer)))), _NONE),
        lambda: _in_brackets(answer, count),
        lambda: _by_mention(options, text),
        lambda: _by_number(options, number.stated_number(answer)),
    )
    return next(filter(None, (attempt() for attempt in attempts)), _NONE)


def options_by_letter(options: tuple[str, ...], sentence: str, last: bool = False) -> frozenset[int]:
    """Return the options whose letters a sentence begins with; also ends with, if it is the `last` of a response."""
    count, bare = len(options), clean(sentence)
    if letter := _BARE.match(bare):
        return _by_text(options, bare) or _by_letter(letter, count)
    end = sentence[-120:] if last else ""
    if letters := _ENDS_IN_LIST.search(end):
        return _leading_letters(letters[1], count)
    if indices := _by_letter(_ENDS.search(end), count):
        return indices
    leads = re.match(r"^(?:[\[({]\s*[A-J]\s*[\])}]|[A-J]\s*[.):])", bare)
    return _leading_letters(bare, count) if leads or _SEVERAL.match(bare) else _NONE


def yes_or_no(options: tuple[str, ...], conclusion: str, question: str) -> frozenset[int]:
    """Return yes or no, if these are the options and the conclusion repeats or denies what the question asks.

    `Is X less than Y?`: "X is not less" and "X is greater" are no, "X is less than Y" is yes.
    """
    order = [option.strip().casefold() for option in options]
    if sorted(order) != ["no", "yes"] or not question:
        return _NONE
    stated, asked = words(conclusion), words(question)
    denied = re.search(r"\b(?:not|no|cannot|never|neither)\b|n't\b", stated) is not None
    compared = [{relation for relation in _RELATIONS if re.search(relation, side)} for side in (asked, stated)]
    if all(compared) and not compared[0] & compared[1]:
        denied = not denied
    elif len(set(re.findall(r"\w{4,}", asked)) & set(re.findall(r"\w{4,}", stated))) < 2:
        return _NONE
    return frozenset((order.index("no" if denied else "yes"),))


def gold_indices(options: tuple[str, ...], gold: str) -> frozenset[int]:
    """Return the right options: gold is an option's text (MathVista), a letter (MathVision) or several ("ACD")."""
    exact = [index for index, option in enumerate(options) if option.strip() == gold.strip()]
    if len(exact) == 1:
        return frozenset(exact)
    text = clean(gold)
    return _by_letter(_BARE.match(text), len(options)) or _several(text, len(options)) or _by_text(options, text)


def _indices(letters: Iterable[str], count: int) -> frozenset[int]:
    """Return the options of some letters; empty if one of the letters is no option."""
    indices = frozenset(_LETTERS.find(letter.upper()) for letter in letters)
    return indices if all(0 <= index < count for index in indices) else _NONE


def _by_letter(match: re.Match[str] | None, count: int) -> frozenset[int]:
    return _indices(next(filter(None, match.groups())), count) if match else _NONE


def _several(text: str, count: int) -> frozenset[int]:
    """Return the options of a bare list of letters, `ACD` or `A, C`."""
    return _indices(re.findall(r"[A-J]", text), count) if _SEVERAL.match(text) else _NONE


@lru_cache(maxsize=65536)
def _forms(option: str) -> tuple[str, str, number.Number | None]:
    return words(option), compact(option), number.parse(clean(option))


def _by_text(options: tuple[str, ...], text: str) -> frozenset[int]:
    """Return the one option whose text or value the answer is."""
    if not text.strip():
        return _NONE
    if (letter := _BARE.match(text)) and all(_BARE.match(option.strip()) for option in options):
        # The options are letters themselves, maybe not in order: `(e)` is that option, `E` the fifth of them.
        same = [index for index, option in enumerate(options) if letter[1] in option]
        return frozenset(same) if len(same) == 1 else _indices(letter[1], len(options))
    for form, text_form in enumerate((words(text), compact(text))):
        forms = [_forms(option)[form] for option in options]
        if text_form and text_form in forms:
            return frozenset((forms.index(text_form),))
    return _by_number(options, text)


def _by_number(options: tuple[str, ...], text: str | None) -> frozenset[int]:
    """Return the one option that equals the number in `text`."""
    value = number.parse(clean(text)) if text else None
    if value is None:
        return _NONE
    equal = [i for i, option in enumerate(options) if (other := _forms(option)[2]) and number.equal(other, value)]
    return frozenset(equal) if len(equal) == 1 else _NONE


def _by_first_words(options: tuple[str, ...], text: str) -> frozenset[int]:
    """Return the option whose words the text begins with, before a comma or full stop: `No, there are not fewer.`"""
    bare = words(text)
    matches = [
        (len(form), index)
        for index, option in enumerate(options)
        if (form := _forms(option)[0]) and len(form) > 1 and re.match(rf"{re.escape(form)}\s*[,.;:!(]\s*(?!\d)", bare)
    ]
    return frozenset((max(matches)[1],)) if matches else _NONE


def _leading_letters(text: str, count: int) -> frozenset[int]:
    """Return the options that the text begins with: `B because …`, `(A) or (C)`, `A, B and D.`; not `A square`."""
    bare = re.sub(r"\\(?:text|textbf|mathrm|mathbf|mbox|rm)\s*\{([^{}]*)\}", r"\1", text).strip("$ *")
    match = _LIST.match(bare)
    if match is None or _FORMULA_FOLLOWS.match(match[2]):
        return _NONE
    article = match[1] in ("A", "I") and re.match(r"\s+[A-Za-z]", match[2]) and not _REASON.match(match[2])
    return _NONE if article else _indices(re.findall(r"(?<![A-Za-z])[A-Ja-j](?![A-Za-z])", match[1]), count)


def _in_brackets(text: str, count: int) -> frozenset[int]:
    """Return the one option whose letter stands in brackets anywhere in the text."""
    indices = frozenset(index for letter in _PARENTHESISED.findall(text) for index in _indices(letter, count))
    return indices if len(indices) == 1 else _NONE


def _by_mention(options: tuple[str, ...], text: str) -> frozenset[int]:
    """Return the one option whose words the answer's prose contains; the longer one if it contains another."""
    prose = words(text)
    if re.search(r"\b(?:not|cannot|none|neither|no way)\b|n't", prose):
        return _NONE
    mentioned = [
        (len(form), index, form)
        for index, option in enumerate(options)
        if _WORDY.match(form := _forms(option)[0]) and re.search(rf"(?<!\w){re.escape(form)}(?!\w)", prose)
    ]
    _, longest, text_of_longest = max(mentioned, default=(0, -1, ""))
    contained = all(form in text_of_longest for _, _, form in mentioned)
    return frozenset((longest,)) if mentioned and contained else _NONE
