"""Steps by rules: a solution that is stepped already is cut where its steps begin. In: a text. Out: the steps.

Nothing of the text is lost or changed but white space around the steps, and control strings, which are neutralised.
"""

from __future__ import annotations

import re
from itertools import pairwise

from mmprm.config.tagging import TaggedSource
from mmprm.data.problem import Problem
from mmprm.llm.tasks import AnswerCheck, ItemRefusedError
from mmprm.model.step_text import ANSWER_CLOSE, ANSWER_OPEN, STEP_OPEN, Status, neutralise, parse, render_solution
from mmprm.tagging.cuts import LEVELS, cut
from mmprm.tagging.stated_answer import stated_answer
from mmprm.tagging.tag_result import Kept, TagTask, check_verdict

_INTRODUCES = re.compile(r"[:：,，]\W*$")  # what follows belongs to it: a formula, a list
_CONTINUES = re.compile(r"\s*(?:\$\$|\\\[|\\begin\b|[=≈<>≤≥]|\\(?:Rightarrow|implies|approx|le|ge)\b)")


def by_rules(problem: Problem, source: TaggedSource) -> TagTask:
    """Tag a solution by rules. Raises RefusedError."""
    if problem.solution is None or not problem.solution.strip():
        raise ItemRefusedError("no_solution", "the problem has no solution")
    text = problem.solution.strip()
    if text.startswith(STEP_OPEN):
        return (yield from as_tagged(problem, text, source))
    if len(text) > source.max_steps * source.max_step_chars:  # before anything reads all of it
        raise ItemRefusedError(
            "too_long", f"{len(text)} characters are more than max_steps steps of max_step_chars hold"
        )
    before, opened, answer = text.removesuffix(ANSWER_CLOSE).rpartition(ANSWER_OPEN)
    if text.endswith(ANSWER_CLOSE) and opened and before.strip() and answer.strip():
        text, answer = before, answer.strip()  # steps without tags, then a tagged answer
    else:
        answer = stated_answer(problem, text) or ""
    # What is certain is refused first: to cut a text costs more than to read its answer.
    origin = "solution" if answer else "gold"
    if not answer and not source.answer_from_gold:
        raise ItemRefusedError("no_final_answer", f"no final answer is read in {text[-200:]!r}")
    answer = neutralise(answer or problem.answer)
    check_verdict((yield AnswerCheck(answer, problem)), answer, problem)
    method, steps = steps_of(neutralise(text), source)
    return Kept(render_solution(steps, answer), method, len(steps), origin)


def as_tagged(problem: Problem, text: str, source: TaggedSource) -> TagTask:
    """AnswerCheck a solution that is tagged already; it stays as it is. Raises RefusedError."""
    parsed = parse(text)
    if parsed.status is not Status.OK or parsed.answer is None:
        raise ItemRefusedError("malformed_tags", f"it is not <step>…</step>…<answer>…</answer>: {parsed.status.value}")
    check_verdict((yield AnswerCheck(parsed.answer, problem)), parsed.answer, problem)
    check_limits(list(parsed.steps), source)
    return Kept(text, "tagged", len(parsed.steps))


def check_limits(steps: list[str], source: TaggedSource) -> None:
    """Raise RefusedError unless number and lengths of the steps are within the limits."""
    if len(steps) < source.min_steps:
        raise ItemRefusedError("too_few_steps", f"{len(steps)} steps, min_steps is {source.min_steps}")
    if len(steps) > source.max_steps:
        raise ItemRefusedError("too_many_steps", f"{len(steps)} steps, max_steps is {source.max_steps}")
    if (longest := max(map(len, steps))) > source.max_step_chars:
        raise ItemRefusedError(
            "step_too_long", f"a step of {longest} characters, max_step_chars is {source.max_step_chars}"
        )


def steps_of(text: str, source: TaggedSource) -> tuple[str, list[str]]:
    """(the level that gave them, the steps) of a text without control strings. Raises RefusedError.

    The coarsest level counts that gives min_steps, and two at least: what has numbered steps is not cut at its lines.
    """
    if len(text) > source.max_steps * source.max_step_chars:
        raise ItemRefusedError(
            "too_long", f"{len(text)} characters are more than max_steps steps of max_step_chars can hold"
        )
    most: list[str] = []
    for level in LEVELS:
        pieces = _joined(cut(text, level), source) if level == "numbered" else _glued(cut(text, level), source)
        pieces = _shortened(pieces, level, source)
        if len(pieces) >= max(2, source.min_steps):
            return level, _checked(_fewer(pieces, source), source)
        most = max(most, pieces, key=len)
    return "whole", _checked(most, source)


def _checked(pieces: list[str], source: TaggedSource) -> list[str]:
    steps = [step for piece in pieces if (step := piece.strip())]
    check_limits(steps, source)
    return steps


def _glued(pieces: list[str], source: TaggedSource) -> list[str]:
    """Pieces of which the one introduces the next ("We get:"), or the next goes on with it ("= 7"), become one."""
    glued: list[str] = []
    for piece in pieces:
        belongs = glued and (_INTRODUCES.search(glued[-1]) or _CONTINUES.match(piece))
        if belongs and len(glued[-1]) + len(piece) <= source.max_step_chars:
            glued[-1] += piece
        else:
            glued.append(piece)
    return _joined(glued, source)


def _length(piece: str) -> int:
    """In characters; one of Chinese or Japanese, which says as much as a syllable or a word, counts as three."""
    bare = piece.strip()
    return len(bare) + 2 * sum(character > "\u2e7f" for character in bare)


def _joined(pieces: list[str], source: TaggedSource) -> list[str]:
    """A piece that is too short (a heading) goes with the next one, the last with that before it."""
    joined: list[str] = []
    for piece in pieces:
        if joined and _length(joined[-1]) < source.min_step_chars:
            joined[-1] += piece
        else:
            joined.append(piece)
    if len(joined) > 1 and _length(joined[-1]) < source.min_step_chars:
        last = joined.pop()
        joined[-1] += last
    return joined


def _shortened(pieces: list[str], level: str, source: TaggedSource) -> list[str]:
    """Pieces that are too long are cut at the next finer level that can, and filled up to the limit."""
    finer = list(LEVELS)[list(LEVELS).index(level) + 1 :]
    short: list[str] = []
    for piece in pieces:
        if len(piece.strip()) <= source.max_step_chars or not finer:
            short.append(piece)
            continue
        packed: list[str] = []
        for part in _shortened(cut(piece, finer[0]), finer[0], source):
            if packed and len((packed[-1] + part).strip()) <= source.max_step_chars:
                packed[-1] += part
            else:
                packed.append(part)
        short += packed
    return short


def _fewer(pieces: list[str], source: TaggedSource) -> list[str]:
    """Join the shortest neighbours until there are no more than max_steps, as far as max_step_chars lets them."""
    pieces = list(pieces)
    while len(pieces) > source.max_steps:
        sizes = [len((one + other).strip()) for one, other in pairwise(pieces)]
        index = min(range(len(sizes)), key=sizes.__getitem__)
        if sizes[index] > source.max_step_chars:
            break
        pieces[index : index + 2] = [pieces[index] + pieces[index + 1]]
    return pieces
