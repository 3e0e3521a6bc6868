"""Decoding that a PRM guides, as generators: they yield requests, are sent rollouts, and return solutions.

In: a problem, how to ask and how to score. Out: a DecodeResult. Nothing is random or loaded here. Beam search over
steps (Snell et al., arXiv 2408.03314), diverse verifier tree search (Beeching et al., 2024), and adaptive computation
allocation (BetaPRM, arXiv 2605.15529).
"""

import re
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, cycle, islice
from typing import Any

from mmprm.config.experiments import Adaptive, Strategy, TreeDecoding
from mmprm.data.problem import Problem
from mmprm.engine.base import Request
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.model.step_text import Status, parse_block, render_solution
from mmprm.prm.step_scores import StepScores, share_above
from mmprm.rollouts.rollout import Prefix, Rollout

Partial = tuple[Prefix, str | None]  # steps, and the answer of a whole solution
Ask = Callable[..., Request]  # as RequestFactory makes them
Score = Callable[[Problem, Sequence[Partial]], Sequence[StepScores]]

_TOKEN = re.compile(r"[^\W_]+|[^\w\s]|_")
_WORD = re.compile(r"[^\W\d_]+|[,.;:]")
_FRAME = 4  # words around a repeat, such as "so we get"


@dataclass(frozen=True)
class Solution:
    """A whole solution; steps and text of the rollout include the prefix."""

    rollout: Rollout
    scores: StepScores


@dataclass
class DecodeResult:
    """All whole solutions in the order of sampling, and what was sampled for them."""

    solutions: list[Solution] = field(default_factory=list)
    sampled_tokens: int = 0
    requests: int = 0

    def count(self, rollouts: Sequence[Rollout]) -> None:
        """Count a request's rollouts."""
        self.requests += 1
        self.sampled_tokens += sum(rollout.n_tokens for rollout in rollouts)

    def best(self, aggregate: str) -> Solution | None:
        """Return the solution with the highest aggregate, of equal ones the first; None where none has scores."""
        scored = [solution for solution in self.solutions if solution.scores.probabilities]
        return max(scored, key=lambda solution: AGGREGATES[aggregate](solution.scores.probabilities), default=None)


Decoding = Generator[Any, Any, DecodeResult]


def decode(problem: Problem, strategy: Strategy, primary: str, ask: Ask, score: Score) -> Decoding:
    """Make the strategy's generator; primary: the aggregate that ranks whole solutions."""
    if isinstance(strategy, Adaptive):
        return adaptive(problem, strategy, primary, ask, score)
    return tree_search(problem, strategy, ask, score)


@dataclass(frozen=True)
class _State:
    steps: Prefix = ()
    rollout: Rollout | None = None  # of the answer, where the solution is whole

    @property
    def partial(self) -> Partial:
        return self.steps, None if self.rollout is None else self.rollout.answer


def tree_search(problem: Problem, settings: TreeDecoding, ask: Ask, score: Score) -> Decoding:
    """Search over steps. Beam search: one tree that keeps n / width states; DVTS: n / width trees that keep one each.

    A kept state that is a whole solution frees its slot. Where a tree has fewer distinct states than slots, the best
    ones are sampled more often. Steps that repeat earlier ones (`repeats`) are kept only where there are no others.
    """
    slots, guide = settings.n // settings.width, AGGREGATES[settings.guide]
    trees = [[_State()] * slots] if settings.kind == "beam" else [[_State()] for _ in range(slots)]
    result = DecodeResult()
    for _ in range(settings.max_steps):
        wanted = Counter(state.steps for state in chain(*trees))
        if not wanted:
            break
        answered = yield [ask(problem, steps, times * settings.width, one_step=True) for steps, times in wanted.items()]
        for rollouts in answered:
            result.count(rollouts)
        draws = {steps: iter(rollouts) for steps, rollouts in zip(wanted, answered, strict=True)}
        grown = [_children(tree, draws, settings.width, settings.repeats) for tree in trees]
        every = list({state.partial: state for state in chain(*grown)}.values())
        scores = dict(zip((state.partial for state in every), score(problem, [s.partial for s in every]), strict=True))
        for index, children in enumerate(grown):
            # sorted() is stable: of equal states the first that was sampled.
            ranked = sorted(children, key=lambda state: -guide(scores[state.partial].probabilities))
            best = ranked[: len(trees[index])]
            solved = [state for state in best if state.rollout is not None]
            result.solutions += [_solution(state, scores[state.partial]) for state in solved]
            growing = [state for state in best if state.rollout is None]
            trees[index] = list(islice(cycle(growing), len(trees[index]) - len(solved)))
    return result


def _children(tree: Sequence[_State], draws: dict[Prefix, Any], width: int, with_repeats: bool) -> list[_State]:
    """List the distinct states one step after those of a tree; texts that are no step and no answer are left out."""
    children: dict[Partial, _State] = {}
    repeated: dict[Partial, _State] = {}
    for state in tree:
        for rollout in islice(draws[state.steps], width):
            block = parse_block(rollout.text, rollout.finish_reason)
            child = None
            if rollout.status == Status.OK and block is not None and block[0] == "answer":
                child = _State(state.steps, rollout)
            elif block is not None and block[0] == "step":
                child = _State((*state.steps, block[1]))
            if child is not None:
                again = not with_repeats and child.rollout is None and repeats(child.steps[-1], state.steps)
                (repeated if again else children).setdefault(child.partial, child)
    return list((children or repeated).values())


def _solution(state: _State, scores: StepScores) -> Solution:
    assert state.rollout is not None
    text = render_solution(state.steps, state.rollout.answer)
    return Solution(replace(state.rollout, steps=state.steps, text=text, finish_reason="stop"), scores)


def adaptive(problem: Problem, settings: Adaptive, primary: str, ask: Ask, score: Score) -> Decoding:
    """Sample a batch; stop once the best solution is reliable; else continue from before its first doubtful step.

    A solution that starts from another's steps costs only the tokens after them.
    """
    result = DecodeResult()
    prefix: Prefix = ()
    drawn = 0
    attempts: Counter[Prefix] = Counter()
    while drawn < settings.n:
        n = min(settings.batch, settings.n - drawn)
        rollouts = yield ask(problem, prefix, n, attempt=attempts[prefix])
        attempts[prefix] += 1
        drawn += n
        result.count(rollouts)
        solved = [_State(prefix + rollout.steps, rollout) for rollout in rollouts if rollout.status == Status.OK]
        scores = score(problem, [state.partial for state in solved])
        result.solutions += [_solution(state, p) for state, p in zip(solved, scores, strict=True)]
        best = result.best(primary)
        if best is None:
            continue
        if is_reliable(best.scores, settings):
            break
        doubtful = next((i for i, p in enumerate(best.scores.probabilities) if p < settings.doubt), 0)
        prefix = best.rollout.steps[:doubtful]
    return result


def is_reliable(scores: StepScores, settings: Adaptive) -> bool:
    """Tell whether P(yes) at the answer is stop_at or more; of a PRM of counts, the lower bound of its belief.

    That is the quantile 1 - credibility of Beta(p κ, (1 - p) κ): share_above(stop_at, p, κ) >= credibility. In training
    an answer's verdict is one rollout, whose likelihood is p whatever κ is: κ is learnt at steps, and its value at the
    answer is what the network generalises from them.
    """
    p = scores.probabilities[-1]
    if scores.concentrations is None:
        return p >= settings.stop_at
    return share_above(settings.stop_at, p, scores.concentrations[-1]) >= settings.credibility


def repeats(step: str, before: Sequence[str]) -> bool:
    """Tell whether an earlier step contains the step, or the step is an earlier one with a few words around it.

    Case, spaces and punctuation at the ends do not count; numbers, names and signs do. A PRM of MC values judges the
    state that a step leads to, not what the step adds to it: a right step stays right when it is repeated, while a new
    one may be wrong. A search that follows such a PRM alone fills its paths with repeats.
    """
    tokens = _spaced(step)
    for earlier in map(_spaced, before):
        head, found, tail = tokens.partition(earlier)
        around = [*head.split(), *tail.split()]
        framed = found.strip() and len(around) <= _FRAME and all(_WORD.fullmatch(token) for token in around)
        if tokens in earlier or framed:
            return True
    return False


def _spaced(step: str) -> str:
    """Return the tokens of a step between spaces, without punctuation at the end."""
    tokens = _TOKEN.findall(step.casefold())
    while tokens and tokens[-1] in ".,;:":
        tokens.pop()
    return " ".join(["", *tokens, ""]) if tokens else " "
