"""Tag a solution by a model: knowledge points first, then the detailed rewrite (arXiv 2505.13427, section 3.1).

In: a problem with a raw solution. Out: the first rewrite that is accepted, or why the last one was refused.
"""

from collections.abc import Generator
from typing import Any

from mmprm.config.tagging import TaggedSource, TaggingModel
from mmprm.data.problem import Problem
from mmprm.llm.tasks import AnswerCheck, ItemRefusedError, LlmCall, Refused, complete_text
from mmprm.model.step_text import STEP_OPEN, render_solution
from mmprm.tagging import rewrite_prompts
from mmprm.tagging.tag_by_rules import accept_tagged, check_limits
from mmprm.tagging.tag_results import TaggedSolution, TagTask, require_correct, require_solution


def tag_by_model(problem: Problem, source: TaggedSource, settings: TaggingModel) -> TagTask:
    """Have a solution rewritten. Each pass is tried `settings.tries` times, with different seeds.

    A rewrite is accepted if it has the requested form, is within the limits, and its answer is the problem's. Raises
    ItemRefusedError.
    """
    solution = require_solution(problem)
    if solution.startswith(STEP_OPEN):
        return (yield from accept_tagged(problem, solution, source))
    points = yield from _knowledge(problem, settings)
    last = Refused("", "")
    prompt = rewrite_prompts.rewrite(problem, points, settings.images)
    for attempt in range(settings.tries):
        reply = yield LlmCall(prompt, "rewrite", attempt)
        try:
            steps, answer = rewrite_prompts.read_rewrite(complete_text(reply))
            check_limits(steps, source)
            require_correct((yield AnswerCheck(answer, problem)), answer, problem)
        except ItemRefusedError as error:
            last = error.refused
        else:
            return TaggedSolution(render_solution(steps, answer), "model", len(steps), tries=attempt + 1)
    raise ItemRefusedError(last.reason, f"{last.detail} (the last of {settings.tries} rewrites)")


def _knowledge(problem: Problem, settings: TaggingModel) -> Generator[LlmCall, Any, str]:
    """Ask for the knowledge points. Raises the ItemRefusedError of the last try."""
    last = ItemRefusedError("", "")
    for attempt in range(settings.tries):
        reply = yield LlmCall(rewrite_prompts.knowledge(problem, settings.images), "knowledge", attempt)
        try:
            return rewrite_prompts.read_knowledge(complete_text(reply))
        except ItemRefusedError as error:
            last = error
    raise last
