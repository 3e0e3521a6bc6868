"""A PRM as verl's custom reward function. In: a completion, as its reward loop gives it. Out: a score.

    reward.custom_reward_function.path=…/mmprm/rewards/verl.py reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs.prm=http://127.0.0.1:8000

(`custom_reward_function` is at the top in earlier versions.) verl does not hand the prompt over: the dataset's
extra_info must have `question`, and `images` where there are some. The loop awaits many completions at once.
"""

from __future__ import annotations

import functools
from typing import Any

from mmprm.rewards.reward import Form, RewardModel, reward_async
from mmprm.runtime.errors import UserError

_open = functools.cache(RewardModel)  # one a worker


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: dict[str, Any] | None = None,
    *,
    prm: str,
    form: Form = "min",
    unparsed: float = 0.0,
    **_: Any,
) -> dict[str, float]:
    """Score a completion: {"score", "prm_steps", "prm_parsed"}; verl's metrics show the latter two.

    UserError if extra_info has no question.
    """
    if not extra_info or "question" not in extra_info:
        raise UserError(f"data source {data_source!r}: extra_info needs the `question`, which verl does not hand over")
    images = extra_info.get("images")
    shown = None if images is None else [list(images)]
    found = (await reward_async([extra_info["question"]], shown, [solution_str], _open(prm), form, unparsed))[0]
    return {"score": found.value, "prm_steps": float(len(found.steps)), "prm_parsed": float(bool(found.steps))}
