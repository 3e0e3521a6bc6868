"""Find the options of a multiple-choice question that an answer names, by their letters, texts or values.

In: the options and the answer's text. Out: a set of option indices, empty if the answer names none. math-verify misses
most right answers of this kind: it rejects "The answer is (B)" for gold "B".
"""

import re
import string
from collections.abc import Callable, Iterable
from functools import lru_cache

from mmprm.grading import assertion, number
from mmprm.grading.clean import clean, compact, words
from mmprm.grading.stated_number import stated_number

_LETTERS = string.ascii_uppercase
_NONE: frozenset[int] = frozenset()
_INLINE = re.compile(r"(?:^|(?<=[\s(（;,$]))([A-J])\s*[.)）、:：．]\s*")
_BARE = re.compile(r"^[\[({]?\s*([A-Za-z])\s*[\])}]?\s*[.:]?$")
_LETTER = r"(?:[\[({]\s*[A-Ja-j]\s*[\])}]|[A-J](?![A-Za-z'′]))"
_SEP = r"\s*(?:,\s*and|,\s*or|,|/|&|、|和|或|\band\b|\bor\b)\s*"
_LIST = re.compile(rf"^(?i:options?\s+|choices?\s+|both\s+|either\s+)?({_LETTER}(?:{_SEP}{_LETTER})*)(.*)$", re.DOTALL)
_ENDS_IN_LIST = re.compile(rf"(?<![A-Za-z])({_LETTER}(?:{_SEP}{_LETTER})+)[\s.*$`}})\]]*$")
_REASON = re.compile(
    r"^\s+(?:because|since|as|for|due|which|with|and|is|was|has|by|if|when|or|unless|but|,|\()", re.IGNORECASE
)
_FORMULA_FOLLOWS = re.compile(r"^\s*(?:[=+*/^_<>≤≥~·×]|-\s*\w|\\(?:times|cdot|leq?|geq?|neq|in|to|circ)\b)")
_NAMED = re.compile(r"\b(?i:answer|option|choice)\s*(?i:is|:|would be)?\s*:?\s*[*$\s{]*\(?\s*([A-Z])\b(?!')")
_ENDS = re.compile(
    r"(?:\(\s*([A-J])\s*\)|(?i:\b(?:option|choice|answer|is|be|choose|select)|:)\s+([A-J])|[为是选]\s*([A-J]))[\s.。*$`})\]]*$"
)
_IS_RIGHT = re.compile(
    r"(?:^|[\s(])([A-J])\)?\s+(?:is|must\s+be|should\s+be)\s+(?:the\s+)?(?:\w+\s+)?(?:right|correct|wrong|incorrect|answer|one)\b"
)
_IT_IS = re.compile(
    r"^\s*(?:I\s+(?:mean|meant)\s+|make\s+(?:it|that)\s+|(?:it|that|this|(?:the|my)\s+(?:\w+\s+){0,2}(?:answer|one|option|choice))\s*"
    r"(?:is|was|['’]s|(?:should|must|would|has\s+to|ought\s+to)\s+(?:be|read|have\s+been))\s+)?"
    r"(?:(?:(?:most\s+)?(?:probably|likely)|definitely|clearly|certainly|surely|indeed|obviously|simply|still|then|therefore|thus|hence|perhaps|maybe|possibly)\b[\s,]*)?",
    re.IGNORECASE,
)
_LETTER_AND_VALUE = re.compile(
    r"^(?:option\s+|choice\s+)?[(\[]?(?P<letter>[A-J])[)\].:,]*\s+(?:(?:which\s+is|that\s+is|i\.e\.,?|is|=|:|namely|with)\s+)?(?P<value>.+)$",
    re.S,
)
_VALUE_AND_LETTER = re.compile(r"^(?P<value>[^()]+?)\s*,?\s*\((?:option\s+|choice\s+)?(?P<letter>[A-J])\)\W*$", re.S)
_POLAR = {"yes", "no", "true", "false"}
_ABOUT_QUESTION = re.compile(
    r"\b(?:question|problem|image|picture|figure|premise|prompt|request)\b[^.]*\b(?:not|n['’]t|invalid|unanswerable|unclear|missing|wrong|flawed|ambiguous|cannot|makes?\s+no)\b"
    r"|\b(?:cannot|can['’]t|unable\s+to|refuse\s+to|won['’]t)\s+(?:\w+\s+)?(?:answer|tell|say|help|determine|assist|comply)",
    re.IGNORECASE,
)
_CAPITAL = re.compile(
    r"(?<![\w'’])(?:A(?!\s+(?!(?:if|is|or|and|but|when|unless|as|for|would|could|may|might|not|because|was)\b)[a-z])|[B-HJ])(?![\w'’])"
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
    return read_options(options, answer).value or _NONE


def read_options(options: tuple[str, ...], answer: str) -> assertion.Reading[frozenset[int]]:
    """Read which options an answer asserts and denies; an option's own text may have any words ("B or C", "not X")."""
    text = clean(answer)
    if exact := _by_text(options, text) or _letter_and_text(options, text):
        return assertion.Reading(exact, frozenset())
    if _is_polar(options) and (exact := _by_first_words(options, text)) and not _ABOUT_QUESTION.search(answer):
        return assertion.Reading(exact, frozenset())  # what follows explains it: "no, it is not the larger one"
    reading = assertion.read(answer, lambda clause: _named(options, clause) or None, _anywhere(options))
    return reading._replace(value=None) if reading.value and _refuses(options, answer) else reading


def _named(options: tuple[str, ...], clause: str) -> frozenset[int]:
    count, text = len(options), _IT_IS.sub("", clean(clause))
    attempts: tuple[Callable[[], frozenset[int]], ...] = (
        lambda: _by_text(options, text),
        lambda: _by_letter(_BARE.match(text), count),
        lambda: _several(text, count),
        lambda: _by_first_words(options, text),
        lambda: _leading_letters(text, count),
        # `clean` may have removed the letter ("The answer is (B) because …"), so the rest reads the original answer.
        lambda: next(filter(None, (_indices(letter, count) for letter in reversed(_NAMED.findall(clause)))), _NONE),
        lambda: _in_brackets(clause, count),
        lambda: _by_mention(options, text),
        lambda: _by_number(options, stated_number(clause)),
    )
    return next(filter(None, (attempt() for attempt in attempts)), _NONE)


def read_letters(options: tuple[str, ...], sentence: str, last: bool = False) -> assertion.Reading[frozenset[int]]:
    """Read the options whose letters a sentence begins with; also ends with, if it is the `last` of a response."""
    return assertion.read(sentence, lambda clause: _by_letters(options, clause, last) or None, _anywhere(options))


def _anywhere(options: tuple[str, ...]) -> Callable[[str], frozenset[int] | None]:
    """Return a function that finds the options named anywhere in a clause: by its letters, else as in any other one."""

    def named(clause: str) -> frozenset[int] | None:
        letters = [letter for letter in _CAPITAL.findall(clause) if _indices(letter, len(options))]
        named_by_words = _NONE if _is_polar(options) else _named(options, clause)
        return _indices(letters, len(options)) or named_by_words or None

    return named


def is_letter(line: str) -> bool:
    """Tell whether a line is the letter of an option and nothing else."""
    return _BARE.match(clean(line)) is not None and line.strip(" *$.()").isupper()


def conflicting(options: tuple[str, ...], answer: str) -> frozenset[int]:
    """Return the two options of an answer that names the letter of one and the text or value of another: `(B) 30`."""
    text = assertion.without_reason(clean(answer))
    match = _LETTER_AND_VALUE.match(text) or _VALUE_AND_LETTER.match(text)
    if match is None or _by_text(options, text) or all(_BARE.match(option.strip()) for option in options):
        return _NONE
    letter, value = _indices(match["letter"], len(options)), _by_text(options, clean(match["value"]))
    return letter | value if letter and value and not letter & value else _NONE


def _letter_and_text(options: tuple[str, ...], text: str) -> frozenset[int]:
    """Return the option that an answer names by its letter and its own text, whatever words that has."""
    match = _LETTER_AND_VALUE.match(text)
    index = _LETTERS.find(match["letter"]) if match else -1
    return (
        frozenset((index,))
        if match and index < len(options) and words(match["value"]) == _forms(options[index])[0]
        else _NONE
    )


def _is_polar(options: tuple[str, ...]) -> bool:
    return {option.strip().casefold() for option in options} <= _POLAR


def _refuses(options: tuple[str, ...], answer: str) -> bool:
    """Tell whether a sentence about the question itself was read as yes or no."""
    return _is_polar(options) and _ABOUT_QUESTION.search(answer) is not None


def _by_letters(options: tuple[str, ...], clause: str, last: bool) -> frozenset[int]:
    count, bare = len(options), _IT_IS.sub("", clean(clause))
    if letter := _BARE.match(bare):
        return _by_text(options, bare) or _by_letter(letter, count)
    end = clause[-120:] if last else ""
    if letters := _ENDS_IN_LIST.search(end):
        return _leading_letters(letters[1], count)
    if indices := _by_letter(_ENDS.search(end) or _IS_RIGHT.search(clause), count):
        return indices
    leads = re.match(r"^(?:[\[({]\s*[A-J]\s*[\])}]|[A-J]\s*[.):])", bare)
    return (
        _leading_letters(bare, count)
        if leads or _SEVERAL.match(bare)
        else _in_brackets(clause, count)
        if last and assertion.denies(clause)
        else _NONE
    )


def yes_or_no(options: tuple[str, ...], conclusion: str, question: str) -> frozenset[int]:
    """Return yes or no, if these are the options and the conclusion repeats or denies what the question asks.

    `Is X less than Y?`: "X is not less" and "X is greater" are no, "X is less than Y" is yes.
    """
    order = [option.strip().casefold() for option in options]
    if sorted(order) != ["no", "yes"] or not question or _ABOUT_QUESTION.search(conclusion):
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
    """Return the right options: gold is an option's text (MathVista), its letter, both (`B. 20`), or several (ACD)."""
    exact = [index for index, option in enumerate(options) if option.strip() == gold.strip()]
    if len(exact) == 1:
        return frozenset(exact)
    text = clean(gold)
    by_letter = _by_letter(_BARE.match(text), len(options)) or _several(text, len(options))
    return by_letter or _by_text(options, text) or _letter_and_text(options, gold.strip())


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
    if letter and letter[1] in (option.strip() for option in options) and (named := _indices(letter[1], len(options))):
        return named  # `B` of the options B, C and "none": the letter that is shown before an option
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
    if assertion.denies(prose) or re.search(r"\bnone\b", prose):
        return _NONE
    mentioned = [
        (len(form), index, form)
        for index, option in enumerate(options)
        if _WORDY.match(form := _forms(option)[0]) and re.search(rf"(?<!\w){re.escape(form)}(?!\w)", prose)
    ]
    _, longest, text_of_longest = max(mentioned, default=(0, -1, ""))
    contained = all(form in text_of_longest for _, _, form in mentioned)
    return frozenset((longest,)) if mentioned and contained else _NONE
