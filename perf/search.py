"""The pure search alone: rollouts and states a second, peak memory, and how the cost grows with the budget.

In: nothing. Out: one JSON line. `omegaprm` is called directly, with neither engine nor journal nor grader; its requests
are made by the real `RequestFactory`. Many searches are open at once, as in a shard; a tree is dropped when it ends.

The clock is read around each `send`, so that the time of the scripted policy, which answers in between, is taken out:
`search_seconds` is what the generators themselves took, and all rates are of it; `seconds` is everything.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mmprm.annotation.omegaprm import Search, omegaprm
from mmprm.annotation.tree import Tree
from mmprm.config import Annotation, Sampling
from mmprm.data.problem import Problem
from mmprm.engine.base import Request
from mmprm.model.step_text import render_solution
from mmprm.rollouts.rollout import RequestFactory, Rollout
from perf.common import finish, machine, say

_STEP_ERROR, _ANSWER_ERROR, _UNPARSED = 0.08, 0.03, 0.04
_WORDINGS = (
    "Adding the next side of the figure to what we have so far gives",
    "The part that is left over is marked in the figure, so together with it the sum is",
    "Next, we read the following value from the table and add it:",
    "Since both sides are equal by symmetry, the length so far grows to",
    "Hence",
    "From the second condition of the problem it follows, by substitution, that we now have",
    "So the total up to this point is",
    "Let us continue with the value below, which the question names:",
)
_PAPER = {"k": 16, "max_searches": 200, "max_rollouts": 1000}
_SAY_SECONDS = 5.0


@dataclass
class Totals:
    """What the searches did, and the seconds that the generators took and that everything took."""

    trees: int = 0
    states: int = 0
    rollouts: int = 0
    searches: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    search_seconds: float = 0.0
    seconds: float = 0.0

    def count(self, tree: Tree) -> None:
        """Add a finished tree."""
        self.trees += 1
        self.states += len(tree.nodes)
        self.rollouts += tree.n_rollouts
        self.searches += tree.n_searches
        self.endings[tree.reason] += 1


def sum_problems(count: int) -> Iterator[Problem]:
    """Yield problems; number i adds 7 to 15 numbers, drawn with i as the seed."""
    for number in range(count):
        rng = random.Random(number)
        terms = [rng.randint(2, 90) for _ in range(rng.randint(7, 15))]
        question = "Add: " + " ".join(map(str, terms))
        yield Problem(f"sum-{number:05d}", "sums", question, str(sum(terms)), answer_type="number")


def answer(request: Request) -> tuple[Rollout, ...]:
    """Answer as the scripted policy: n rollouts, drawn with the request's seed, each step in one of many wordings.

    A step's sum is one too high with a probability of 8 %. Errors never cancel, so a state with one has MC value 0.
    """
    rng = random.Random(request.seed)
    first, *terms = (int(term) for term in request.problem.question.split()[1:])
    start = int(request.prefix[-1].rsplit(" ", 1)[1]) if request.prefix else first
    return tuple(_rollout(rng, start, terms[len(request.prefix) :], request.problem.answer) for _ in range(request.n))


def _rollout(rng: random.Random, start: int, terms: list[int], gold: str) -> Rollout:
    total, steps = start, []
    for term in terms:
        drawn = rng.random()
        before, total = total, total + term + (drawn < _STEP_ERROR)
        steps.append(f"{_WORDINGS[int(drawn * 1e6) % len(_WORDINGS)]} {before} + {term} = {total}")
    final = str(total + (rng.random() < _ANSWER_ERROR))
    text = render_solution(steps, final)
    if rng.random() < _UNPARSED:
        return Rollout(text[:-20], (), None, "malformed", "unparsed", "parse", len(text) // 4, "stop")
    verdict = "correct" if final == gold else "incorrect"
    return Rollout(text, tuple(steps), final, "ok", verdict, "number", len(text) // 4, "stop")


def run_searches(problems: Iterable[Problem], settings: Annotation, open_limit: int) -> Totals:
    """Search all problems, `open_limit` at a time, each in its turn."""
    requests = RequestFactory("scripted", Sampling(), 0, "annotation")
    waiting = iter(problems)
    opened: deque[tuple[Search, Any]] = deque()
    totals = Totals()
    started = reported = time.perf_counter()
    while True:
        while len(opened) < open_limit and (problem := next(waiting, None)) is not None:
            opened.append((omegaprm(problem, settings, requests), None))
        if not opened:
            totals.seconds = time.perf_counter() - started
            return totals
        search, rollouts = opened.popleft()
        began = time.perf_counter()
        try:
            request = search.send(rollouts)
        except StopIteration as end:
            totals.search_seconds += time.perf_counter() - began
            totals.count(end.value)
        else:
            totals.search_seconds += time.perf_counter() - began
            opened.append((search, answer(request)))
        if began - reported > _SAY_SECONDS:
            reported = began
            say(f"{totals.trees} problems ended, {totals.search_seconds:.1f} of {began - started:.1f} s in the search")


def growth(budgets: list[int], problems: int, open_limit: int) -> dict[str, float]:
    """Return microseconds a rollout at each budget; the limit on searches is a fifth of it, as in the paper."""
    cost = {}
    for budget in budgets:
        settings = Annotation(k=16, max_searches=max(1, budget // 5), max_rollouts=budget)
        totals = run_searches(sum_problems(problems), settings, open_limit)
        cost[str(budget)] = round(1e6 * totals.search_seconds / totals.rollouts, 2)
        say(f"{problems} problems of {budget} rollouts: {cost[str(budget)]} us a rollout")
    return cost


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.search", description=__doc__.partition("\n")[0])
    parser.add_argument("--problems", type=int, default=10_000, help="problems at the paper's budget (10000)")
    parser.add_argument("--open", type=int, default=512, help="searches open at once (512)")
    parser.add_argument(
        "--budgets", type=int, nargs="*", default=[250, 500, 1000, 2000], help="rollouts a problem to compare"
    )
    parser.add_argument("--budget-problems", type=int, default=200, help="problems for each of the budgets (200)")
    given = parser.parse_args(arguments)
    say(f"{given.problems} problems, {_PAPER}")
    totals = run_searches(sum_problems(given.problems), Annotation(**_PAPER), given.open)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # before the larger budgets; kilobytes on Linux
    say(f"ended by {dict(totals.endings)}; {totals.search_seconds:.1f} s in the search, {totals.seconds:.1f} s in all")
    result: dict[str, Any] = {
        "rollouts_per_second": round(totals.rollouts / totals.search_seconds),
        "states_per_second": round(totals.states / totals.search_seconds),
        "peak_mb": round(peak),
        "us_per_rollout_by_budget": growth(given.budgets, given.budget_problems, given.open),
        "problems": totals.trees,
        "searches": totals.searches,
        "states": totals.states,
        "rollouts": totals.rollouts,
        "open": given.open,
        "search_seconds": round(totals.search_seconds, 1),
        "seconds": round(totals.seconds, 1),
        "machine": machine(),
    }
    finish(result)


if __name__ == "__main__":
    main()
