"""A PRM as a reward of ms-swift. In: completions and the dataset's columns. Out: a float a completion.

    MMPRM_REWARD_PRM=http://127.0.0.1:8000 swift rlhf --rlhf_type grpo \\
        --external_plugins …/mmprm/rewards/swift.py --reward_funcs mmprm_min

The question is the last user turn of `messages`; `images` are its pictures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from mmprm.rewards.reward import Form, RewardModel, reward
from mmprm.runtime.errors import UserError

WHERE = "MMPRM_REWARD_PRM"


class PrmReward:
    """swift's ORM, by its methods: made once with the training's arguments, and called with each batch."""

    form: ClassVar[Form] = "min"

    def __init__(self, args: Any = None, **_: Any) -> None:
        if not os.environ.get(WHERE):
            raise UserError(f"{WHERE} is not set: to a server of `mmprm serve`, or a PRM's folder")
        self.args = args
        self._prm = RewardModel(os.environ[WHERE])

    def __call__(self, completions: Sequence[str], **columns: Any) -> list[float]:
        """Reward each completion; `messages` and perhaps `images` are columns."""
        found = reward(columns["messages"], columns.get("images"), completions, self._prm, self.form)
        return [one.value for one in found]


class PrmLastReward(PrmReward):
    """The value after the last step or answer."""

    form: ClassVar[Form] = "last"


class PrmMeanReward(PrmReward):
    """The mean over the steps."""

    form: ClassVar[Form] = "mean"


def register(orms: dict[str, Any]) -> None:
    """Enter the rewards into swift's table by name."""
    orms |= {"mmprm_min": PrmReward, "mmprm_last": PrmLastReward, "mmprm_mean": PrmMeanReward}


try:
    from swift.rewards import orms
except ImportError:  # read elsewhere than in swift
    pass
else:
    register(orms)
