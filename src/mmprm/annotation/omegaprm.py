"""OmegaPRM (arXiv 2406.06592, section 3; MM-PRM, arXiv 2505.13427, section 3.2) as a generator without side effects.

In: a problem, and a function that makes requests. Out: `omegaprm` yields one request at a time, is sent its graded
rollouts, and returns the tree. Nothing is random here, and of equal pairs the first is searched.
"""

import heapq
import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from itertools import islice

from mmprm.annotation.tree import Node, Tree
from mmprm.config import Annotation
from mmprm.data.problem import Problem
from mmprm.engine.base import Request
from mmprm.rollouts.rollout import Prefix, ProblemSkipped, RequestFailed, Rollout

Ask = Callable[[Problem, Prefix, int], Request]
Search = Generator[Request, tuple[Rollout, ...], Tree]


@dataclass(frozen=True)
class Candidate:
    """A pair (state, wrong rollout) that may be searched; `n_words` is len(r) of OmegaPRM, equation 3."""

    node: Node
    index: int  # of the rollout, among those of the node
    path: Prefix  # the steps of the state and of the rollout
    n_words: int


_Pair = tuple[float, int, Candidate]  # -Q, order of entry
_State = tuple[float, int, list[_Pair]]  # -Q and order of entry (unique) of the best pair, then all pairs


def q_value(mc: float, n_words: int, settings: Annotation) -> float:
    """Compute Q(s, r) = alpha^(1 - MC(s)) * beta^(len(r) / L) (OmegaPRM, equation 3): high MC, short rollouts first."""
    return float(settings.alpha ** (1 - mc) * settings.beta ** (n_words / settings.length_scale))


def u_value(visits: int, total_visits: int, settings: Annotation) -> float:
    """Compute U(s) = c_puct * sqrt(sum of all N) / (1 + N(s)) (OmegaPRM, equation 4): seldom searched states first."""
    return settings.c_puct * math.sqrt(total_visits) / (1 + visits)


class CandidateQueue:
    """The pairs that wait for a search; `pop` removes the one with the highest Q + U, of equal ones the first.

    U changes for every pair with each search, but alike for all states of equal N(s). So each state's pairs are sorted
    by Q, the states of each N are a heap by their best pair, and the choice is among the tops of the heaps: the cost is
    logarithmic in the number of pairs (N never exceeds k), where a scan would be linear.
    """

    def __init__(self, settings: Annotation) -> None:
        self._settings = settings
        self._by_visits: dict[int, list[_State]] = {}
        self._seen: set[tuple[Prefix, str | None]] = set()
        self._waiting = self._n_pushed = self._total_visits = 0

    def __len__(self) -> int:
        return self._waiting

    def push(self, node: Node) -> None:
        """Add the wrong rollouts of a state with 0 < MC < 1.

        Only parsed rollouts that were graded as incorrect; of equal solutions only the first, since a second search of
        it would find the same error.
        """
        mc = node.counts.mc
        if mc is None or not 0 < mc < 1:
            return
        pairs = []
        for index, rollout in enumerate(node.rollouts):
            path = node.steps + rollout.steps
            known = (path, rollout.answer) in self._seen
            if rollout.verdict != "incorrect" or known or len(path) > self._settings.max_steps:
                continue
            self._seen.add((path, rollout.answer))
            n_words = sum(len(part.split()) for part in (*rollout.steps, rollout.answer or ""))
            # Q is negated, and followed by the order of entry: the least pair is the best.
            pair = Candidate(node, index, path, n_words)
            pairs.append((-q_value(mc, n_words, self._settings), self._n_pushed, pair))
            self._n_pushed += 1
        if pairs:
            self._waiting += len(pairs)
            self._push_pairs(node, sorted(pairs, key=lambda pair: pair[:2], reverse=True))

    def pop(self) -> Candidate:
        """Remove the best pair, and count N(s) of its state up by one; IndexError where none waits."""
        if not self._waiting:
            raise IndexError("no pair waits for a search")

        def rank(visits: int) -> tuple[float, int]:
            minus_q, entry, _ = self._by_visits[visits][0]
            return u_value(visits, self._total_visits, self._settings) - minus_q, -entry

        visits = max(self._by_visits, key=rank)
        _, _, pairs = heapq.heappop(self._by_visits[visits])
        if not self._by_visits[visits]:
            del self._by_visits[visits]
        chosen = pairs.pop()[-1]
        self._waiting -= 1
        chosen.node.visits += 1
        self._total_visits += 1
        if pairs:
            self._push_pairs(chosen.node, pairs)
        return chosen

    def _push_pairs(self, node: Node, pairs: list[_Pair]) -> None:
        """Add a state with its pairs, the best one last."""
        minus_q, entry, _ = pairs[-1]
        heapq.heappush(self._by_visits.setdefault(node.visits, []), (minus_q, entry, pairs))


def omegaprm(problem: Problem, settings: Annotation, ask: Ask) -> Search:
    """Search one problem. `ask(problem, prefix, k)` makes a request; a request that fails ends the tree as failed.

    The tree's status is done (reason: what ended it), skipped (all or none of the root's rollouts are right, or the
    policy cannot be shown the problem) or failed.
    """
    growth = _Growth(problem, settings, ask)
    try:
        growth.tree.status, growth.tree.reason = yield from growth.run()
    except ProblemSkipped as reason:
        growth.tree.status, growth.tree.reason = "skipped", str(reason)
    except RequestFailed as error:
        growth.tree.status, growth.tree.reason = "failed", str(error)
    return growth.tree


class _Growth:
    """A tree and what its search needs; the methods are parts of the generator."""

    def __init__(self, problem: Problem, settings: Annotation, ask: Ask) -> None:
        self.problem, self.settings, self.ask = problem, settings, ask
        self.tree, self.queue = Tree(problem.problem_id), CandidateQueue(settings)

    def run(self) -> Generator[Request, tuple[Rollout, ...], tuple[str, str]]:
        """Probe the question and a few solutions, then search until something ends it; return (status, reason)."""
        if (yield from self.probe(())) is None:
            return "failed", f"the budget of {self.settings.max_rollouts} rollouts is below k = {self.settings.k}"
        root = self.tree.nodes[0].counts
        if root.is_wrong:
            return "skipped", "none right"
        if root.n_correct == 0:
            size = root.n_rollouts + root.n_undecided
            return "failed", f"no right rollout, and {root.n_undecided} of {size} are undecided"
        if root.n_correct == root.n_rollouts:
            return "skipped", "all right"
        has_budget = yield from self.probe_solutions()
        while has_budget and self.queue and self.tree.n_searches < self.settings.max_searches:
            chosen = self.queue.pop()
            chosen.node.searched.add(chosen.index)
            self.tree.n_searches += 1
            has_budget = yield from self.locate(chosen)
        return "done", "rollout budget" if not has_budget else "search limit" if self.queue else "pool empty"

    def probe(self, prefix: Prefix) -> Generator[Request, tuple[Rollout, ...], Node | None]:
        """Return the node of a state, sampled with k rollouts if it is new; None where these exceed the budget."""
        known = self.tree.find(prefix)
        if known is not None:
            return known
        if self.tree.n_rollouts + self.settings.k > self.settings.max_rollouts:
            return None
        rollouts = yield self.ask(self.problem, prefix, self.settings.k)
        node = self.tree.add(prefix, rollouts)
        self.queue.push(node)
        return node

    def probe_solutions(self) -> Generator[Request, tuple[Rollout, ...], bool]:
        """Probe every state of the first `dense_solutions` solutions of the question; False if the budget ends it.

        They are taken in the order in which they were drawn, whatever became of them: a choice by their verdicts would
        bias the MC values. A state after an error is probed like any other.
        """
        solutions = (r.steps for r in self.tree.nodes[0].rollouts if r.verdict in ("correct", "incorrect"))
        fitting = dict.fromkeys(steps for steps in solutions if len(steps) <= self.settings.max_steps)
        for steps in islice(fitting, self.settings.dense_solutions):
            for length in range(1, len(steps) + 1):
                if (yield from self.probe(steps[:length])) is None:
                    return False
        return True

    def locate(self, chosen: Candidate) -> Generator[Request, tuple[Rollout, ...], bool]:
        """Search a wrong rollout for its first error by bisection (OmegaPRM, section 3); False if the budget ends it.

        Positions are numbers of steps: the state at `low` is right, the one at `high` is wrong. Position len(path) is
        the state with all steps and no answer, len(path) + 1 the whole solution, known to be wrong; so an error in the
        answer alone is distinguished from one in the last step.
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
                return True  # undecided rollouts: the position is unknown, and a guess would be a wrong label
        return True


def first_error(path: Prefix, right_length: int, wrong: Iterable[Prefix]) -> int | None:
    """Return the position of a wrong solution's first error, as `locate` counts positions; None where it is unknown.

    right_length: how many of its steps are known to be right; wrong: the states that were probed and are wrong. The
    error is located where a wrong state directly follows the last right one, or only the answer is left.
    """
    if right_length == len(path) or (right_length >= 0 and path[: right_length + 1] in wrong):
        return right_length + 1
    return None
