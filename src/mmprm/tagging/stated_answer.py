"""The final answer that a reference solution states, as the policy is to write it. In: a problem. Out: a text, or None.

A solution is no model's response: unless it says what its answer is (a tag, a box, "the answer is"), its last sentence
states it, and what stands before is on the way there.
"""

from __future__ import annotations

import re

from mmprm.data.problem import Problem
from mmprm.grading import choice, rules
from mmprm.grading.answer_statements import narrow_body, sentences
from mmprm.grading.boxed import boxed_texts
from mmprm.grading.final_answer import FinalAnswer, read_final_answer
from mmprm.grading.stated_number import stated_number

_EXPLICIT = ("tag", "box", "said", "chosen")
_PICTURE = re.compile(r"!\[[^\]\n]{0,200}\]\([^)\n]{0,1000}\)")
_OPEN = re.compile(r"^(?:[\s*:：]|\\n(?![a-z]))+")
_END = re.compile(r"(?:[\s*.,;。；，]|\\n)+$")  # some tables hold a line's end as the two characters \n


def stated_answer(problem: Problem, text: str) -> str | None:
    """What the solution `text` gives as its answer, of a choice the letters; None where it gives none."""
    target = rules.target_of(problem)
    text = _PICTURE.sub(" ", text).rstrip()
    found = read_final_answer(target, text, problem.question)
    if found.how not in _EXPLICIT and (said := sentences(narrow_body(text))):
        last = read_final_answer(target, said[-1], problem.question)
        if last.text is None and target.kind == "choice" and (value := stated_number(said[-1])):
            last = FinalAnswer(value, "line", choice.named_options(target.options, value))  # an option by its value
            last = last if last.options else found
        found = found if last.text is None else last
    if found.options:
        return ", ".join(chr(ord("A") + index) for index in sorted(found.options))
    if found.text is None:
        return None
    # Of a chain of equations the last side.
    chain = target.kind == "expression" and "=" in found.text and "=" not in target.gold
    return tidied(found.text.rpartition("=")[2] if chain else found.text)


def tidied(answer: str) -> str | None:
    """The answer without its box, the full stop of its sentence, and a formula's mark whose other end is not in it.

    None where nothing is left.
    """
    if len(boxes := boxed_texts(answer)) == 1:
        answer = boxes[0]
    before = None
    while answer != before:  # a mark may stand behind the full stop: "7.$$"
        before = answer
        answer = _END.sub("", _OPEN.sub("", answer))
        for mark in ("$$", "$"):
            if answer.count(mark) % 2:
                answer = answer.removesuffix(mark) if answer.endswith(mark) else answer.removeprefix(mark)
        for begin, end in (("\\(", "\\)"), ("\\[", "\\]")):
            if answer.count(begin) != answer.count(end):
                answer = answer.removesuffix(end) if answer.endswith(end) else answer.removeprefix(begin)
    return answer or None
