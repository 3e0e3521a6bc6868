"""A PRM as a reward function of TRL's GRPOTrainer (and RLOO's). In: its keyword arguments. Out: a float a completion.

    GRPOTrainer(model, reward_funcs=[prm_reward("http://127.0.0.1:8000")], …)

A dataset's columns come as lists. `question` is read in place of the prompt where there is one (a prompt that is a
text already in the chat's form has no question to be found in it), `images` or `image` are its pictures.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmprm.rewards.reward import Form, RewardModel, Split, reward, tagged


def prm_reward(
    where: str | Path, form: Form = "min", unparsed: float = 0.0, split: Split = tagged
) -> Callable[..., list[float]]:
    """Return the reward function of a PRM, on a server or in a folder; see `reward` for the options.

    It logs the share of completions that can be read as steps, and their mean number of steps.
    """
    prm = RewardModel(where)

    def prm_value(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        asked = columns.get("question") or prompts
        found = reward(asked, _images(columns), completions, prm, form, unparsed, split)
        read = [one.steps for one in found if one.steps]
        if log := columns.get("log_metric"):
            log("prm/parsed", len(read) / max(1, len(found)))
            log("prm/steps", statistics.mean(map(len, read)) if read else 0.0)
        return [one.value for one in found]

    prm_value.__name__ = f"prm_{form}"  # TRL names the curve after it
    return prm_value


def _images(columns: dict[str, Any]) -> Sequence[Any] | None:
    images: Sequence[Any] | None = columns.get("images") or columns.get("image")
    return images
