"""An image's tokens are known from its size: they are those that the processor makes of its pixels, in every family."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny_qwen
from PIL import Image

from mmprm.data.problem import Problem
from mmprm.mini import base_model
from mmprm.model import folders, hf_env, image_tokens, tokens
from mmprm.model.image_tokens import ImageTokens
from mmprm.model.step_text import Renderer
from mmprm.model.tokens import tokenise

SIZES = [(64, 64), (20, 130), (150, 40), (97, 211), (300, 220), (33, 500), (128, 256)]  # width, height
ARITHMETIC = ("internvl", *tiny_qwen.FAMILIES, "llava", "llava_onevision")
ASKED = ("idefics3",)  # where each tile of an image is marked by its row and column


def encoded(size: tuple[int, int], kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


def _words(*tokens: str, **named: str) -> Any:
    """The mini model's tokenizer with a family's tokens."""
    words = base_model.tokenizer()
    words.add_special_tokens({"additional_special_tokens": [*tokens, *named.values()]})
    for name, token in named.items():
        setattr(words, name, token)
        setattr(words, f"{name}_id", words.convert_tokens_to_ids(token))
    return words


def _processor(family: str) -> Any:
    if family in tiny_qwen.FAMILIES:
        return tiny_qwen.processor(family)
    hf_env.prepare()
    import transformers

    if family == "internvl":
        return base_model.processor()
    size = {"height": 32, "width": 32}
    template = {"chat_template": base_model.CHAT_TEMPLATE.replace("<IMG_CONTEXT>", "<image>")}
    common = {"patch_size": 8, "vision_feature_select_strategy": "full", **template}
    if family == "llava":
        eyes = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
        return transformers.LlavaProcessor(eyes, _words("<image>"), **common)
    if family == "llava_onevision":
        grids = [[32, 32], [32, 64], [64, 32], [64, 64], [96, 32]]
        eyes = transformers.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=grids)
        seen = transformers.LlavaOnevisionVideoProcessor(size=size)
        words = _words("<image>", "<video>")
        return transformers.LlavaOnevisionProcessor(eyes, words, seen, num_image_tokens=16, **common)
    if family == "idefics3":
        eyes = transformers.Idefics3ImageProcessor(size={"longest_edge": 128}, max_image_size={"longest_edge": 32})
        tiles = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
        words = _words("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *tiles)
        return transformers.Idefics3Processor(eyes, words, image_seq_len=4, **template)
    eyes = transformers.Gemma3ImageProcessor(size=size)
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    template = {"chat_template": base_model.CHAT_TEMPLATE.replace("<IMG_CONTEXT>", "<start_of_image>")}
    return transformers.Gemma3Processor(eyes, _words(**named), image_seq_length=4, **template)


@pytest.fixture(scope="module", params=[*ARITHMETIC, *ASKED])
def processor(request: pytest.FixtureRequest) -> Any:
    processor = _processor(request.param)
    folders.add_control_tokens(processor)
    processor.family = request.param
    return processor


def texts_of(processor: Any, problems: list[Problem]) -> tuple[list[str], list[tuple[bytes, ...]]]:
    """Training texts with one image of each size, with two, and with none."""
    renderer = Renderer(processor)
    images = [encoded(size) for size in SIZES]
    rows = [replace(problems[0], images=(image,)) for image in images]
    rows += [replace(problems[1], images=tuple(images[:2])), replace(problems[2], images=())]
    return [renderer.marked(row, ("a", "b"), "3") for row in rows], [row.images for row in rows]


def test_tokens_without_pixels_are_those_of_the_processor(
    processor: Any, mini_problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, images = texts_of(processor, mini_problems)
    expected = [
        image_tokens.processor_tokens(processor, [text], [[tokens.decode_image(image) for image in each]])[0]
        for text, each in zip(texts, images, strict=True)
    ]
    known = image_tokens.image_tokens(processor)
    assert known.counts_by_size == (processor.family in ARITHMETIC)
    if processor.family in ARITHMETIC:
        decode = tokens._decoded
        # Nothing may be decoded; but LLaVA-OneVision cuts an image only where it is a text's single one.
        several = images[len(SIZES)] if processor.family == "llava_onevision" else ()
        monkeypatch.setattr(tokens, "_decoded", lambda image: decode(image) if image in several else 1 / 0)
    found = list(tokenise(processor, texts, images))
    for read, wanted in zip(found, expected, strict=True):
        assert list(read) == list(wanted)
        assert all(np.array_equal(values, wanted[name]) and values.dtype == np.int64 for name, values in read.items())
    lengths = {len(each["input_ids"]) for each in expected[: len(SIZES)]}
    assert len(lengths) > 1 or processor.family == "llava", "other sizes have other numbers of tokens"


def test_a_processor_without_arithmetic_is_asked_once_a_size(
    mini_problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = base_model.processor()
    folders.add_control_tokens(processor)
    expected = list(tokenise(processor, *texts_of(processor, mini_problems)))
    monkeypatch.delattr(type(processor), "_get_num_multimodal_tokens")
    known = ImageTokens(processor)
    assert not known.counts_by_size
    monkeypatch.setattr(tokens, "image_tokens", lambda _: known)
    asked = []
    ask = image_tokens._ask
    monkeypatch.setattr(image_tokens, "_ask", lambda *given: asked.append(given[1]) or ask(*given))
    texts, images = texts_of(processor, mini_problems)
    found = list(tokenise(processor, texts * 3, images * 3))
    assert all(np.array_equal(a["input_ids"], b["input_ids"]) for a, b in zip(found, expected * 3, strict=True))
    assert sorted(asked) == sorted((height, width) for width, height in SIZES)


def test_arithmetic_that_counts_otherwise_than_the_processor_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = base_model.processor()
    right = type(processor)._get_num_multimodal_tokens

    def wrong(self: Any, image_sizes: Any) -> Any:
        found = right(self, image_sizes=image_sizes)
        found.num_image_tokens = [count * 2 for count in found.num_image_tokens]
        return found

    assert ImageTokens(processor).counts_by_size
    monkeypatch.setattr(type(processor), "_get_num_multimodal_tokens", wrong)
    assert not ImageTokens(processor).counts_by_size


def test_a_text_with_another_number_of_placeholders_is_left_to_the_processor() -> None:
    processor = base_model.processor()
    words = np.asarray(processor.tokenizer("a <IMG_CONTEXT> b")["input_ids"])
    known = ImageTokens(processor)
    assert known.expand(processor, words, [(128, 128)]) is not None
    assert known.expand(processor, words, [(128, 128)] * 2) is None
    assert known.expand(processor, np.asarray(processor.tokenizer("a b")["input_ids"]), [(128, 128)]) is None


def test_an_image_between_line_breaks_that_may_join_with_the_texts_is_left_to_the_processor() -> None:
    """Gemma 3 writes two line breaks on either side of an image's tokens."""
    processor = _processor("gemma3")
    words = np.asarray(processor.tokenizer("a\n<start_of_image>\nb")["input_ids"])
    assert ImageTokens(processor).expand(processor, words, [(128, 128)]) is None


def test_a_placeholder_that_takes_the_white_space_around_it_is_left_to_the_processor() -> None:
    from tokenizers import AddedToken

    processor = base_model.processor()
    processor.tokenizer.add_tokens([AddedToken("<IMG_CONTEXT>", lstrip=True, special=True)], special_tokens=True)
    words = np.asarray(processor.tokenizer("a <IMG_CONTEXT> b")["input_ids"])
    assert ImageTokens(processor).expand(processor, words, [(128, 128)]) is None
