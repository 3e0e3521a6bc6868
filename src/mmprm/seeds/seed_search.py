"""The rollouts of one problem of the pool, in blocks until it is clear whether it is kept. In: problem. Out: rollouts.

A search, as `rollouts.scheduler` runs them. After each block it lets all others go first, so that every problem has its
first block before any has its second: long problems are sampled side by side to the end, and the engine's batch does
not run dry behind a few of them.
"""

from collections.abc import Callable, Generator
from typing import Any

from mmprm.config.annotation import Seeds
from mmprm.data.problem import Problem
from mmprm.rollouts.rollout import RequestFactory, Rollouts, count
from mmprm.rollouts.scheduler import AFTER_OTHERS
from mmprm.seeds.pass_rate import KEPT, Rule

Keep = Callable[[bool, Rollouts], None]  # (with a blank picture?, the rollouts of a block)
Blanked = Callable[[Problem], Problem]  # the problem with blank pictures


def seed_search(
    problem: Problem, settings: Seeds, ask: RequestFactory, keep: Keep, blanked: Blanked | None = None
) -> Generator[Any, Any, None]:
    """Draw `settings.rollouts` rollouts, or with `settings.adaptive` as many as are needed; `keep` gets each block.

    With `blanked`, a problem that would be kept is drawn to the end, and then as often with a blank picture: a
    comparison of the few rollouts that show that it is solved sometimes would say nothing.
    """
    rule = Rule.of(settings)
    block = settings.block if settings.adaptive else settings.rollouts
    compared = blanked is not None and bool(problem.images)
    verdicts: list[str] = []
    while len(verdicts) < settings.rollouts:
        if verdicts:
            stop = rule.stop(count(verdicts))
            if stop is not None and not (compared and stop[0] == KEPT):
                break
            yield AFTER_OTHERS
        n = min(block, settings.rollouts - len(verdicts))
        rollouts: Rollouts = yield ask(problem, (), n, first=len(verdicts))
        keep(False, rollouts)
        verdicts += [rollout.verdict for rollout in rollouts]
    if blanked and compared and rule.decide(count(verdicts)) == KEPT:
        yield AFTER_OTHERS
        keep(True, (yield ask(blanked(problem), (), settings.rollouts)))
