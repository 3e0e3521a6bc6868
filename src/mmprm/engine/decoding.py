"""What the engines share: which tokens end a completion, and how its tokens become text.

Tags are single tokens (`solution.control_ids` has checked it), so `</answer>` and the end of the turn stop a completion
as tokens. The text keeps its tags and the closing `</answer>`; the end-of-turn token is cut off.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm.engine.base import Completion
from mmprm.solution import ANSWER_CLOSE, control_ids


class TooLongError(ValueError):
    """A prompt that does not fit the model."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(f"a prompt of {length} tokens does not fit engine.max_model_len {limit} (or the model's own)")


class Decoder:
    """Turns sampled token ids into a Completion. Raises UserError where the tags are not single tokens."""

    def __init__(self, folder: Path, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.answer_close = control_ids(tokenizer)[ANSWER_CLOSE]
        self.end_ids = frozenset(_end_ids(folder, tokenizer))

    @property
    def stop_ids(self) -> list[int]:
        """The tokens after which nothing is sampled."""
        return sorted({self.answer_close, *self.end_ids})

    def completion(self, ids: Sequence[int]) -> Completion:
        """`ids` are all sampled tokens, the stopping one included, so that they are counted; length means no stop."""
        ids = list(ids)
        stopped = bool(ids) and ids[-1] in (self.answer_close, *self.end_ids)
        kept = ids[:-1] if stopped and ids[-1] in self.end_ids else ids
        text = self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        answered, tag, _ = text.partition(ANSWER_CLOSE)  # a policy may spell the tag out in other tokens
        return Completion(answered + tag, len(ids), "stop" if stopped or tag else "length")


def _end_ids(folder: Path, tokenizer: Any) -> set[int]:
    """The tokens that end a turn: the tokenizer's, and those of generation_config.json (one or a list)."""
    ends = {tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set()
    path = folder / "generation_config.json"
    if path.is_file():
        listed = json.loads(path.read_text()).get("eos_token_id")
        ends |= set(listed) if isinstance(listed, list) else {listed} - {None}
    return ends
