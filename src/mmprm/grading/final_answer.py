"""Read the final answer of a whole response, as the type that the problem asks for.

In: the response and the `Target`. Out: a `FinalAnswer`: its text for `rules.decide`, or None if the response states no
answer. Explicit statements (a tag, a box, "the answer is …") come before implied ones (a conclusion, the last line). Of
several explicit statements the last readable one counts; a tag or a box counts even if it is not readable.
"""

import re
from dataclasses import dataclass

from mmprm.grading import choice, number
from mmprm.grading.answer_statements import (
    AnswerStatement,
    explicit_statements,
    implied_statements,
    is_evasive,
    narrow_body,
    sentences,
)
from mmprm.grading.clean import boxed_texts, clean, parts
from mmprm.grading.expression import MAX_CHARACTERS, is_formula
from mmprm.grading.rules import Target

_MARKED = ("tag", "box")
_IS = re.compile(r"\b(?:is|are|was|were|be|called|named)\b|是|为|叫")
_REASON = re.compile(r"\s*,?\s+(?:because|since)\b|,?\s*因为")
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
_INLINE = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)


@dataclass(frozen=True)
class FinalAnswer:
    """The answer that a response states.

    text: the answer; None if there is none to grade.
    how: where it was found (`AnswerStatement.how`); without an answer none, several, evasive or nothing.
    options: for a multiple-choice question, the indices of the options that it names.
    """

    text: str | None
    how: str
    options: frozenset[int] = frozenset()


_NOTHING, _EVASIVE, _SEVERAL = FinalAnswer(None, "nothing"), FinalAnswer(None, "evasive"), FinalAnswer(None, "several")


def read_final_answer(target: Target, response: str | None, question: str = "") -> FinalAnswer:
    """Return the answer that a response states; `question` helps to read yes or no from a conclusion."""
    if response is None or not response.strip():
        return FinalAnswer(None, "none")
    text = narrow_body(response)
    prose = sentences(text)
    answer = _marked_choice(target, text, prose) if target.kind == "choice" else _explicit_value(target, text)
    if answer is not None or not prose:
        return answer or _NOTHING
    if target.kind != "choice" and len(prose) == 1 and (value := _value_in(target, prose[0])) is not None:
        return FinalAnswer(value, "line")
    if any(is_evasive(sentence) for sentence in prose[-2:]):
        return _EVASIVE
    implied = (_implied_answer(target, statement, question) for statement in implied_statements(text))
    return next(filter(None, implied), _NOTHING)


def _implied_answer(target: Target, statement: AnswerStatement, question: str) -> FinalAnswer | None:
    if target.kind != "choice":
        value = _value_in(target, statement.text)
        return None if value is None else FinalAnswer(value, statement.how)
    options = choice.named_options(target.options, statement.text)
    options = options or choice.yes_or_no(target.options, statement.text, question)
    return FinalAnswer(statement.text, statement.how, options) if len(options) == len(target.right) else None


def _first_sentence(statement: AnswerStatement) -> str:
    """Return the first sentence of what follows "the answer is": the others explain it."""
    if statement.how in _MARKED:
        return statement.text
    return next(iter(sentences(statement.text)), statement.text)


def _marked_choice(target: Target, text: str, prose: list[str]) -> FinalAnswer | None:
    """Return the options named by an explicit statement, or by a letter at an end of the last or first sentence."""
    explicit = explicit_statements(text)
    for statement in explicit:
        sentence = _first_sentence(statement)
        if options := choice.named_options(target.options, sentence):
            return _unless_several(target, FinalAnswer(sentence, statement.how, options))
    # A box that names no option may be a formula that equals one.
    if marked := next((statement for statement in explicit if statement.how in _MARKED), None):
        return FinalAnswer(marked.text, marked.how)
    for sentence, how in ((prose[-1], "line"), (prose[0], "lead")) if prose else ():
        if options := choice.options_by_letter(target.options, sentence, last=how == "line"):
            return _unless_several(target, FinalAnswer(sentence, how, options))
    return None


def _unless_several(target: Target, answer: FinalAnswer) -> FinalAnswer:
    """Return the answer, unless it names several options where only one can be right."""
    return _SEVERAL if len(answer.options) > len(target.right) == 1 else answer


def _explicit_value(target: Target, text: str) -> FinalAnswer | None:
    count = len(parts(target.gold)[0]) if target.kind == "expression" else 1
    boxes = boxed_texts(text)
    if count > 1 and len(boxes) == count and all(len(parts(box)[0]) == 1 for box in boxes):
        return FinalAnswer("\n".join(boxes), "box")  # a box for each blank
    for statement in explicit_statements(text):
        if statement.how in _MARKED:
            return FinalAnswer(statement.text, statement.how)
        sentence = _first_sentence(statement)
        first = (
            number.leading_number(sentence) if target.kind == "number" else None
        )  # "the answer is 7 with a total of 12"
        if (value := first or _value_in(target, sentence, explicit=True)) is not None:
            return FinalAnswer(value, statement.how)
    return None


def _value_in(target: Target, sentence: str, explicit: bool = False) -> str | None:
    """Return the part of a sentence that is an answer of the target's kind; None if there is none.

    explicit: the sentence follows "the answer is", so that all of it is the answer.
    """
    bare = clean(sentence)
    if target.kind == "text":
        return _REASON.split(bare if explicit else _IS.split(bare)[-1] or bare)[0]
    if number.parse(bare) or all(_is_value(piece) for piece in parts(bare)[0]):
        return bare
    if is_evasive(sentence):
        return None
    if target.kind == "number":
        return number.stated_number(sentence)
    inline = [next(filter(None, match)) for match in _INLINE.findall(sentence)]
    return clean(inline[-1]) if inline else None


def _is_value(text: str) -> bool:
    """Tell whether the text may be a number or a formula, without words of any language around it."""
    if len(text) > MAX_CHARACTERS:
        return False
    return number.parse(text) is not None or (is_formula(text) and not _CJK.search(text))
