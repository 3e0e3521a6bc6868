"""Sample and grade rollouts of the pool's problems. In: problems, policy. Out: a table of schemas.SEED_ROLLOUTS."""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.annotation import Seeds
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem
from mmprm.data.shards import Shard, read_shard
from mmprm.data.sorted_spill import SortedSpill
from mmprm.model.step_text import Status
from mmprm.rollouts.rollout import RequestFactory, Rollouts, count
from mmprm.rollouts.run import ALL_UNDECIDED, OpenEngine, SamplingJob, run_searches
from mmprm.rollouts.scheduler import AFTER_OTHERS, SearchResult
from mmprm.seeds.pass_rate import KEPT, Rule

Keep = Callable[[bool, Rollouts], None]  # (with a blank picture?, the rollouts of a block)
Blanked = Callable[[Problem], Problem]  # the problem with blank pictures


def sample_seeds(
    config: Config,
    policy: Path,
    problems: list[Path],
    shard: Shard,
    work: Path,
    out: Path,
    open_engine: OpenEngine | None = None,
    blanked: Blanked | None = None,
) -> None:
    """Write graded rollouts of each of the shard's problems to `out`, and the cost beside it.

    `config.seeds.rollouts` of each, or with `config.seeds.adaptive` as many as it takes. The missing rollouts of a
    failed problem are empty rows with the finish reason `error`, or `needs_images` where the policy reads text alone.
    Raises UserError as `run_searches` does.
    """
    settings = config.seeds
    factory = RequestFactory.of(config, policy, "seeds")
    most = settings.rollouts * (2 if blanked else 1)
    job = SamplingJob(factory.purpose, config, policy, shard, work, tables.usage_path(out), most, open_engine)
    drawn: Counter[tuple[str, bool]] = Counter()
    undecided: dict[str, bool] = {}  # by problem: have the rollouts with a readable answer no verdict?
    with SortedSpill(out.parent, schemas.SEED_ROLLOUTS) as spill:

        def write(name: str, blank: bool, rows: Sequence[dict[str, Any]]) -> None:
            ids = {"problem_id": name, "blank": blank}
            spill.add(name, [{**ids, "attempt": n, **row} for n, row in enumerate(rows, start=drawn[name, blank])])
            drawn[name, blank] += len(rows)

        def search(problem: Problem) -> Generator[Any, Any, None]:
            name = problem.problem_id

            def keep(blank: bool, rollouts: Rollouts) -> None:
                write(name, blank, [rollout.row() for rollout in rollouts])
                for rollout in rollouts:
                    if rollout.status == Status.OK:
                        undecided[name] = undecided.get(name, True) and rollout.verdict == "undecided"

            return seed_search(problem, settings, factory, keep, blanked)

        def ended(name: str, result: SearchResult) -> str | None:
            if result.error is not None:
                blank = drawn[name, False] == settings.rollouts
                missing = schemas.SKIPPED if result.skipped else schemas.NO_COMPLETION
                write(name, blank, [missing] * (settings.rollouts - drawn[name, blank]))
            return result.error or (ALL_UNDECIDED if undecided.get(name) else None)

        run_searches(job, [(problem.problem_id, search(problem)) for problem in read_shard(problems, shard)], ended)
        tables.write(out, spill.rows(), schemas.SEED_ROLLOUTS)


def seed_search(
    problem: Problem, settings: Seeds, ask: RequestFactory, keep: Keep, blanked: Blanked | None = None
) -> Generator[Any, Any, None]:
    """Draw `settings.rollouts` rollouts, or with `settings.adaptive` as many as are needed; `keep` gets each block.

    After each block all other searches go first, so that every problem has its first block before any has its second:
    long problems are sampled side by side to the end, and the engine's batch does not run dry behind a few of them.
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
