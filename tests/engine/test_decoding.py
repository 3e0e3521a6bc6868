"""Which tokens end a completion, and what its text is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from scripted_engine import toy_problem

from mmprm.config import Sampling
from mmprm.engine.base import Completion, Request
from mmprm.engine.decoding import Decoder
from mmprm.model import folders

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def decoder(mini_policy_folder: Path) -> Decoder:
    return Decoder(mini_policy_folder, folders.load_processor(mini_policy_folder).tokenizer)


WHOLE = Request("", toy_problem(0), (), 1, Sampling(), 0)
STEP = replace(WHOLE, one_step=True)


def _ids(decoder: Decoder, text: str) -> list[int]:
    return decoder.tokenizer.encode(text, add_special_tokens=False)


def test_the_closing_answer_tag_stops_and_stays_in_the_text(decoder: Decoder) -> None:
    text = "<step>a = 3</step><answer>3</answer>"
    ids = _ids(decoder, text)
    assert ids[-1] in decoder.stop_ids(WHOLE)
    assert decoder.completion(WHOLE, ids) == Completion(text, len(ids), "stop")


def test_the_end_of_the_turn_stops_and_is_cut_off_but_counted(decoder: Decoder) -> None:
    ids = [*_ids(decoder, "<step>a = 3</step>"), decoder.tokenizer.eos_token_id]
    assert decoder.completion(WHOLE, ids) == Completion("<step>a = 3</step>", len(ids), "stop")


def test_a_completion_without_a_stop_was_cut_by_its_length(decoder: Decoder) -> None:
    ids = _ids(decoder, "<step>a = ")
    assert decoder.completion(WHOLE, ids) == Completion("<step>a = ", len(ids), "length")


def test_an_answer_tag_spelt_in_other_tokens_ends_the_text_too(decoder: Decoder) -> None:
    spelt = [*_ids(decoder, "<answer>3"), *(token for sign in "</answer>" for token in _ids(decoder, sign))]
    assert not set(decoder.stop_ids(WHOLE)) & set(spelt)
    completion = decoder.completion(WHOLE, [*spelt, *_ids(decoder, " and on")])
    assert (completion.text, completion.finish_reason) == ("<answer>3</answer>", "stop")


def test_one_step_ends_with_its_tag_or_with_the_answer(decoder: Decoder) -> None:
    step, answer = "<step>a = 3</step>", "<answer>3</answer>"
    assert _ids(decoder, step)[-1] in decoder.stop_ids(STEP)
    for text in (step, answer):
        ids = _ids(decoder, text)
        assert decoder.completion(STEP, ids) == Completion(text, len(ids), "stop")
    whole = _ids(decoder, step)
    assert decoder.completion(WHOLE, whole) == Completion(step, len(whole), "length")


def test_one_step_ends_at_a_tag_in_other_tokens(decoder: Decoder) -> None:
    spelt = [*_ids(decoder, "<step>a = 3"), *(token for sign in "</step>" for token in _ids(decoder, sign))]
    completion = decoder.completion(STEP, [*spelt, *_ids(decoder, "<step>b = ")])
    assert (completion.text, completion.finish_reason) == ("<step>a = 3</step>", "stop")
