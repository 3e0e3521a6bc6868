"""Reads the final answer of a whole response, as the type that the problem asks for.

In: the response and the `Target`. Out: a `Reading`: the answer's text for `rules.decide`, or None where the response
states none. What is explicit (a tag, a box, "the answer is …") goes before what is implied (a conclusion, the last
line); of several explicit statements the last that can be read counts; a tag or a box counts even if it cannot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmprm.grading import choice, number, prose, response
from mmprm.grading.clean import clean, parts
from mmprm.grading.expression import MAX_CHARACTERS, is_formula
from mmprm.grading.rules import Target

_SURE = ("tag", "box")
_IS = re.compile(r"\b(?:is|are|was|were|be|called|named)\b|是|为|叫")
_REASON = re.compile(r"\s*,?\s+(?:because|since)\b|,?\s*因为")
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
_INLINE = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)


@dataclass(frozen=True)
class Reading:
    """`text` is what the response gives as its answer, None for none; `how` says where it stood, or why there is none.

    `options`: for a choice, the options that it names.
    """

    text: str | None
    how: str
    options: frozenset[int] = frozenset()


_NOTHING, _EVASIVE, _SEVERAL = Reading(None, "nothing"), Reading(None, "evasive"), Reading(None, "several")


def read(target: Target, answer: str | None, question: str = "") -> Reading:
    """The answer that a response states. `how` is none, several, evasive or nothing where there is none to grade."""
    if answer is None or not answer.strip():
        return Reading(None, "none")
    text = response.narrowed(answer)
    if target.kind == "choice":
        return _choice(target, text, question)
    return _value(target, text)


def _sentence(statement: response.AnswerStatement) -> str:
    """Of what follows "the answer is" the first sentence: the others explain it."""
    if statement.how in _SURE:
        return statement.text
    return next(iter(response.sentences(statement.text)), statement.text)


def _choice(target: Target, text: str, question: str) -> Reading:
    said = response.sentences(text)
    found = _explicit_choice(target, text)
    if found is None and said:
        found = _lettered(target, said)
    if found is not None or not said:
        return found or _NOTHING
    if any(response.evades(sentence) for sentence in said[-2:]):
        return _EVASIVE
    for statement in response.implied(text):
        named = choice.named(target.options, statement.text) or choice.polar(target.options, statement.text, question)
        if len(named) == len(target.right):
            return Reading(statement.text, statement.how, named)
    return _NOTHING


def _explicit_choice(target: Target, text: str) -> Reading | None:
    explicit = response.explicit(text)
    for statement in explicit:
        sentence = _sentence(statement)
        if named := choice.named(target.options, sentence):
            return _held(target, Reading(sentence, statement.how, named))
    # A box that names no option may be a formula that equals one.
    return next((Reading(statement.text, statement.how) for statement in explicit if statement.how in _SURE), None)


def _lettered(target: Target, said: list[str]) -> Reading | None:
    """The letter that the last sentence ends with, or that the first or last begins with."""
    for statement in (response.AnswerStatement(said[-1], "line"), response.AnswerStatement(said[0], "lead")):
        if named := choice.lettered(target.options, statement.text, last=statement.how == "line"):
            return _held(target, Reading(statement.text, statement.how, named))
    return None


def _held(target: Target, found: Reading) -> Reading:
    """The reading, unless it names several options of which but one can be right."""
    return _SEVERAL if len(found.options) > len(target.right) == 1 else found


def _value(target: Target, text: str) -> Reading:
    found = _explicit_value(target, text)
    said = response.sentences(text)
    if found is not None or not said:
        return found or _NOTHING
    if len(said) == 1 and (only := _stated(target, said[0], False)) is not None:
        return Reading(only, "line")
    if any(response.evades(sentence) for sentence in said[-2:]):
        return _EVASIVE
    stated = ((_stated(target, statement.text, False), statement.how) for statement in response.implied(text))
    return next((Reading(piece, how) for piece, how in stated if piece is not None), _NOTHING)


def _explicit_value(target: Target, text: str) -> Reading | None:
    count = len(parts(target.gold)[0]) if target.kind == "expression" else 1
    boxes = response.boxes(text)
    if count > 1 and len(boxes) == count and all(len(parts(box)[0]) == 1 for box in boxes):
        return Reading("\n".join(boxes), "box")  # a box for each blank
    for statement in response.explicit(text):
        if statement.how in _SURE:
            return Reading(statement.text, statement.how)
        sentence = _sentence(statement)
        first = prose.leading(sentence) if target.kind == "number" else None  # "the answer is 7 with a total of 12"
        if (found := first or _stated(target, sentence)) is not None:
            return Reading(found, statement.how)
    return None


def _stated(target: Target, sentence: str, said: bool = True) -> str | None:
    """The part of a sentence that is an answer of the target's kind; None if it holds none.

    `said`: does the sentence follow "the answer is", so that all of it is the answer?
    """
    bare = clean(sentence)
    if target.kind == "text":
        return _REASON.split(bare if said else _IS.split(bare)[-1] or bare)[0]
    if number.parse(bare) or all(_is_value(piece) for piece in parts(bare)[0]):
        return bare
    if response.evades(sentence):
        return None
    if target.kind == "number":
        return prose.stated(sentence)
    inline = [next(filter(None, match)) for match in _INLINE.findall(sentence)]
    return clean(inline[-1]) if inline else None


def _is_value(text: str) -> bool:
    """Could it be a number or a formula, with no word of any language around it?"""
    if len(text) > MAX_CHARACTERS:
        return False
    return number.parse(text) is not None or (is_formula(text) and not _CJK.search(text))
