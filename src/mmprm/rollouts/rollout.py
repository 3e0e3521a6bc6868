"""A sampling stage's requests, and the rollouts and counts that it gets back for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmprm.config import Config, Sampling
from mmprm.data.problem import Problem
from mmprm.engine.base import Completion, Request, request_key, request_seed
from mmprm.model.folders import fingerprint
from mmprm.model.step_text import Parsed, Status

Prefix = tuple[str, ...]


class RequestFailed(Exception):  # noqa: N818 (what happened, not a defect)
    """The engine returned no completions for a request; thrown into the search that waits for them, with the reason."""


class ProblemSkipped(RequestFailed):
    """The policy cannot be shown the problem, so that nothing was asked of the engine."""


@dataclass(frozen=True)
class RequestFactory:
    """Makes requests of one stage: `purpose` makes its draws differ from those of other stages."""

    policy: str
    sampling: Sampling
    run_seed: int
    purpose: str

    @classmethod
    def of(cls, config: Config, policy: Path, purpose: str) -> RequestFactory:
        """Make the factory of a run's configuration and policy folder."""
        name = f"{fingerprint(policy)}\x1e{config.prompt.instruction}"
        return cls(name, config.sampling, config.seed, purpose)

    def __call__(
        self, problem: Problem, prefix: Prefix, n: int, attempt: int = 0, one_step: bool = False, first: int = 0
    ) -> Request:
        """Make a request for n continuations of the prefix; another attempt draws others.

        first: the number of the first draw. Draw i depends on seed + i alone, so parts of a request draw the same.
        """
        seed = request_seed(self.run_seed, problem, prefix, self.purpose, attempt) + first
        key = request_key(self.policy, problem, prefix, n, self.sampling, seed, one_step)
        return Request(key, problem, prefix, n, self.sampling, seed, one_step)


@dataclass(frozen=True, slots=True)
class Rollout:
    """One graded completion; the fields are the columns of the tables. `steps` are those after the state's prefix."""

    text: str
    steps: Prefix
    answer: str | None
    status: str  # step_text.Status
    verdict: str  # grading.Verdict
    method: str
    n_tokens: int
    finish_reason: str

    def row(self) -> dict[str, Any]:
        """Return the columns that every table of completions has."""
        return {name: getattr(self, name) for name in self.__slots__} | {"steps": list(self.steps)}


Rollouts = tuple[Rollout, ...]


def rollout_of(completion: Completion, parsed: Parsed, verdict: tuple[str, str]) -> Rollout:
    """Combine a completion, its parsed text and its (verdict, method), which counts only where the text parsed."""
    label, method = verdict if parsed.status == Status.OK else ("unparsed", "parse")
    return Rollout(
        text=completion.text,
        steps=parsed.steps,
        answer=parsed.answer,
        status=str(parsed.status),
        verdict=label,
        method=method,
        n_tokens=completion.n_tokens,
        finish_reason=completion.finish_reason,
    )


@dataclass(frozen=True)
class Counts:
    """Results of a state's rollouts. Undecided ones are counted apart, and never as wrong (defect 2)."""

    n_rollouts: int
    n_correct: int
    n_unparsed: int
    n_undecided: int

    @property
    def mc(self) -> float | None:
        """The MC value: n_correct / n_rollouts; None where no rollout has a verdict."""
        return self.n_correct / self.n_rollouts if self.n_rollouts else None

    @property
    def is_wrong(self) -> bool:
        """Whether no right answer follows. An undecided rollout might be right, so all must be decided."""
        return self.n_rollouts > 0 and self.n_correct == 0 and self.n_undecided == 0


def count(verdicts: Sequence[str]) -> Counts:
    """Count the verdicts of a state's rollouts."""
    undecided = verdicts.count("undecided")
    return Counts(len(verdicts) - undecided, verdicts.count("correct"), verdicts.count("unparsed"), undecided)
