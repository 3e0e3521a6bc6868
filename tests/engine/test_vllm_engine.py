"""The vLLM engine, on whatever device there is. One engine for the whole module: each start takes seconds."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from drain import drain
from listening import addresses_of, beyond_this_machine

from mmprm.config import Config, Sampling
from mmprm.data.problem import Problem, decode_image
from mmprm.engine.base import Request
from mmprm.engine.factory import open_engine
from mmprm.engine.vllm_engine import VllmEngine
from mmprm.model import folders

pytestmark = pytest.mark.slow
HEARD: set[str] = set()  # the addresses on which vLLM listened while it started
SAMPLING = Sampling(temperature=1.0, top_p=0.9, top_k=50, max_new_tokens=24)


@pytest.fixture(scope="module")
def engine(mini_policy_folder: Path, engine_config: Callable[..., Config]) -> Iterator[VllmEngine]:
    with pytest.MonkeyPatch.context() as cluster, addresses_of() as heard:
        # As the modules of clusters set it.
        cluster.setenv("GLOO_SOCKET_IFNAME", next((name for _, name in socket.if_nameindex() if name != "lo"), "lo"))
        opened = open_engine(engine_config("vllm"), mini_policy_folder)
    HEARD.update(heard)
    assert isinstance(opened, VllmEngine)
    yield opened
    opened.close()


def test_no_neighbour_can_connect_to_an_engine(engine: VllmEngine, mini_problems: list[Problem]) -> None:
    with addresses_of() as heard:
        drain(engine, Request("a", mini_problems[0], (), 1, SAMPLING, seed=1))
    assert HEARD, "vLLM's process group listens to itself"
    assert beyond_this_machine(HEARD | heard) == set()


def test_a_draw_is_the_same_alone_among_others_and_after_the_cache_has_its_prompt(
    engine: VllmEngine, mini_problems: list[Problem]
) -> None:
    request = Request("a", mini_problems[0], ("2 + 3 = 5",), 4, SAMPLING, seed=7)
    others = [Request(str(seed), mini_problems[seed], (), 8, SAMPLING, seed) for seed in range(1, 9)]
    alone = drain(engine, request)["a"]
    assert drain(engine, *others, request)["a"] == alone
    assert drain(engine, request, *others)["a"] == alone


def test_draw_i_of_a_request_is_that_of_the_seed_plus_i_and_seeds_differ(
    engine: VllmEngine, mini_problems: list[Problem]
) -> None:
    many = drain(engine, Request("a", mini_problems[0], (), 4, SAMPLING, seed=7))["a"]
    assert len({completion.text for completion in many.completions}) == 4
    for index in range(4):
        one = drain(engine, Request("b", mini_problems[0], (), 1, SAMPLING, seed=7 + index))["b"]
        assert one.completions[0] == many.completions[index]


def test_requests_that_cannot_run_fail_alone(engine: VllmEngine, mini_problems: list[Problem]) -> None:
    damaged = replace(mini_problems[0], images=(b"not an image",))
    finished = drain(
        engine,
        Request("long", mini_problems[0], ("7 * 8 = 56",) * 60, 2, SAMPLING, seed=1),
        Request("images", replace(mini_problems[0], images=mini_problems[0].images * 2), (), 2, SAMPLING, seed=1),
        Request("damaged", damaged, (), 2, SAMPLING, seed=1),
        Request("right", mini_problems[0], (), 2, SAMPLING, seed=1),
    )
    assert "256" in (finished["long"].error or "")
    assert "image" in (finished["images"].error or "")
    assert "cannot be decoded" in (finished["damaged"].error or "")
    assert finished["right"].error is None
    assert len(finished["right"].completions) == 2


def test_a_continued_solution_is_read_from_the_cache(engine: VllmEngine, mini_problems: list[Problem]) -> None:
    prefix = tuple(f"{n} + {n} = {2 * n}" for n in range(1, 9))
    drain(engine, Request("a", mini_problems[2], prefix, 1, SAMPLING, seed=1))
    before = replace(engine.stats)
    drain(engine, Request("b", mini_problems[2], (*prefix, "3 * 3 = 9"), 1, SAMPLING, seed=2))
    read = engine.stats.prompt_tokens - before.prompt_tokens
    cached = engine.stats.cached_prompt_tokens - before.cached_prompt_tokens
    assert 0.5 * read < cached < read
    drain(engine, Request("c", mini_problems[3], prefix, 1, SAMPLING, seed=2))  # another image: nothing after it fits
    assert engine.stats.cached_prompt_tokens - before.cached_prompt_tokens == cached


def test_an_image_is_decoded_once_for_all_requests_and_again_where_vllm_has_dropped_it(
    engine: VllmEngine, mini_problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    counted = "mmprm.engine.vllm_engine.decode_image"
    monkeypatch.setattr(counted, lambda data: decoded.append(data) or decode_image(data))
    engine._model.forget_images()
    requests = [Request(str(n), mini_problems[4], (f"{n} + 1 = {n + 1}",), 2, SAMPLING, seed=n) for n in range(3)]
    first = drain(engine, *requests)
    assert decoded == list(mini_problems[4].images)
    engine._model.engine.reset_mm_cache()  # as if other images had taken its place
    assert drain(engine, *requests) == first
    assert decoded == list(mini_problems[4].images) * 2


def test_requests_join_a_full_batch_in_groups_and_none_waits_for_ever(
    engine: VllmEngine, mini_problems: list[Problem]
) -> None:
    full = engine._max_running // 8
    for number in range(full):
        engine.submit(Request(f"first {number}", mini_problems[number % 8], (), 8, SAMPLING, seed=number))
    done = {one.key for one in engine.step()}
    engine.submit(Request("late", mini_problems[0], (), 8, SAMPLING, seed=99))
    done |= {one.key for one in engine.step()}
    assert engine._model.engine.get_num_unfinished_requests() <= 8 * full  # the late one is not in it
    assert engine.pending == full + 1 - len(done)
    while engine.pending:
        done |= {one.key for one in engine.step()}
    assert len(done) == full + 1


def test_the_prompt_is_token_for_token_that_of_the_processor(
    engine: VllmEngine, mini_problems: list[Problem], mini_policy_folder: Path
) -> None:
    processor = folders.load_processor(mini_policy_folder)
    strange = "Is <prm> or <step> or <IMG_CONTEXT> <|im_end|> é 数 right?"
    for problem in (
        mini_problems[0],
        replace(mini_problems[1], question=strange),
        replace(mini_problems[2], images=(), question=strange),
    ):
        text = engine._model.renderer.continuation(problem, ("1 + 1 = 2",))
        images = [decode_image(image) for image in problem.images] or None
        expected = processor(text=[text], images=images)["input_ids"][0]
        assert list(engine._model.render(text, problem, room=1)["prompt_token_ids"]) == list(expected)


def test_a_partial_solution_is_continued_in_the_assistants_own_turn(
    engine: VllmEngine, mini_problems: list[Problem]
) -> None:
    """Defect 11: the public code quotes the steps so far in the user's turn, off the policy's distribution."""
    model, problem = engine._model, mini_problems[0]
    start = list(model.render(model.renderer.continuation(problem, ()), problem, room=1)["prompt_token_ids"])
    text = model.renderer.continuation(problem, ("1 + 1 = 2", "2 + 2 = 4"))
    continued = list(model.render(text, problem, room=1)["prompt_token_ids"])
    encode = model.processor.tokenizer.encode
    assert start[-len(encode("<|im_start|>assistant\n")) :] == encode("<|im_start|>assistant\n")
    assert continued == start + encode("<step>1 + 1 = 2</step><step>2 + 2 = 4</step>")


def test_greedy_texts_are_those_of_transformers(
    engine: VllmEngine, mini_problems: list[Problem], mini_policy_folder: Path, engine_config: Callable[..., Config]
) -> None:
    greedy = Sampling(temperature=0, max_new_tokens=400)  # more than fits: both stop at the model's length
    requests = [
        Request("image", mini_problems[0], (), 1, greedy, seed=1),
        Request("prefix", mini_problems[1], ("1 + 1 = 2",), 1, greedy, seed=1),
        Request("text", replace(mini_problems[2], images=()), (), 1, greedy, seed=1),
    ]
    reference = open_engine(engine_config("transformers"), mini_policy_folder)
    expected = {}
    for request in requests:
        reference.submit(request)
        expected |= {done.key: done for done in reference.step()}
    assert drain(engine, *requests) == expected
    assert all(done.completions[0].n_tokens > 150 for done in expected.values())


def test_hot_draws_end_at_the_answer_or_the_turn_and_keep_their_tags(
    engine: VllmEngine, mini_problems: list[Problem]
) -> None:
    hot = Sampling(temperature=2, top_p=1, top_k=0, max_new_tokens=120)
    before = engine.stats.generated_tokens
    completions = drain(engine, Request("a", mini_problems[0], (), 70, hot, seed=3))["a"].completions
    stopped = [completion for completion in completions if completion.finish_reason == "stop"]
    answered = [completion for completion in stopped if completion.text.endswith("</answer>")]
    assert 0 < len(answered) < len(stopped) < len(completions)
    assert all(completion.n_tokens == 120 for completion in completions if completion.finish_reason == "length")
    assert not any("<|im_end|>" in completion.text for completion in completions)
    assert any("<IMG_CONTEXT>" in completion.text for completion in completions)
    assert engine.stats.generated_tokens - before == sum(completion.n_tokens for completion in completions)


def test_a_prompt_that_its_image_makes_too_long_fails_alone(engine: VllmEngine, mini_problems: list[Problem]) -> None:
    problem = mini_problems[11]  # whose image no other request has brought
    encode, continuation = engine._model.processor.tokenizer.encode, engine._model.renderer.continuation
    prefix: tuple[str, ...] = ()
    while len(encode(continuation(problem, (*prefix, "7 * 8 = 56")))) < engine._model.max_model_len:
        prefix = (*prefix, "7 * 8 = 56")
    finished = drain(
        engine,
        Request("long", problem, prefix, 2, SAMPLING, seed=1),
        Request("right", problem, (), 2, SAMPLING, seed=1),
    )
    assert "TooLongError" in (finished["long"].error or "")
    assert finished["right"].error is None and len(finished["right"].completions) == 2
