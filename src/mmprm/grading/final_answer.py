r"""Read the final answer of a whole response, as the type that the problem asks for.

In: the response and the `Target`. Out: a `FinalAnswer`: its text for `rules.decide`, or None if there is no answer.
Explicit statements come before implied ones (see `statements`). Of equally explicit ones the last readable one counts,
because a model that corrects itself does so later in its text; a tag or a box counts even if it is not readable. What
a statement denies, or what is called wrong behind it, is no answer (see `assertion`).
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from mmprm.grading import assertion, choice, number
from mmprm.grading.clean import clean, find_boxes, named_statements, narrow, parts
from mmprm.grading.expression import MAX_CHARACTERS, is_formula
from mmprm.grading.rules import Target
from mmprm.grading.stated_number import leading_number, stated_number
from mmprm.grading.statements import (
    EVASION,
    AnswerStatement,
    adjacent_boxes,
    body,
    explicit_statements,
    implied_statements,
    sentences,
)

MARKED = ("tag", "box")
_IS = re.compile(r"\b(?:is|are|was|were|be|called|named)\b|是|为|叫")
_REASON = re.compile(r"\s*,?\s+(?:because|since)\b|,?\s*因为")
_LEADS_IN = re.compile(
    r"^\W*(?:so|thus|hence|therefore|then|we\s+(?:get|have|find)|it\s+follows\s+that)\b[\s,:]*(?:(?:it|this|that|which)\s+(?:is|equals|gives)\s+)?",
    re.IGNORECASE,
)
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
_INLINE = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_VALUE_AT_END = re.compile(r"(?:\b(?:is|are|be|equals?)\b|[=:]|是|为)\s*([^=:]{1,200}?)[\s.。]*$")
_NUMERAL = re.compile(r"(?<![\w.,^{])-?\d+(?:\.\d+)?(?![\w^])")
_FOLLOWING = 12  # sentences behind a statement that may take it back


@dataclass(frozen=True)
class FinalAnswer:
    """The answer that a response states.

    text: the answer; None if there is none to grade.
    how: where it was found (`AnswerStatement.how`); without an answer none, several, evasive, unfinished (its last box
        is cut off), withdrawn (it is called wrong) or nothing.
    options: for a multiple-choice question, the indices of the options that it names.
    """

    text: str | None
    how: str
    options: frozenset[int] = frozenset()


_NOTHING = FinalAnswer(None, "nothing")
_SEVERAL = FinalAnswer(None, "several")
_WITHDRAWN = FinalAnswer(None, "withdrawn")


def read_final_answer(target: Target, response: str | None, question: str = "") -> FinalAnswer:
    """Return the answer that a response states; `question` helps to read yes or no from a conclusion."""
    if response is None or not response.strip():
        return FinalAnswer(None, "none")
    text = narrow(body(response))  # the patterns of this module expect narrow characters
    boxes = find_boxes(text)
    if boxes and boxes[-1].open and not boxes[-1].content.strip(" {$"):
        return FinalAnswer(None, "unfinished")
    if not boxes and clean(text) == clean(target.gold) and target.kind in ("text", "expression"):
        return FinalAnswer(clean(text), "line")
    prose = sentences(text)
    answer = _marked_choice(target, text, prose) if target.kind == "choice" else _explicit_value(target, text)
    if answer is not None or not prose:
        return answer or _NOTHING
    return _implied(target, text, prose, question)


def _implied(target: Target, text: str, prose: list[str], question: str) -> FinalAnswer:
    """Return the answer of a response that marks none."""
    if target.kind == "expression" and (blanks := _lines_of_blanks(target, text)):
        return FinalAnswer(blanks, "line")
    if target.kind != "choice" and len(prose) == 1 and (value := _value_in(target, prose[0])) is not None:
        return FinalAnswer(value, "line")
    if any(map(EVASION.search, prose[-2:])):
        return FinalAnswer(None, "evasive")
    implied = (_implied_answer(target, statement, question) for statement in implied_statements(text))
    return next(filter(None, implied), _NOTHING)


def _lines_of_blanks(target: Target, text: str) -> str | None:
    """Return the response if it is nothing but a value for each blank, one a line."""
    lines = [line for line in map(clean, text.split("\n")) if line.strip()]
    return "\n".join(lines) if len(lines) == len(parts(target.gold)[0]) > 1 and all(map(_is_value, lines)) else None


def _implied_answer(target: Target, statement: AnswerStatement, question: str) -> FinalAnswer | None:
    if target.kind != "choice":
        value = _value_in(target, statement.text)
        return None if value is None else FinalAnswer(value, statement.how)
    options = choice.named_options(target.options, statement.text)
    options = options or choice.yes_or_no(target.options, statement.text, question)
    return FinalAnswer(statement.text, statement.how, options) if len(options) == len(target.right) else None


def _first_sentence(statement: AnswerStatement) -> str:
    """Return the first sentence of what follows "the answer is": the others explain it."""
    if statement.how in MARKED:
        return statement.text
    return next(iter(sentences(statement.text)), statement.text)


def _marked_choice(target: Target, text: str, prose: list[str]) -> FinalAnswer | None:
    """Return the options named by an explicit statement, or by a letter at an end of the last or first sentence."""
    explicit = explicit_statements(text)
    answer, denied = _explicit_choice(target, text, explicit)
    # A box that names no option may be a formula that equals one.
    if answer is None and (marked := next((statement for statement in explicit if statement.how in MARKED), None)):
        return FinalAnswer(marked.text, marked.how)
    return answer or _letter_at_an_end(target, text, prose, denied)


def _explicit_choice(
    target: Target, text: str, explicit: list[AnswerStatement]
) -> tuple[FinalAnswer | None, frozenset[int]]:
    """Return (what the last readable statement says, the options that are denied)."""
    denied: frozenset[int] = frozenset()
    for statement in explicit:
        sentence = _first_sentence(statement)
        if statement.how == "box" and (others := _other_boxes(target, text, statement)):
            return _unless_several(target, FinalAnswer(statement.text, "box", others)), denied
        reading = choice.read_options(target.options, sentence)
        if reading.several:
            return _SEVERAL, denied
        denied |= frozenset().union(*reading.denied)
        if reading.taken_back and reading.value is None and statement.how not in MARKED:
            return _WITHDRAWN, denied
        if options := reading.value:
            if options & denied or _taken_back(target, text, statement, options):
                return _WITHDRAWN, denied
            # A letter and a value of another option conflict; `rules.decide` says so.
            options = frozenset() if choice.conflicting(target.options, sentence) else options
            return _unless_several(target, FinalAnswer(sentence, statement.how, options)), denied
    return None, denied


def _letter_at_an_end(target: Target, text: str, prose: list[str], denied: frozenset[int]) -> FinalAnswer | None:
    lone = [line for line in text.split("\n") if choice.is_letter(line)]
    places = [(prose[-1], "line"), (prose[0], "lead"), *((line, "line") for line in lone[-1:])] if prose else []
    for sentence, how in places:
        reading = choice.read_letters(target.options, sentence, last=how == "line")
        if reading.several:
            return _SEVERAL
        if reading.value and not reading.value & denied:
            options = frozenset() if choice.conflicting(target.options, sentence) else reading.value
            return _unless_several(target, FinalAnswer(sentence, how, options))
        denied |= frozenset().union(*reading.denied)
    return _WITHDRAWN if denied else None


def _other_boxes(target: Target, text: str, statement: AnswerStatement) -> frozenset[int]:
    """Return the options of the boxes that stand side by side, if the statement is the last of them."""
    boxes = adjacent_boxes(text)
    if len(boxes) < 2 or boxes[-1].end != statement.end:
        return frozenset()
    return frozenset().union(*(choice.named_options(target.options, box.content) for box in boxes))


def _taken_back(target: Target, text: str, statement: AnswerStatement, options: frozenset[int]) -> bool:
    """Tell whether a sentence behind the statement says that it is wrong."""
    for sentence in _rejections(text, statement):
        reading = choice.read_letters(target.options, sentence, last=True)
        if reading.taken_back or any(options & denied for denied in reading.denied):
            return True
    return False


def _rejections(text: str, statement: AnswerStatement) -> list[str]:
    """Return the sentences behind a statement which say that something is wrong, and are no explicit statements."""
    if statement.how == "tag":
        return []
    line = text[statement.end :]
    skip = 0 if statement.how in (*MARKED, "chosen") else 1  # the statement's own sentence
    return [sentence for sentence in sentences(line)[skip : _FOLLOWING + skip] if assertion.rejects(sentence)]


def _unless_several(target: Target, answer: FinalAnswer) -> FinalAnswer:
    """Return the answer, unless it names several options where only one can be right."""
    return _SEVERAL if len(answer.options) > len(target.right) == 1 else answer


def _explicit_value(target: Target, text: str) -> FinalAnswer | None:
    count = len(parts(target.gold)[0]) if target.kind == "expression" else 1
    boxes = [box for box in find_boxes(text) if box.content.strip()]
    if count > 1 and len(boxes) == count and all(len(parts(box.content)[0]) == 1 for box in boxes):
        return FinalAnswer("\n".join(box.content for box in boxes), "box")  # a box for each blank
    denied: set[str] = set()
    for statement in explicit_statements(text):
        if statement.how in MARKED:
            beside = adjacent_boxes(text) if statement.how == "box" and count == 1 else []
            last = bool(beside) and beside[-1].end == statement.end
            several = last and any(not _same(*pair) for pair in pairwise(box.content for box in beside))
            return _SEVERAL if several else FinalAnswer(statement.text, statement.how)
        sentence = _first_sentence(statement)
        value, refused, taken_back = _asserted(target, sentence)
        denied |= refused
        if taken_back and value is None:
            return _WITHDRAWN
        if value is not None:
            if any(_same(value, other) for other in denied) or _value_taken_back(target, text, statement, value):
                return _WITHDRAWN
            return FinalAnswer(value, statement.how)
    return _WITHDRAWN if denied else None


def _asserted(target: Target, sentence: str) -> tuple[str | None, set[str], bool]:
    """Return (the answer that follows "the answer is", what is denied there, whether all before is called wrong)."""
    if target.kind == "number":
        reading = assertion.read(sentence, lambda clause: leading_number(clause) or stated_number(clause))
        return reading.value, set(reading.denied), reading.taken_back
    return _value_in(target, sentence, explicit=True), set(), assertion.takes_back(sentence)


def _same(one: str, other: str) -> bool:
    numbers = number.parse(clean(one)), number.parse(clean(other))
    if numbers[0] and numbers[1]:
        return numbers[0].value == numbers[1].value
    return clean(one) == clean(other)


def _value_taken_back(target: Target, text: str, statement: AnswerStatement, value: str) -> bool:
    for sentence in _rejections(text, statement):
        reading = assertion.read(sentence, stated_number)
        if reading.value is None and (reading.taken_back or any(_same(value, denied) for denied in reading.denied)):
            return True
    return False


def _value_in(target: Target, sentence: str, explicit: bool = False) -> str | None:
    """Return the part of a sentence that is an answer of the target's kind; None if there is none.

    explicit: the sentence follows "the answer is", so that all of it is the answer.
    """
    bare = clean(_LEADS_IN.sub("", sentence))
    if target.kind == "text":
        if not assertion.plain_claim(target.gold):  # "no solution"
            return _words_in(bare, explicit)
        return assertion.read(bare, lambda clause: _words_in(clause, explicit)).value
    if number.parse(bare):
        return bare
    numeric, evasive = target.kind == "number" or number.parse(clean(target.gold)) is not None, EVASION.search(sentence)
    if numeric and not evasive and (value := stated_number(sentence)):
        return value
    if all(map(_is_value, parts(bare)[0])):
        return bare
    formula = None if numeric or evasive else assertion.read(sentence, lambda clause: _formula_in(target, clause))
    return formula and formula.value


def _words_in(text: str, explicit: bool) -> str | None:
    return _REASON.split(text if explicit else _IS.split(text)[-1] or text)[0] or None


def _formula_in(target: Target, clause: str) -> str | None:
    """Return the formula of a clause: the last between dollars, what follows its last "is", or its many numbers."""
    if named_statements(target.gold) and named_statements(clause, loose=True):
        return clean(clause)
    if all(map(_is_value, parts(bare := clean(_LEADS_IN.sub("", clause)))[0])):
        return bare
    inline = [next(filter(None, match)) for match in _INLINE.findall(clause)]
    if inline:
        return clean(inline[-1])
    end = _VALUE_AT_END.search(clause)
    if end and all(map(_is_value, parts(end[1])[0])):
        return clean(end[1])
    blanks = parts(target.gold)[0]
    numerals = _NUMERAL.findall(clause)
    return ", ".join(numerals) if len(numerals) == len(blanks) > 1 and all(map(number.parse, blanks)) else None


def _is_value(text: str) -> bool:
    """Tell whether the text may be a number or a formula, without words of any language around it."""
    if len(text) > MAX_CHARACTERS:
        return False
    return number.parse(text) is not None or (is_formula(text) and not _CJK.search(text))
