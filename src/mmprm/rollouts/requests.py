"""Requests of a sampling stage. In: problem, prefix, number of draws. Out: Request, its seed and key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmprm.config import Config, Sampling
from mmprm.data.problem import Problem
from mmprm.engine.base import Request, request_key, request_seed


class RequestFailed(Exception):  # noqa: N818 (what happened, not a defect)
    """The engine returned no completions for a request; thrown into the search that waits for them, with the reason."""


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
        from mmprm.model.folders import fingerprint

        name = f"{fingerprint(policy)}\x1e{config.prompt.instruction}"
        return cls(name, config.sampling, config.seed, purpose)

    def __call__(
        self,
        problem: Problem,
        prefix: tuple[str, ...],
        n: int,
        attempt: int = 0,
        one_step: bool = False,
        first: int = 0,
    ) -> Request:
        """Make a request for n continuations of the prefix; another attempt draws others.

        first: the number of the first draw. Draw i depends on seed + i alone, in every engine, so that a request in
        parts draws the same as in one.
        """
        seed = request_seed(self.run_seed, problem, prefix, self.purpose, attempt) + first
        key = request_key(self.policy, problem, prefix, n, self.sampling, seed, one_step)
        return Request(key, problem, prefix, n, self.sampling, seed, one_step)
