"""Which tokens end a completion, and what its text is."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmprm import models
from mmprm.engine.base import Completion
from mmprm.engine.decoding import Decoder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def decoder(mini_policy_folder: Path) -> Decoder:
    return Decoder(mini_policy_folder, models.load_processor(mini_policy_folder).tokenizer)


def _ids(decoder: Decoder, text: str) -> list[int]:
    return decoder.tokenizer.encode(text, add_special_tokens=False)


def test_the_closing_answer_tag_stops_and_stays_in_the_text(decoder: Decoder) -> None:
    text = "<step>a = 3</step><answer>3</answer>"
    ids = _ids(decoder, text)
    assert ids[-1] in decoder.stop_ids
    assert decoder.completion(ids) == Completion(text, len(ids), "stop")


def test_the_end_of_the_turn_stops_and_is_cut_off_but_counted(decoder: Decoder) -> None:
    ids = [*_ids(decoder, "<step>a = 3</step>"), decoder.tokenizer.eos_token_id]
    assert decoder.completion(ids) == Completion("<step>a = 3</step>", len(ids), "stop")


def test_a_completion_without_a_stop_was_cut_by_its_length(decoder: Decoder) -> None:
    ids = _ids(decoder, "<step>a = ")
    assert decoder.completion(ids) == Completion("<step>a = ", len(ids), "length")


def test_an_answer_tag_spelt_in_other_tokens_ends_the_text_too(decoder: Decoder) -> None:
    spelt = [*_ids(decoder, "<answer>3"), *(token for sign in "</answer>" for token in _ids(decoder, sign))]
    assert decoder.answer_close not in spelt
    completion = decoder.completion([*spelt, *_ids(decoder, " and on")])
    assert (completion.text, completion.finish_reason) == ("<answer>3</answer>", "stop")
