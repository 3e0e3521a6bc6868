"""Decoding in all engines: which tokens end a completion, and how its tokens become text.

Tags are single tokens (`step_text.control_ids` checks it), so `</answer>` and the end of the turn stop a completion as
tokens, and `</step>` if a single step is requested. The text keeps its tags and the closing one; the end-of-turn token
is cut off.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm.engine.base import Completion, Request
from mmprm.model.step_text import ANSWER_CLOSE, STEP_CLOSE, control_ids


class TooLongError(ValueError):
    """A prompt that does not fit the model."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(f"a prompt of {length} tokens does not fit engine.max_model_len {limit} (or the model's own)")


class Decoder:
    """Turns sampled token ids into a Completion. Raises UserError if the tags are not single tokens.

    `tags`: false for a model that writes free text, which ends only with its turn.
    """

    def __init__(self, folder: Path, tokenizer: Any, tags: bool = True) -> None:
        self.tokenizer = tokenizer
        ids = control_ids(tokenizer) if tags else {}
        self._answer_close = {ids[ANSWER_CLOSE]} if tags else set()
        self._step_close = {ids[STEP_CLOSE]} if tags else set()
        self._tags = tags
        self.end_ids = frozenset(_end_ids(folder, tokenizer))

    def stop_ids(self, request: Request) -> list[int]:
        """Return the tokens after which nothing is sampled."""
        closing = self._step_close | self._answer_close if request.one_step else self._answer_close
        return sorted(closing | self.end_ids)

    def completion(self, request: Request, ids: Sequence[int]) -> Completion:
        """Decode all sampled tokens, the stopping one included; the finish reason is length if none stopped it."""
        ids = list(ids)
        stopped = bool(ids) and ids[-1] in self.stop_ids(request)
        shown = ids[:-1] if stopped and ids[-1] in self.end_ids else ids
        text = self.tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        spelled = False  # a policy may spell a closing tag out in other tokens
        closing = (STEP_CLOSE, ANSWER_CLOSE) if request.one_step else (ANSWER_CLOSE,)
        for tag in closing if self._tags else ():
            before, match, _ = text.partition(tag)
            text, spelled = before + match, spelled or bool(match)
        return Completion(text, len(ids), "stop" if stopped or spelled else "length")


def _end_ids(folder: Path, tokenizer: Any) -> set[int]:
    """Read the tokens that end a turn: the tokenizer's, and those of generation_config.json (one or a list)."""
    ends = {tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set()
    path = folder / "generation_config.json"
    if path.is_file():
        listed = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
        ends |= set(listed) if isinstance(listed, list) else {listed} - {None}
    return ends
