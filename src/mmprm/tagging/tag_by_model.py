"""Steps by a model: knowledge points first, then the detailed rewrite (arXiv 2505.13427, section 3.1).

In: a problem with a raw solution. Out: the rewrite that is kept, or the reason of the last one that was not.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from mmprm.config.tagging import TaggedSource, TaggingModel
from mmprm.data.problem import Problem
from mmprm.llm.tasks import AnswerCheck, ItemRefusedError, LlmCall, Refused, whole
from mmprm.model.step_text import STEP_OPEN, render_solution
from mmprm.tagging import rewrite_prompts
from mmprm.tagging.tag_by_rules import as_tagged, check_limits
from mmprm.tagging.tag_result import Kept, TagTask, check_verdict


def by_model(problem: Problem, source: TaggedSource, settings: TaggingModel) -> TagTask:
    """Have a solution rewritten. Each pass is tried `settings.tries` times, with other seeds. Raises RefusedError.

    A rewrite is kept when it has the asked form, is within the limits, and its answer is the problem's.
    """
    if problem.solution is None or not problem.solution.strip():
        raise ItemRefusedError("no_solution", "the problem has no solution")
    if problem.solution.lstrip().startswith(STEP_OPEN):
        return (yield from as_tagged(problem, problem.solution.strip(), source))
    points = yield from _knowledge(problem, settings)
    last = Refused("", "")
    asked = rewrite_prompts.rewrite(problem, points, settings.images)
    for attempt in range(settings.tries):
        reply = yield LlmCall(asked, "rewrite", attempt)
        try:
            steps, answer = rewrite_prompts.read_rewrite(whole(reply))
            check_limits(steps, source)
            check_verdict((yield AnswerCheck(answer, problem)), answer, problem)
        except ItemRefusedError as error:
            last = error.refused
        else:
            return Kept(render_solution(steps, answer), "model", len(steps), tries=attempt + 1)
    raise ItemRefusedError(last.reason, f"{last.detail} (the last of {settings.tries} rewrites)")


def _knowledge(problem: Problem, settings: TaggingModel) -> Generator[LlmCall, Any, str]:
    """The knowledge points. Raises RefusedError with the last try's reason."""
    last = ItemRefusedError("", "")
    for attempt in range(settings.tries):
        reply = yield LlmCall(rewrite_prompts.knowledge(problem, settings.images), "knowledge", attempt)
        try:
            return rewrite_prompts.read_knowledge(whole(reply))
        except ItemRefusedError as error:
            last = error
    raise last
