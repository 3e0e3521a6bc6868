"""A PRM as a reward: the step values of scoring, the scalar of them, and what TRL, verl and ms-swift call."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import prm_cards as cards
import pytest

from mmprm.data.problem import decode_image, write_problems
from mmprm.mini.problems import FAMILIES as DRAWN
from mmprm.mini.problems import generate
from mmprm.model.step_text import question_text, render_solution
from mmprm.rewards import RewardModel, paragraphs, reward
from mmprm.rewards import swift as for_swift
from mmprm.rewards import verl as for_verl
from mmprm.rewards.reward import reward_async
from mmprm.rewards.trl import prm_reward
from mmprm.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
OTHER = "Let me think. The answer is 7."  # no solution in steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cards.build(tmp_path_factory.mktemp("reward") / "soft", "qwen2_5_vl")


@pytest.fixture(scope="module")
def prm(folder: Path) -> Iterator[RewardModel]:
    with RewardModel(folder) as model:
        model.instruction = model.scorer._renderer.instruction = cards.INSTRUCTION  # type: ignore[attr-defined]
        yield model


@pytest.fixture(scope="module")
def batch(folder: Path) -> dict[str, Any]:
    """Questions, pictures and completions with answers, and our own scores of them."""
    finished = [number for number, item in enumerate(cards.solutions(folder)) if item[2] is not None]
    items = [cards.solutions(folder)[number] for number in finished]
    return {
        "prompts": [question_text(problem) for problem, _, _ in items],
        "images": [list(problem.images) for problem, _, _ in items],
        "completions": [render_solution(steps, answer) for _, steps, answer in items],
        "steps": [cards.expected(folder)[number] for number in finished],
    }


def given(batch: dict[str, Any]) -> tuple[Any, Any, Any]:
    return batch["prompts"], batch["images"], batch["completions"]


def test_step_values_are_those_of_scoring_and_the_scalar_is_their_least(
    prm: RewardModel, batch: dict[str, Any]
) -> None:
    found = reward(*given(batch), prm)
    for one, steps in zip(found, batch["steps"], strict=True):
        assert one.steps == pytest.approx(steps, abs=1e-6)
        assert one.value == min(one.steps)
    assert [one.value for one in reward(*given(batch), prm, "last")] == [one.steps[-1] for one in found]
    means = [sum(one.steps) / len(one.steps) for one in found]
    assert [one.value for one in reward(*given(batch), prm, "mean")] == pytest.approx(means)
    assert asyncio.run(reward_async(*given(batch), prm)) == found


def test_a_completion_that_cannot_be_read_gets_the_least_and_moves_no_other(
    prm: RewardModel, batch: dict[str, Any]
) -> None:
    prompts, images, completions = given(batch)
    sound = reward(prompts, images, completions, prm)
    bad = [OTHER, "", "<step>a</step>", "<step>a<prm></step><answer>1</answer>", "<answer>1</answer>"]
    mixed = reward([prompts[0]] * 5 + prompts, [images[0]] * 5 + images, bad + completions, prm, unparsed=-1.0)
    assert [one.value for one in mixed[:5]] == [-1.0] * 5 and not any(one.steps for one in mixed[:5])
    for one, other in zip(mixed[5:], sound, strict=True):
        assert one.steps == pytest.approx(other.steps, abs=1e-6)
    assert [one.value for one in reward(["?"], None, [OTHER], prm)] == [0.0]


def test_chats_and_pictures_of_any_form_are_the_same_question(prm: RewardModel, batch: dict[str, Any]) -> None:
    prompts, images, completions = given(batch)
    sound = reward(prompts, images, completions, prm)
    shown = [[decode_image(image) for image in each] for each in images]

    def chat(question: str, pictures: list[Any]) -> list[dict[str, Any]]:
        parts = [{"type": "image", "image": picture} for picture in pictures]
        text = {"type": "text", "text": f"{question}\n{cards.INSTRUCTION}"}
        return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [*parts, text]}]

    chats = [chat(*each) for each in zip(prompts, shown, strict=True)]
    answers = [[{"role": "assistant", "content": text}] for text in completions]
    for one, other in zip(reward(chats, None, answers, prm), sound, strict=True):
        assert one.steps == pytest.approx(other.steps, abs=1e-6)
    hub = [[{"bytes": image, "path": None} for image in each] for each in images]
    assert reward(prompts, hub, completions, prm) == sound


def test_an_untagged_policy_is_read_by_paragraphs(prm: RewardModel) -> None:
    text = "First, 2 + 3 = 5.\n\nSo the answer is 5.\n\n"
    assert paragraphs(text) == (("First, 2 + 3 = 5.", "So the answer is 5."), None)
    assert len(reward(["What is 2 + 3?"], None, [text], prm, split=paragraphs)[0].steps) == 2
    assert paragraphs("  ") is None and paragraphs("a <prm> b") is None


@pytest.mark.parametrize("wrong", [{"form": "sum"}, {"images": [[]]}])
def test_what_cannot_be_meant_is_an_error(wrong: dict[str, Any], prm: RewardModel, batch: dict[str, Any]) -> None:
    prompts, images, completions = given(batch)
    asked = {"prompts": prompts, "images": images, "completions": completions, "form": "min"} | wrong
    with pytest.raises(UserError):
        reward(asked["prompts"], asked["images"], asked["completions"], prm, asked["form"])


@pytest.fixture
def opened(prm: RewardModel, monkeypatch: pytest.MonkeyPatch) -> RewardModel:
    """The adapters open this one."""
    for name in ("mmprm.rewards.trl", "mmprm.rewards.swift"):
        monkeypatch.setattr(f"{name}.RewardModel", lambda where: prm)
    monkeypatch.setattr(for_verl, "_open", lambda where: prm)
    return prm


def test_trl_calls_it_by_keywords_with_columns_as_lists(opened: RewardModel, batch: dict[str, Any]) -> None:
    """As GRPOTrainer._calculate_rewards of TRL 1.16 does."""
    prompts, images, completions = given(batch)
    expected = [one.value for one in reward(prompts, images, completions, opened)]
    logged: dict[str, float] = {}
    function = prm_reward("a folder")
    assert function.__name__ == "prm_min" and not inspect.iscoroutinefunction(function)
    found = function(
        prompts=[[{"role": "user", "content": "rendered"}]] * len(prompts),
        completions=[[{"role": "assistant", "content": text}] for text in [*completions[:-1], OTHER]],
        completion_ids=[[1]] * len(prompts),
        question=prompts,
        images=[[decode_image(image) for image in each] for each in images],
        trainer_state=object(),
        log_extra=lambda column, values: None,
        log_metric=logged.__setitem__,
    )
    assert found == pytest.approx([*expected[:-1], 0.0], abs=1e-6)
    assert logged["prm/parsed"] == 1 - 1 / len(prompts) and logged["prm/steps"] > 1


def test_verl_awaits_one_completion_at_a_time(opened: RewardModel, batch: dict[str, Any]) -> None:
    """As its reward loop's naive manager does; the function is loaded from its file, under no package."""
    spec = importlib.util.spec_from_file_location("custom_module", Path(for_verl.__file__))
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module._open = for_verl._open  # type: ignore[attr-defined]
    prompts, images, completions = given(batch)
    expected = reward(prompts, images, completions, opened)

    async def loop() -> list[dict[str, float]]:
        calls = [
            module.compute_score(
                data_source="geometry",
                solution_str=completion,
                ground_truth="5",
                extra_info={"question": prompt, "images": shown, "index": 1},
                reward_router_address=None,
                reward_model_tokenizer=None,
                prm="a folder",
            )
            for prompt, shown, completion in zip(prompts, images, completions, strict=True)
        ]
        return list(await asyncio.gather(*calls))

    assert inspect.iscoroutinefunction(module.compute_score)
    found = asyncio.run(loop())
    assert [one["score"] for one in found] == pytest.approx([one.value for one in expected], abs=1e-6)
    assert all(one["prm_parsed"] == 1 and one["prm_steps"] > 1 for one in found)
    with pytest.raises(UserError, match="needs the `question`"):
        asyncio.run(for_verl.compute_score("geometry", "", "5", {}, prm="a folder"))


def test_swift_makes_one_from_its_table_and_calls_it_with_columns(
    opened: RewardModel, batch: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its GRPO trainer does with orms[name]; `messages` end with the assistant's turn there."""
    orms: dict[str, Any] = {}
    for_swift.register(orms)
    monkeypatch.delenv("MMPRM_REWARD_PRM", raising=False)
    with pytest.raises(UserError, match="MMPRM_REWARD_PRM is not set"):
        orms["mmprm_min"](args=None)
    monkeypatch.setenv("MMPRM_REWARD_PRM", "a folder")
    prompts, images, completions = given(batch)
    turns = zip(prompts, completions, strict=True)
    messages = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in turns]
    columns = {"messages": messages, "images": [[{"bytes": i} for i in each] for each in images], "solution": ["5"] * 9}
    expected = reward(prompts, images, completions, opened, "last")
    found = orms["mmprm_last"](args=object())(completions, **columns)
    assert found == pytest.approx([one.value for one in expected], abs=1e-6)
    assert set(orms) == {"mmprm_min", "mmprm_last", "mmprm_mean"}


@pytest.mark.slow
@pytest.mark.heavy
def test_the_example_trains_a_policy_by_grpo_and_draws_both_curves(
    folder: Path, mini_policy_folder: Path, tmp_path: Path
) -> None:
    """The smoke form of examples/grpo.py."""
    pytest.importorskip("trl", reason="examples/requirements.txt is not installed")
    run = tmp_path / "run"
    (run / "prm").mkdir(parents=True)
    (run / "policy").symlink_to(mini_policy_folder)
    (run / "prm/soft").symlink_to(folder)
    write_problems(run / "problems/pool.parquet", generate("seeds", 4, list(DRAWN), seed=0))
    command = [sys.executable, str(ROOT / "examples/grpo.py"), str(run), "--out", str(tmp_path / "grpo")]
    command += ["--steps", "2", "--prompts", "2", "--completions", "2", "--tokens", "24"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    curves = json.loads((tmp_path / "grpo/curves.json").read_text())
    assert [row["update"] for row in curves] == [1, 2]
    assert {"reward", "accuracy", "parsed", "steps", "entropy"} <= curves[0].keys()
    assert "first and last 1 of 2 updates" in done.stdout
