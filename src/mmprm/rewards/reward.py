"""Rewards of completions by a PRM. In: prompts, images, completions. Out: a value a step, and one a completion.

    from mmprm.rewards import RewardModel, reward
    with RewardModel("http://127.0.0.1:8000") as prm:  # or a PRM's folder
        reward(["What is 2 + 3?"], None, ["<step>2 + 3 = 5</step><answer>5</answer>"], prm)

The scalar is the least of the step values by default. PURE (arXiv 2504.15275) found that a policy which is rewarded
with the sum of step values learns to write what the PRM likes and no answer, within some hundred updates, and that the
least value does not invite this; there is no sum here. Even so, mix in a verifiable reward where there is one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from mmprm.client import Service, solution
from mmprm.config.offline import read_offline_settings
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.model import folders
from mmprm.model.step_text import Status, has_control, parse
from mmprm.prm.step_scores import Item, Scorer, StepScores
from mmprm.runtime.errors import UserError

Form = Literal["min", "last", "mean"]
_FORMS = {"min": AGGREGATES["min"], "last": AGGREGATES["last"], "mean": AGGREGATES["average"]}
Split = Callable[[str], tuple[tuple[str, ...], str | None] | None]


@dataclass(frozen=True)
class Rewarded:
    """A completion's reward: P(yes) after each step, and after the answer if there is one; and the scalar of them.

    steps is empty, and value that of `unparsed`, if the completion cannot be read as steps or is too long.
    """

    steps: list[float]
    value: float


def tagged(completion: str) -> tuple[tuple[str, ...], str | None] | None:
    """Read a completion as a policy of a run writes it, `<step>…</step>…<answer>…</answer>`; None if it is not one."""
    parsed = parse(completion)
    return (parsed.steps, parsed.answer) if parsed.status == Status.OK else None


def paragraphs(completion: str) -> tuple[tuple[str, ...], str | None] | None:
    """Read each paragraph as a step, without an answer apart: for policies that write no tags."""
    steps = tuple(part.strip() for part in completion.split("\n\n") if part.strip())
    return (steps, None) if steps and not any(map(has_control, steps)) else None


class RewardModel:
    """A PRM to reward with, on a server of `mmprm serve` or here, by transformers."""

    def __init__(self, where: str | Path, config: Path | None = None) -> None:
        """Open the PRM. where: the server's address, or a PRM's folder; config: of a folder, as for `mmprm score`.

        UserError as by `Service`, or if the folder is no whole PRM.
        """
        self.service: Service | None = None
        if str(where).startswith(("http://", "https://")):
            self.service = Service(str(where))
            self.instruction = self.service.contract.instruction
            self.scorer: Scorer = self.service
            return
        from mmprm.prm.scorers import TreeScorer

        settings = read_offline_settings(config).fitted(folders.check_manifest(Path(where)))
        self.instruction = settings.prompt.instruction
        engine = settings.engine
        self.scorer = TreeScorer(Path(where), self.instruction, engine.dtype, engine.max_model_len)

    async def score_async(self, items: Sequence[Item]) -> list[StepScores]:
        """Score without blocking the event loop."""
        if self.service is not None:
            return await self.service.score_async(items)
        return await asyncio.to_thread(self.scorer.score, items)

    def close(self) -> None:
        """Free the model, or end the connection."""
        self.scorer.close()

    def __enter__(self) -> RewardModel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


def reward(
    prompts: Sequence[Any],
    images: Sequence[Any] | None,
    completions: Sequence[Any],
    prm: RewardModel,
    form: Form = "min",
    unparsed: float = 0.0,
    split: Split = tagged,
) -> list[Rewarded]:
    """Reward completions, one batch. images: a list a prompt (bytes, paths, PIL images, the hub's dictionaries).

    A prompt is a question, or a chat whose last user turn holds it (and perhaps its pictures); an instruction of the
    PRM's training at its end is not shown twice. A completion is a text, or a chat of one assistant turn.
    unparsed: the reward of a completion that `split` cannot read. Raises UserError where the PRM cannot be asked.
    """
    items, places = _items(prompts, images, completions, prm, split)
    return _rewarded(len(completions), places, prm.scorer.score(items), form, unparsed)


async def reward_async(
    prompts: Sequence[Any],
    images: Sequence[Any] | None,
    completions: Sequence[Any],
    prm: RewardModel,
    form: Form = "min",
    unparsed: float = 0.0,
    split: Split = tagged,
) -> list[Rewarded]:
    """Reward as `reward` does, without blocking the event loop."""
    items, places = _items(prompts, images, completions, prm, split)
    return _rewarded(len(completions), places, await prm.score_async(items), form, unparsed)


def _items(
    prompts: Sequence[Any], images: Sequence[Any] | None, completions: Sequence[Any], prm: RewardModel, split: Split
) -> tuple[list[Item], list[int]]:
    """Return what is scored, and whose completion each is."""
    if len({len(prompts), len(completions), len(prompts) if images is None else len(images)}) > 1:
        raise UserError("reward: as many prompts as completions are needed, and a list of images for each")
    items: list[Item] = []
    places = []
    for place, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        if (read := split(_text(completion))) is None:
            continue
        question, shown = _question(prompt, prm.instruction)
        given = images[place] if images is not None else None
        if given is not None and not isinstance(given, list | tuple):
            given = [given]
        items.append(solution(question, *read, images=given or shown))
        places.append(place)
    return items, places


def _rewarded(
    count: int, places: Sequence[int], scores: Sequence[StepScores], form: Form, unparsed: float
) -> list[Rewarded]:
    if form not in _FORMS:
        raise UserError(f"reward: form {form!r} is none of {', '.join(_FORMS)}")
    rewards = [Rewarded([], unparsed)] * count
    for place, score in zip(places, scores, strict=True):
        value = _FORMS[form](score.probabilities)
        rewards[place] = Rewarded(score.probabilities, value if math.isfinite(value) else unparsed)
    return rewards


def _question(prompt: Any, instruction: str) -> tuple[str, list[Any]]:
    """Return the question and the pictures of a prompt."""
    pictures: list[Any] = []
    if isinstance(prompt, str):
        text = prompt
    else:
        asked = [message for message in prompt if message["role"] == "user"]
        if not asked:
            raise UserError("reward: a prompt has no user turn")
        content = asked[-1]["content"]
        text = _text(asked[-1:])
        if not isinstance(content, str):
            pictures = [part["image"] for part in content if part.get("type") == "image" and part.get("image")]
    return text.removesuffix(f"\n{instruction}") if instruction else text, pictures


def _text(message: Any) -> str:
    """Return the text of a completion or a turn."""
    if isinstance(message, str):
        return message
    content = message[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")
