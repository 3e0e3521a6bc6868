"""A critic: an instruction model's verdicts as scores. In: solutions, and how the model is asked. Out: StepScores.

The model is asked for the first error of a solution, `samples` times. The probability of a step is the share of its
verdicts that have no error up to it, so that it never rises along a solution. Each finished call is in a journal before
it is used: neither a kill nor more samples pay for one twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmprm.config.external import Critic
from mmprm.config.offline import Settings
from mmprm.grading.judge import KEYS
from mmprm.llm.batch_runner import BatchRunner
from mmprm.llm.client import opened_client
from mmprm.llm.first_error import NONE, JudgeReply, judge
from mmprm.llm.tasks import LlmTask, Refused
from mmprm.prm.step_scores import Item, StepScores
from mmprm.runtime.errors import UserError
from mmprm.runtime.http_client import Server
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress

_AHEAD = 4  # solutions in memory for each open call: a slow reply must not delay the others


@dataclass(frozen=True)
class Judged:
    """Each item's scores (none where no verdict could be read), and the calls and generated tokens that they took."""

    scores: list[StepScores]
    calls: int
    tokens: int


def judge_items(config: Settings, critic: Critic, items: Sequence[Item], work: Path) -> Judged:
    """Ask the critic about all items; finished calls are in the journal in `work`.

    UserError if the model does not answer, or more than max_unreadable_share of the verdicts cannot be read.
    """
    server = Server("prm.variants, external.critic.url", KEYS, "start it")
    scores: list[StepScores] = []
    unread, last = 0, ""
    with (
        opened_client("critic", config, critic, server, work, "critic") as client,
        Progress("judged", len(items), "solutions") as bar,
    ):
        runner = BatchRunner(None, client, _AHEAD * critic.max_concurrent, critic.max_concurrent)
        for item, verdicts in runner.results(_tasks(items, critic)):
            assert not isinstance(verdicts, Refused)  # `judge` notes a reply that cannot be read, and raises nothing
            read = [reply.position for reply in verdicts if reply.position is not None]
            unread += len(verdicts) - len(read)
            last = next((reply.text for reply in verdicts if reply.position is None), last)
            scores.append(StepScores(probabilities(read, len(item[1]) + (item[2] is not None))))
            bar.update(len(scores), f"{client.tokens.total()} tokens")
    total = len(items) * critic.samples
    if unread > critic.max_unreadable_share * total:
        raise UserError(
            f"critic {critic.shown}: {unread} of {total} verdicts cannot be read, more than max_unreadable_share "
            f"{critic.max_unreadable_share}; the last such reply: {last[-300:]!r}. Use another model, or raise "
            "max_new_tokens, tries or the bound"
        )
    log.info(f"critic {critic.shown}: {client.tokens.total()} tokens, {unread} of {total} verdicts unreadable")
    return Judged(scores, client.used.total(), client.tokens.total())


def _tasks(items: Sequence[Item], critic: Critic) -> Iterator[tuple[Item, LlmTask[list[JudgeReply]]]]:
    for item in items:
        yield item, _verdicts(item, critic)


def _verdicts(item: Item, critic: Critic) -> LlmTask[list[JudgeReply]]:
    problem, steps, answer = item
    replies = []
    for sample in range(critic.samples):
        replies.append((yield from judge(problem, steps, answer, critic, sample)))
    return replies


def probabilities(positions: Sequence[int], markers: int) -> list[float]:
    """Return for each marker the share of the verdicts (positions of first errors) that have no error up to it.

    Empty where there is no verdict.
    """
    if not positions:
        return []
    clean = [markers + 1 if position == NONE else position for position in positions]
    return [sum(first > marker for first in clean) / len(clean) for marker in range(1, markers + 1)]
