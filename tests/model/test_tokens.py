"""Texts to tokens: a problem's images are processed once, and the tokens are those of one text at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmprm.data.problem import Problem, decode_image
from mmprm.model import folders, tokens
from mmprm.model.image_tokens import ImageTokens, image_tokens
from mmprm.model.step_text import Renderer
from mmprm.model.tokens import tokenise


@pytest.fixture(scope="module")
def internvl(mini_policy_folder: Path) -> Any:
    return folders.load_processor(mini_policy_folder)


@pytest.fixture(scope="module")
def qwen(internvl: Any) -> Any:
    """Qwen2-VL's processor: an image has as many tokens as its size gives, and each token a type."""
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    tokenizer = internvl.tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|image_pad|>", "<|video_pad|>"]})
    template = internvl.chat_template.replace("<IMG_CONTEXT>", "<|image_pad|>")
    return Qwen2VLProcessor(Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor(), chat_template=template)


@pytest.fixture(params=["internvl", "qwen"])
def processor(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def alone(processor: Any, text: str, images: tuple[bytes, ...]) -> dict[str, Any]:
    pictures = [decode_image(image) for image in images] or None
    return processor(text=[text], images=pictures, text_kwargs={"add_special_tokens": False})


@pytest.fixture
def problems(mini_problems: list[Problem]) -> list[Problem]:
    """With an image, another question about it, two images, and none."""
    one, other = mini_problems[:2]
    return [
        one,
        replace(one, problem_id="asked", question="What else?"),
        replace(one, problem_id="two", images=(*one.images, *other.images)),
        replace(one, problem_id="none", images=()),
        *mini_problems[2:],
    ]


@pytest.mark.parametrize("chunk", [3, 64])
def test_tokens_are_those_of_one_text_at_a_time(
    processor: Any, problems: list[Problem], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_CHUNK", chunk)
    renderer = Renderer(processor)
    rows = [(problem, renderer.marked(problem, steps, "3")) for problem in problems for steps in (("a",), ("b", "c"))]
    rows += [(problem, f"Look: {text}") for problem, text in rows[:3]] + rows[::-2]  # some begin in another way
    found = list(tokenise(processor, [text for _, text in rows], [problem.images for problem, _ in rows]))
    assert len(found) == len(rows)
    for (problem, text), read in zip(rows, found, strict=True):
        expected = alone(processor, text, problem.images)
        for name, values in read.items():
            assert np.array_equal(values, expected[name][0]), name
        assert ("mm_token_type_ids" in read) == ("mm_token_type_ids" in expected)


@pytest.mark.parametrize("by_size", [True, False])
def test_an_image_is_processed_once_a_problem_or_not_at_all(
    processor: Any, by_size: bool, mini_problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert image_tokens(processor).counts_by_size
    if not by_size:
        monkeypatch.setattr(ImageTokens, "expand", lambda *_: None)
    seen = []
    process = type(processor.image_processor).preprocess

    def counted(self: Any, images: Any, *args: Any, **kwargs: Any) -> Any:
        seen.extend(images)
        return process(self, images, *args, **kwargs)

    monkeypatch.setattr(type(processor.image_processor), "preprocess", counted)
    renderer = Renderer(processor)
    rows = [(problem, renderer.marked(problem, (f"{n}",), None)) for problem in mini_problems for n in range(9)]
    list(tokenise(processor, [text for _, text in rows], [problem.images for problem, _ in rows]))
    assert len(rows) > tokens._CHUNK  # also where a problem's texts are in two calls
    assert len(seen) == (0 if by_size else len(mini_problems))
