"""Read the final answer that a reference solution states, as the policy should write it. In: a problem and a text.
Out: the answer, or None.

A solution differs from a model's response: unless it marks its answer (by a tag, a box, "the answer is"), its last
sentence states it, and earlier values are intermediate results.
"""

import re

from mmprm.data.problem import Problem
from mmprm.grading import choice, rules
from mmprm.grading.answer_statements import narrow_body, sentences
from mmprm.grading.boxed import boxed_texts
from mmprm.grading.final_answer import FinalAnswer, read_final_answer
from mmprm.grading.stated_number import stated_number

_EXPLICIT = ("tag", "box", "said", "chosen")  # values of AnswerStatement.how
_PICTURE = re.compile(r"!\[[^\]\n]{0,200}\]\([^)\n]{0,1000}\)")
_OPEN = re.compile(r"^(?:[\s*:：]|\\n(?![a-z]))+")
_END = re.compile(r"(?:[\s*.,;。；，]|\\n)+$")  # some tables write a line end as the two characters \n


def stated_answer(problem: Problem, text: str) -> str | None:
    """Return the answer that the solution `text` states, for a choice the letters; None if it states none."""
    target = rules.target_of(problem)
    text = _PICTURE.sub(" ", text).rstrip()
    answer = read_final_answer(target, text, problem.question)
    if answer.how not in _EXPLICIT and (prose := sentences(narrow_body(text))):
        last = read_final_answer(target, prose[-1], problem.question)
        if last.text is None and target.kind == "choice" and (value := stated_number(prose[-1])):
            last = FinalAnswer(value, "line", choice.named_options(target.options, value))  # an option by its value
            last = last if last.options else answer
        answer = answer if last.text is None else last
    if answer.options:
        return ", ".join(chr(ord("A") + index) for index in sorted(answer.options))
    if answer.text is None:
        return None
    # The answer of a chain of equations is its last side.
    chain = target.kind == "expression" and "=" in answer.text and "=" not in target.gold
    return tidy_answer(answer.text.rpartition("=")[2] if chain else answer.text)


def tidy_answer(answer: str) -> str | None:
    """Remove the box, the full stop, and a formula's delimiter without its counterpart; None if nothing is left."""
    if len(boxes := boxed_texts(answer)) == 1:
        answer = boxes[0]
    previous = None
    while answer != previous:  # a delimiter may follow the full stop: "7.$$"
        previous = answer
        answer = _END.sub("", _OPEN.sub("", answer))
        for mark in ("$$", "$"):
            if answer.count(mark) % 2:
                answer = answer.removesuffix(mark) if answer.endswith(mark) else answer.removeprefix(mark)
        for start, end in (("\\(", "\\)"), ("\\[", "\\]")):
            if answer.count(start) != answer.count(end):
                answer = answer.removesuffix(end) if answer.endswith(end) else answer.removeprefix(start)
    return answer or None
