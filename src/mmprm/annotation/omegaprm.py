"""OmegaPRM (arXiv 2406.06592, section 3; MM-PRM, arXiv 2505.13427, section 3.2) as a generator without side effects.

`omegaprm` yields one request at a time, is sent its graded rollouts, and returns the tree. The same answers give the
same tree: nothing is drawn here, and ties go to what was created first.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from mmprm.annotation.tree import Node, Tree
from mmprm.config import Annotation
from mmprm.data.problem import Problem
from mmprm.engine.base import Request
from mmprm.rollouts.requests import RequestFailed
from mmprm.rollouts.rollout import Prefix, Rollout

Ask = Callable[[Problem, Prefix, int], Request]
Search = Generator[Request, tuple[Rollout, ...], Tree]


@dataclass(frozen=True)
class Candidate:
    """A pair (state, wrong rollout) that may be searched; `n_words` is len(r) of the specification."""

    node: Node
    place: int
    path: Prefix  # the state's steps and the rollout's
    n_words: int


_Pair = tuple[float, int, Candidate]  # -Q, order of entry
_State = tuple[float, int, list[_Pair]]  # of its best pair, then all of them: no two states compare further than entry


def quality(mc: float, n_words: int, settings: Annotation) -> float:
    """Q(s, r) = alpha^(1 - MC(s)) * beta^(len(r) / L): near misses and short rollouts first (OmegaPRM, eq. 3)."""
    return float(settings.alpha ** (1 - mc) * settings.beta ** (n_words / settings.length_scale))


def exploration(visits: int, total_visits: int, settings: Annotation) -> float:
    """U(s) = c_puct * sqrt(sum of all N) / (1 + N(s)): states that were searched seldom (OmegaPRM, eq. 4)."""
    return settings.c_puct * math.sqrt(total_visits) / (1 + visits)


class CandidateQueue:
    """The pairs that wait for a search. `take` gives the one with the highest Q + U and forgets it; ties go to the one
    that entered first.

    U changes for every pair with each search, but alike for all states of equal N(s). So each state's pairs lie sorted
    by Q, the states lie in a heap for each N by their best pair, and the choice is among the tops of the heaps: the
    cost is logarithmic in the pool (N never exceeds k), where a scan would be linear.
    """

    def __init__(self, settings: Annotation) -> None:
        self._settings = settings
        self._by_visits: dict[int, list[_State]] = {}
        self._seen: set[tuple[Prefix, str | None]] = set()
        self._waiting = 0
        self._entered = 0
        self._total_visits = 0

    def __len__(self) -> int:
        return self._waiting

    def enter(self, node: Node) -> None:
        """Take the wrong rollouts of a state with 0 < MC < 1.

        Only parsed rollouts that were graded as incorrect (defect 1); of equal solutions only the first, since a second
        search of it would find the same error.
        """
        mc = node.counts.mc
        if mc is None or not 0 < mc < 1:
            return
        pairs = []
        for place, rollout in enumerate(node.rollouts):
            path = node.steps + rollout.steps
            known = (path, rollout.answer) in self._seen
            if rollout.verdict != "incorrect" or known or len(path) > self._settings.max_steps:
                continue
            self._seen.add((path, rollout.answer))
            n_words = sum(len(part.split()) for part in (*rollout.steps, rollout.answer or ""))
            # Negative, and with the order of entry behind it: the least of these is the best pair.
            worth = -quality(mc, n_words, self._settings), self._entered
            pairs.append((*worth, Candidate(node, place, path, n_words)))
            self._entered += 1
        if pairs:
            self._waiting += len(pairs)
            self._push(node, sorted(pairs, key=lambda pair: pair[:2], reverse=True))

    def take(self) -> Candidate:
        """The best pair; N(s) of its state goes up by one. IndexError where none waits."""
        if not self._waiting:
            raise IndexError("no pair waits for a search")

        def rank(visits: int) -> tuple[float, int]:
            negative, entry, _ = self._by_visits[visits][0]
            return exploration(visits, self._total_visits, self._settings) - negative, -entry

        visits = max(self._by_visits, key=rank)
        _, _, pairs = heapq.heappop(self._by_visits[visits])
        if not self._by_visits[visits]:
            del self._by_visits[visits]
        chosen = pairs.pop()[-1]
        self._waiting -= 1
        chosen.node.visits += 1
        self._total_visits += 1
        if pairs:
            self._push(chosen.node, pairs)
        return chosen

    def _push(self, node: Node, pairs: list[_Pair]) -> None:
        """A state with its pairs, the best one last."""
        negative, entry, _ = pairs[-1]
        heapq.heappush(self._by_visits.setdefault(node.visits, []), (negative, entry, pairs))


def omegaprm(problem: Problem, settings: Annotation, ask: Ask) -> Search:
    """Search one problem. `ask(problem, prefix, k)` makes a request; a request that fails ends the tree as failed.

    The tree's status is done (reason: what ended it), skipped (all or none of the root's rollouts are right: there is
    nothing to search) or failed.
    """
    growth = _Growth(problem, settings, ask)
    try:
        growth.tree.status, growth.tree.reason = yield from growth.run()
    except RequestFailed as error:
        growth.tree.status, growth.tree.reason = "failed", str(error)
    return growth.tree


class _Growth:
    """A tree that grows; the methods are parts of the generator."""

    def __init__(self, problem: Problem, settings: Annotation, ask: Ask) -> None:
        self.tree = Tree(problem.problem_id)
        self.problem = problem
        self.settings = settings
        self.ask = ask
        self.pool = CandidateQueue(settings)

    def run(self) -> Generator[Request, tuple[Rollout, ...], tuple[str, str]]:
        """Probe the question, then search until something ends it; returns (status, reason)."""
        if (yield from self.probe(())) is None:
            return "failed", f"the budget of {self.settings.max_rollouts} rollouts is below k = {self.settings.k}"
        ending = _nothing_to_search(self.tree.nodes[0])
        while ending is None:
            if not self.pool:
                ending = "done", "pool empty"
            elif self.tree.n_searches == self.settings.max_searches:
                ending = "done", "search limit"
            else:
                chosen = self.pool.take()
                chosen.node.searched.add(chosen.place)
                self.tree.n_searches += 1
                if not (yield from self.locate(chosen)):
                    ending = "done", "rollout budget"
        return ending

    def probe(self, prefix: Prefix) -> Generator[Request, tuple[Rollout, ...], Node | None]:
        """The node of a state, sampled with k rollouts unless it was already; None where they exceed the budget."""
        known = self.tree.find(prefix)
        if known is not None:
            return known
        if self.tree.n_rollouts + self.settings.k > self.settings.max_rollouts:
            return None
        rollouts = yield self.ask(self.problem, prefix, self.settings.k)
        node = self.tree.add(prefix, rollouts)
        self.pool.enter(node)
        return node

    def locate(self, chosen: Candidate) -> Generator[Request, tuple[Rollout, ...], bool]:
        """Binary search for the first error of a wrong rollout; False when the budget ended it.

        Positions are numbers of steps: the state at `low` is right, what stands at `high` is wrong. Position len(path)
        is the state with all steps and no answer, len(path) + 1 the whole solution, known to be wrong; so an error that
        lies in the answer alone is told from one in the last step.
        """
        low, high = len(chosen.node.steps), len(chosen.path) + 1
        while high - low > 1:
            middle = (low + high) // 2
            node = yield from self.probe(chosen.path[:middle])
            if node is None:
                return False
            if node.steps in self.tree.right:  # MC > 0 here, or a right completion of another state goes through here
                low = middle
            elif node.counts.is_wrong:
                high = middle
            else:
                return True  # undecided rollouts: where the error lies is not known, and a guess would be a wrong label
        return True


def _nothing_to_search(root: Node) -> tuple[str, str] | None:
    """Status and reason of a tree that ends at its root; None for one that can be searched."""
    counts = root.counts
    if counts.is_wrong:
        return "skipped", "none right"
    if counts.n_correct == 0:
        return "failed", f"no right rollout, and {counts.n_undecided} of {len(root.rollouts)} are undecided"
    if counts.n_correct == counts.n_rollouts:
        return "skipped", "all right"
    return None


def first_error(path: Prefix, right_length: int, wrong: Iterable[Prefix]) -> int | None:
    """The position of a wrong solution's first error, as `_locate` counts positions; None where it is not known.

    `right_length` is how many of its steps are known to be right, `wrong` holds the states that were probed and found
    wrong. The error is located where a wrong state directly follows the last right one, or only the answer is left.
    """
    if right_length == len(path) or (right_length >= 0 and path[: right_length + 1] in wrong):
        return right_length + 1
    return None
