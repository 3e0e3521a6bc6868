"""An engine without a model, for tests: it replays a known policy. Draw i of a request has the seed request.seed + i.

`ToyPolicy` solves the problems of `toy_problem`, sums in several steps, with errors at a known rate; `step_is_right`
tells whether a step is free of them.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from mmprm.data.problem import Problem
from mmprm.engine.base import Completion, EngineStats, Finished, Request
from mmprm.model.step_text import STEP_CLOSE, render_solution

Policy = Callable[[Problem, tuple[str, ...], random.Random], str]
_SUM = re.compile(r"(\d+) \+ (\d+) = (\d+)")


class ScriptedEngine:
    """`policy(problem, prefix, rng)` writes the text after the prefix.

    `shuffle`: finish requests in an order drawn with this seed instead of the order of submission. `fail` returns
    the error of requests that must fail. `at_once`: how many requests a step finishes.
    """

    def __init__(
        self,
        policy: Policy,
        shuffle: int | None = None,
        fail: Callable[[Request], str | None] = lambda request: None,
        at_once: int = 8,
    ) -> None:
        self.stats = EngineStats()
        self.sampled: list[str] = []  # keys of the requests that were sampled, in order
        self.most_pending = 0
        self._policy = policy
        self._order = None if shuffle is None else random.Random(shuffle)
        self._fail = fail
        self._at_once = at_once
        self._waiting: list[Request] = []

    @property
    def pending(self) -> int:
        """Requests accepted and not yet returned."""
        return len(self._waiting)

    def submit(self, request: Request) -> None:
        """Accept a request."""
        self._waiting.append(request)
        self.most_pending = max(self.most_pending, self.pending)

    def step(self) -> list[Finished]:
        """Finish some of the requests that wait."""
        finished = []
        for _ in range(min(self._at_once, self.pending)):
            index = 0 if self._order is None else self._order.randrange(self.pending)
            finished.append(self._sample(self._waiting.pop(index)))
        return finished

    def close(self) -> None:
        """Do nothing: there is no model to free."""

    def _sample(self, request: Request) -> Finished:
        error = self._fail(request)
        if error is not None:
            return Finished(request.key, (), error)
        completions = []
        for draw in range(request.n):
            text = self._policy(request.problem, request.prefix, random.Random(request.seed + draw))
            if request.one_step:
                text = "".join(text.partition(STEP_CLOSE)[:2])
            completions.append(Completion(text, len(text.split()), "stop"))
        self.sampled.append(request.key)
        self.stats.requests += 1
        self.stats.completions += request.n
        self.stats.generated_tokens += sum(completion.n_tokens for completion in completions)
        return Finished(request.key, tuple(completions))


@dataclass(frozen=True)
class ToyPolicy:
    """Adds the terms of a toy problem one by one: a step is `5 + 4 = 9`, the answer the last sum.

    With probability `error` a step's sum is 1 to 3 too high. Errors never cancel, so the MC value of a state with a
    wrong step is exactly 0. With probability `wrong_answer` the answer differs from the last sum; with probability
    `garbage` the solution breaks off; `wordings` is the number of ways to write one step.
    """

    error: float = 0.15
    wrong_answer: float = 0.05
    garbage: float = 0.0
    wordings: int = 1

    def __call__(self, problem: Problem, prefix: tuple[str, ...], rng: random.Random) -> str:
        terms = _terms(problem)
        total = int(_SUM.findall(prefix[-1])[-1][2]) if prefix else terms[0]
        steps = []
        for term in terms[len(prefix) + 1 :]:
            slip = rng.randint(1, 3) if rng.random() < self.error else 0
            wording = ("", "so ", "then ", "now ", "next ")[rng.randrange(self.wordings)]
            steps.append(f"{wording}{total} + {term} = {total + term + slip}")
            total += term + slip
        if rng.random() < self.wrong_answer:
            total += 1
        text = render_solution(steps, str(total))
        return text[: len(text) // 2] if rng.random() < self.garbage else text


def toy_problem(number: int, n_terms: int = 6) -> Problem:
    """Problem `toy-<number>`: add n_terms numbers, drawn by its number, in n_terms - 1 steps."""
    rng = random.Random(number)
    terms = [rng.randint(2, 40) for _ in range(n_terms)]
    return Problem(
        problem_id=f"toy-{number:04d}",
        source="toy",
        question="Add: " + ", ".join(map(str, terms)),
        answer=str(sum(terms)),
        answer_type="number",
    )


def step_is_right(step: str) -> bool:
    """Is the sum of a toy policy's step right?"""
    left, right, total = _SUM.findall(step)[-1]
    return int(left) + int(right) == int(total)


def _terms(problem: Problem) -> list[int]:
    return [int(term) for term in re.findall(r"\d+", problem.question)]
