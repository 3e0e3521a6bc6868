"""The protocol of every engine: submit requests, step, get finished ones. In: Request. Out: Finished.

The engines are vllm_engine (CPU and CUDA), server_engine (vLLM elsewhere), transformers_engine (any torch device) and
scripted (a known policy, for tests). A caller keeps submitting while it steps; the order in which requests finish
carries no meaning.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from mmprm.config import Sampling
from mmprm.data.problem import Problem


@dataclass(frozen=True)
class Request:
    """Sample `n` continuations of the steps `prefix` of a solution of `problem`, in the assistant's own turn.

    one_step: each ends after its first step (or with the answer), for a search that judges step by step.
    """

    key: str
    problem: Problem = field(repr=False)
    prefix: tuple[str, ...]
    n: int
    sampling: Sampling
    seed: int
    one_step: bool = False


@dataclass(frozen=True)
class Completion:
    """The text after the prefix.

    finish_reason: stop (the model ended its turn or closed its answer, or the requested single step) or length.
    """

    text: str
    n_tokens: int
    finish_reason: str


MOST_TOKENS = 2**31 - 1  # of one completion: what tables can hold


def unusable(completion: Completion) -> str | None:
    """Return why a completion cannot be kept, None where it can: tables hold Unicode text and 32-bit counts.

    For what foreign servers and old journals say: a JSON text may hold half of a surrogate pair, which no file can.
    """
    text, count = completion.text, completion.n_tokens
    if not isinstance(text, str) or not isinstance(completion.finish_reason, str):
        return "a completion that is no text"
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MOST_TOKENS:
        return f"a completion of {str(count)[:20]} tokens"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a completion whose text is no Unicode (a lone surrogate)"
    return None


@dataclass(frozen=True)
class Finished:
    """All n completions of one request, in the order of their draws; `error` says why there are none."""

    key: str
    completions: tuple[Completion, ...]
    error: str | None = None


@dataclass
class EngineStats:
    """Running totals since the engine started. `steps` stays 0 if the engine cannot count its own steps."""

    requests: int = 0
    completions: int = 0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    steps: int = 0

    @property
    def mean_batch(self) -> float | None:
        """Sequences that grew by a token in a step, on average."""
        return self.generated_tokens / self.steps if self.steps else None

    @property
    def cached_share(self) -> float | None:
        """The share of prompt tokens that came from the prefix cache."""
        return self.cached_prompt_tokens / self.prompt_tokens if self.prompt_tokens else None


class Engine(Protocol):
    """One model that samples. Not thread-safe: one caller submits and steps."""

    stats: EngineStats

    def submit(self, request: Request) -> None:
        """Accept a request; it returns from a later `step`."""

    def step(self) -> list[Finished]:
        """Work a little, and return what finished (perhaps nothing)."""

    @property
    def pending(self) -> int:
        """Requests accepted and not yet returned."""
        ...

    def close(self) -> None:
        """Free the model. The engine cannot be used afterwards."""


def request_seed(run_seed: int, problem: Problem, prefix: tuple[str, ...], purpose: str, attempt: int = 0) -> int:
    """Return the seed of a draw, in [0, 2^31): a hash of what is drawn, whatever the shards, order or interruptions."""
    parts = [str(run_seed), problem.problem_id, problem.fingerprint, purpose, str(attempt), *prefix]
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") % 2**31


def request_key(
    policy: str,
    problem: Problem,
    prefix: tuple[str, ...],
    n: int,
    sampling: Sampling,
    seed: int,
    one_step: bool = False,
) -> str:
    """Return the content address of a request: a hash of what decides its completions, and of nothing else.

    `policy` is the fingerprint of the policy folder and of the prompt text, so that a changed one never reuses a draw.
    """
    parts = [policy, problem.fingerprint, str(n), repr(sorted(sampling)), str(seed), *prefix]
    parts += ["\x1done step"] if one_step else []
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
