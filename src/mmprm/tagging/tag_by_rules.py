"""Tag a solution by rules: cut a text that already has steps where they begin. In: a text. Out: its steps.

The text stays as it is, except for white space around the steps and control strings, which are neutralised.
"""

import re
from collections.abc import Callable
from itertools import pairwise

from mmprm.config.derived import TaggedSource
from mmprm.data.problem import Problem
from mmprm.grading import Verdict, choice, rules
from mmprm.grading.clean import boxed_texts, narrow
from mmprm.grading.final_answer import FinalAnswer, read_final_answer
from mmprm.grading.stated_number import stated_number
from mmprm.grading.statements import body, sentences
from mmprm.llm.tasks import AnswerCheck, ItemRefusedError
from mmprm.model.step_text import ANSWER_CLOSE, ANSWER_OPEN, STEP_OPEN, Status, neutralise, parse, render_solution
from mmprm.tagging.confirmed import confirmed_answer
from mmprm.tagging.cuts import LEVELS, cut
from mmprm.tagging.tag_results import TaggedSolution, TagTask, require_correct, require_solution

_INTRODUCES = re.compile(r"[:：,，]\W*$")  # announces a formula or a list
_CONTINUES = re.compile(r"\s*(?:\$\$|\\\[|\\begin\b|[=≈<>≤≥]|\\(?:Rightarrow|implies|approx|le|ge)\b)")
_EXPLICIT = ("tag", "box", "said", "chosen")  # values of AnswerStatement.how
_PICTURE = re.compile(r"!\[[^\]\n]{0,200}\]\([^)\n]{0,1000}\)")
_OPEN = re.compile(r"^(?:[\s*:：]|\\n(?![a-z]))+")
_END = re.compile(r"(?:[\s*.,;。；，]|\\n)+$")  # some tables write a line end as the two characters \n


def tag_by_rules(problem: Problem, source: TaggedSource) -> TagTask:
    """Tag a solution by rules. Raises ItemRefusedError."""
    text = require_solution(problem)
    if text.startswith(STEP_OPEN):
        return (yield from accept_tagged(problem, text, source))
    _check_length(text, source)  # before anything reads all of it
    text = without_pictures(text)
    before, opened, answer = text.removesuffix(ANSWER_CLOSE).rpartition(ANSWER_OPEN)
    if text.endswith(ANSWER_CLOSE) and opened and before.strip() and answer.strip():
        text, answer = before, answer.strip()  # steps without tags, then a tagged answer
    else:
        answer = stated_answer(problem, text) or ""
    # The answer is checked first, because reading it takes less time than cutting the text.
    origin = "solution" if answer else "gold"
    if not answer and not source.answer_from_gold:
        raise ItemRefusedError("no_final_answer", f"no final answer is read in {text[-200:]!r}")
    answer = neutralise(answer or problem.answer)
    require_correct((yield AnswerCheck(answer, problem)), answer, problem)
    method, steps = cut_into_steps(neutralise(text), source)
    return TaggedSolution(render_solution(steps, answer), method, len(steps), origin)


def without_pictures(text: str) -> str:
    """Remove links to pictures, which are no part of a step: a model that is taught them writes them."""
    return _PICTURE.sub(" ", text).strip()


def accept_tagged(problem: Problem, text: str, source: TaggedSource) -> TagTask:
    """Check a solution that is tagged already and return it unchanged. Raises ItemRefusedError."""
    parsed = parse(text)
    if parsed.status is not Status.OK or parsed.answer is None:
        raise ItemRefusedError("malformed_tags", f"it is not <step>…</step>…<answer>…</answer>: {parsed.status.value}")
    require_correct((yield AnswerCheck(parsed.answer, problem)), parsed.answer, problem)
    check_limits(list(parsed.steps), source)
    return TaggedSolution(text, "tagged", len(parsed.steps))


def stated_answer(problem: Problem, text: str) -> str | None:
    """Return the answer that the solution `text` states, for a choice the letters; None if it states none.

    Unlike a model's response, a solution that does not mark its answer (by a tag, a box, "the answer is") states it in
    its last sentence, and earlier values are intermediate results.
    """
    target = rules.target_of(problem)
    text = without_pictures(text)
    answer = read_final_answer(target, text, problem.question)
    if answer.how not in _EXPLICIT and (prose := sentences(narrow(body(text)))):
        last = read_final_answer(target, prose[-1], problem.question)
        if last.text is None and target.kind == "choice" and (value := stated_number(prose[-1])):
            last = FinalAnswer(value, "line", choice.named_options(target.options, value))  # an option by its value
            last = last if last.options else answer
        answer = answer if last.text is None else last
    stated = _written(target, answer)
    sure = rules.decide(target, stated) if stated else None
    if answer.how in _EXPLICIT or (sure and sure.verdict is Verdict.CORRECT):
        return stated
    return confirmed_answer(problem, text) or stated


def _written(target: rules.Target, answer: FinalAnswer) -> str | None:
    if answer.options:
        return ", ".join(chr(ord("A") + index) for index in sorted(answer.options))
    if answer.text is None:
        return None
    # The answer of a chain of equations is its last side.
    chain = target.kind in ("expression", "number") and "=" in answer.text and "=" not in target.gold
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


def check_limits(steps: list[str], source: TaggedSource) -> None:
    """Raise ItemRefusedError unless the number and the lengths of the steps are within the limits."""
    if len(steps) < source.min_steps:
        raise ItemRefusedError("too_few_steps", f"{len(steps)} steps, min_steps is {source.min_steps}")
    if len(steps) > source.max_steps:
        raise ItemRefusedError("too_many_steps", f"{len(steps)} steps, max_steps is {source.max_steps}")
    if (longest := max(map(len, steps))) > source.max_step_chars:
        detail = f"a step of {longest} characters, max_step_chars is {source.max_step_chars}"
        raise ItemRefusedError("step_too_long", detail)


def _check_length(text: str, source: TaggedSource) -> None:
    if len(text) > source.max_steps * source.max_step_chars:
        detail = f"{len(text)} characters are more than max_steps steps of max_step_chars hold"
        raise ItemRefusedError("too_long", detail)


def cut_into_steps(text: str, source: TaggedSource) -> tuple[str, list[str]]:
    """Return (the level of the cuts, the steps) of a text without control strings. Raises ItemRefusedError.

    The coarsest level that gives at least min_steps and at least two steps is taken: a text with numbered steps is not
    cut at its lines.
    """
    _check_length(text, source)
    most: list[str] = []
    for level in LEVELS:
        pieces = _joined(cut(text, level), source) if level == "numbered" else _glued(cut(text, level), source)
        pieces = _shortened(pieces, level, source)
        if len(pieces) >= max(2, source.min_steps):
            most = _fewer(pieces, source)
            break
        most = max(most, pieces, key=len)
    else:
        level = "whole"
    steps = [step for piece in most if (step := piece.strip())]
    check_limits(steps, source)
    return level, steps


def _merged(pieces: list[str], belong: Callable[[str, str], bool]) -> list[str]:
    """Join each piece to the joined ones before it where `belong(before, piece)`."""
    merged: list[str] = []
    for piece in pieces:
        if merged and belong(merged[-1], piece):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _glued(pieces: list[str], source: TaggedSource) -> list[str]:
    """Join pieces of which the first introduces the second ("We get:") or the second continues the first ("= 7")."""

    def connected(before: str, piece: str) -> bool:
        short = len(before) + len(piece) <= source.max_step_chars
        return short and bool(_INTRODUCES.search(before) or _CONTINUES.match(piece))

    return _joined(_merged(pieces, connected), source)


def _length(piece: str) -> int:
    """Count characters; a Chinese or Japanese one counts as three, since it says as much as a syllable or a word."""
    bare = piece.strip()
    return len(bare) + 2 * sum(character > "\u2e7f" for character in bare)


def _joined(pieces: list[str], source: TaggedSource) -> list[str]:
    """Join a piece that is too short (a heading) to the next one, and the last piece to the one before it."""
    joined = _merged(pieces, lambda before, _: _length(before) < source.min_step_chars)
    if len(joined) > 1 and _length(joined[-1]) < source.min_step_chars:
        last = joined.pop()
        joined[-1] += last
    return joined


def _shortened(pieces: list[str], level: str, source: TaggedSource) -> list[str]:
    """Cut pieces that are too long at finer levels, and join the parts up to the limit."""
    finer = list(LEVELS)[list(LEVELS).index(level) + 1 :]
    short: list[str] = []
    for piece in pieces:
        if len(piece.strip()) <= source.max_step_chars or not finer:
            short.append(piece)
        else:
            parts = _shortened(cut(piece, finer[0]), finer[0], source)
            short += _merged(parts, lambda before, part: len((before + part).strip()) <= source.max_step_chars)
    return short


def _fewer(pieces: list[str], source: TaggedSource) -> list[str]:
    """Join the shortest neighbours until there are at most max_steps pieces, as far as max_step_chars allows."""
    pieces = list(pieces)
    while len(pieces) > source.max_steps:
        sizes = [len((first + second).strip()) for first, second in pairwise(pieces)]
        index = min(range(len(sizes)), key=sizes.__getitem__)
        if sizes[index] > source.max_step_chars:
            break
        pieces[index : index + 2] = [pieces[index] + pieces[index + 1]]
    return pieces
