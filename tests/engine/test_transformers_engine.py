"""The transformers engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from drain import drain

from mmprm.config import Config, Sampling
from mmprm.data.problem import Problem
from mmprm.engine import base
from mmprm.engine.base import Request
from mmprm.engine.factory import open_engine
from mmprm.engine.transformers_engine import TransformersEngine, TransformersModel, sample
from mmprm.runtime.errors import UserError

SAMPLING = Sampling(temperature=1.0, top_p=0.9, top_k=50, max_new_tokens=24)


@pytest.fixture(scope="module")
def engine(mini_policy_folder: Path, engine_config: Callable[..., Config]) -> Iterator[base.Engine]:
    opened = open_engine(engine_config("transformers"), mini_policy_folder)
    yield opened
    opened.close()


@pytest.mark.slow
def test_a_draw_is_the_same_alone_among_others_and_in_another_order(
    engine: base.Engine, mini_problems: list[Problem]
) -> None:
    request = Request("a", mini_problems[0], (), 4, SAMPLING, seed=7)
    others = [Request(str(seed), mini_problems[1], ("step",), 3, SAMPLING, seed) for seed in range(3)]
    alone = drain(engine, request)["a"]
    assert drain(engine, *others, request)["a"] == alone
    assert drain(engine, request, *others)["a"] == alone
    assert len({completion.text for completion in alone.completions}) == 4


@pytest.mark.slow
def test_a_greedy_draw_is_what_the_model_says_of_the_whole_sequence_whatever_it_has_read_before(
    any_policy_folder: Path, engine_config: Callable[..., Config], sized_problems: list[Problem]
) -> None:
    """Token by token without a cache, by a model that is opened anew: Qwen-VL's remembers its last prompt's offset."""
    opened = open_engine(engine_config("transformers"), any_policy_folder)
    greedy = Sampling(temperature=0, max_new_tokens=12)
    requests = [Request(str(n), problem, ("1 + 1 = 2",), 2, greedy, 0) for n, problem in enumerate(sized_problems)]
    requests = [
        replace(request, problem=replace(request.problem, images=request.problem.images[:1])) for request in requests
    ]
    found = drain(opened, *requests, replace(requests[0], key="again"))
    opened.close()
    for request in requests:
        expected = _greedily(TransformersModel(any_policy_folder, "", "float32", 256), request)
        assert [completion.text for completion in found[request.key].completions] == [expected] * 2
    assert found["again"].completions == found["0"].completions


def _greedily(model: TransformersModel, request: Request) -> str:
    inputs = model.inputs(model.renderer.continuation(request.problem, request.prefix), request.problem, room=1)
    drawn: list[int] = []
    with torch.no_grad():
        while len(drawn) < request.sampling.max_new_tokens:
            token = model.model(**inputs).logits[:, -1:].argmax(-1)
            drawn.append(int(token))
            for name, values in inputs.items():
                if name in ("input_ids", "attention_mask", "mm_token_type_ids"):
                    new = {"input_ids": token, "attention_mask": torch.ones_like(token)}
                    inputs[name] = torch.cat([values, new.get(name, torch.zeros_like(token)).to(values.dtype)], dim=1)
    return model.processor.tokenizer.decode(drawn)


@pytest.mark.slow
def test_draw_i_of_a_request_is_that_of_the_seed_plus_i(engine: base.Engine, mini_problems: list[Problem]) -> None:
    """Nothing is cut off: the size of a batch changes the rounding of logits, and an untrained model has them so much
    alike that the fiftieth changes places with the next one."""
    uncut = SAMPLING.model_copy(update={"top_p": 1.0, "top_k": 0})
    many = drain(engine, Request("a", mini_problems[0], (), 3, uncut, seed=7))["a"]
    for index in range(3):
        one = drain(engine, Request("b", mini_problems[0], (), 1, uncut, seed=7 + index))["b"]
        assert one.completions[0] == many.completions[index]


@pytest.mark.slow
def test_a_prompt_that_is_too_long_fails_alone(engine: base.Engine, mini_problems: list[Problem]) -> None:
    finished = drain(
        engine,
        Request("long", mini_problems[0], ("7 * 8 = 56",) * 60, 2, SAMPLING, seed=1),
        Request("images", replace(mini_problems[0], images=mini_problems[0].images * 2), (), 2, SAMPLING, seed=1),
        Request("right", mini_problems[0], (), 2, SAMPLING, seed=1),
    )
    assert "256" in (finished["long"].error or "")
    assert "max_images" in (finished["images"].error or "")
    assert finished["right"].error is None
    assert len(finished["right"].completions) == 2


@pytest.mark.slow
def test_hot_draws_end_at_the_answer_or_the_turn_and_are_counted(
    engine: base.Engine, mini_problems: list[Problem]
) -> None:
    hot = Sampling.model_construct(temperature=10, top_p=1, top_k=0, max_new_tokens=120)  # hotter than vLLM allows
    before = engine.stats.generated_tokens
    finished = drain(engine, Request("a", mini_problems[0], (), 70, hot, seed=3))["a"]  # more than one batch
    by_reason = {
        reason: [c for c in finished.completions if c.finish_reason == reason] for reason in ("stop", "length")
    }
    assert by_reason["length"] and all(completion.n_tokens == 120 for completion in by_reason["length"])
    answered = [completion for completion in by_reason["stop"] if completion.text.endswith("</answer>")]
    assert 0 < len(answered) < len(by_reason["stop"])
    assert all(completion.n_tokens <= 120 for completion in by_reason["stop"])
    assert not any("<|im_end|>" in completion.text for completion in finished.completions)
    assert engine.stats.generated_tokens - before == sum(completion.n_tokens for completion in finished.completions)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vllm", "transformers"])
def test_a_policy_without_tags_is_refused_before_it_is_loaded(
    kind: str, mini_model_folder: Path, engine_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect 7."""
    monkeypatch.setattr("mmprm.model.folders.load_model", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(UserError, match="not as one"):
        open_engine(engine_config(kind), mini_model_folder)


def _generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def cut(temperature: float, top_p: float, top_k: int) -> Sampling:
    return Sampling(temperature=temperature, top_p=top_p, top_k=top_k, max_new_tokens=1)


def test_a_row_is_drawn_from_its_own_generator_alone() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    sampling = cut(1.0, 0.9, 20)
    together = sample(logits, sampling, _generators(1, 2, 3))
    alone = [sample(logits[row : row + 1], sampling, _generators(row + 1))[0] for row in range(3)]
    assert together.tolist() == [int(token) for token in alone]


def test_the_cuts_keep_the_likeliest_tokens() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().repeat(400, 1)
    generators = _generators(*range(400))
    assert set(sample(logits, cut(1.0, 1.0, 2), generators).tolist()) == {0, 1}
    assert set(sample(logits, cut(1.0, 0.75, 0), generators).tolist()) == {0, 1}
    assert set(sample(logits, cut(1.0, 0.01, 0), generators).tolist()) == {0}
    assert set(sample(logits, cut(0.0, 1.0, 0), generators).tolist()) == {0}
    assert set(sample(logits, cut(1.0, 1.0, 0), generators).tolist()) == {0, 1, 2, 3}


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    draws = sample(probabilities.log().repeat(4000, 1), cut(1.0, 1.0, 0), _generators(*range(4000)))
    shares = torch.bincount(draws, minlength=4) / 4000
    assert (shares - probabilities).abs().max() < 0.025  # three standard errors


def test_an_engine_of_this_kind_is_what_the_factory_opens(engine: base.Engine) -> None:
    assert isinstance(engine, TransformersEngine)
