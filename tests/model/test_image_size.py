"""One key for the size of images: what it makes of each family's processor, and that every reader sees it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import tiny_qwen
from PIL import Image

from mmprm.config import Config
from mmprm.data.problem import Problem
from mmprm.engine.transformers_engine import TransformersModel
from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.model.tokens import tokenise
from mmprm.runtime.errors import UserError
from mmprm.training.train_policy import start_model
from mmprm.workflow.settings import Settings


@pytest.fixture(scope="module")
def large(mini_problems: list[Problem]) -> Problem:
    """A problem with a picture of 512 x 512 pixels."""
    file = io.BytesIO()
    Image.open(io.BytesIO(mini_problems[0].images[0])).resize((512, 512)).save(file, "PNG")
    return replace(mini_problems[0], images=(file.getvalue(),))


def lengths(folder: Path, problem: Problem) -> set[int]:
    """How many tokens training and the transformers engine make of the problem's prompt."""
    processor = folders.load_processor(folder)
    text = Renderer(processor).prompt(problem)
    (trained,) = tokenise(processor, [text], [problem.images])
    read = TransformersModel(folder, "", "float32", 2048).inputs(text, problem, room=0)
    return {len(trained["input_ids"]), read["input_ids"].shape[1]}


@pytest.mark.parametrize(("family", "most", "fewer"), [("qwen2_5_vl", 64 * 64, 12), ("idefics3", 64 * 64, 24)])
def test_a_large_image_has_fewer_tokens_in_training_and_in_sampling(
    family: str, most: int, fewer: int, large: Problem, tmp_path: Path
) -> None:
    """A token for 32 x 32 pixels of at most 128 x 128 before; four tiles and the whole image, now that alone."""
    build = tiny_qwen.build if family in tiny_qwen.FAMILIES else tiny_families.build
    base = build(tmp_path / "base", family, tags=False)
    before = lengths(start_model(base, tmp_path / "all"), large)
    after = lengths(start_model(base, tmp_path / "less", most), large)
    assert len(before) == len(after) == 1
    assert before.pop() - after.pop() >= fewer


class Tiles:
    """An image processor of the InternVL or the LLaVA-OneVision kind, as far as it is looked at."""

    def __init__(self, **settings: Any) -> None:
        self.size: dict[str, int] = {}
        vars(self).update(settings)


def limited(images: Any, most: int) -> Any:
    from mmprm.model.image_size import limit_pixels

    class Holder:
        image_processor = images
        config = Tiles()

    limit_pixels(Holder, Holder, most)
    return Holder


def test_tiles_and_grids_are_as_many_as_fit() -> None:
    square = {"height": 448, "width": 448}
    assert limited(Tiles(size=square, max_patches=12, min_patches=1), 4 * 448**2).image_processor.max_patches == 4
    assert limited(Tiles(size=square, max_patches=2, min_patches=1), 4 * 448**2).image_processor.max_patches == 2
    assert limited(Tiles(size=square, max_patches=12, min_patches=2), 1024).image_processor.min_patches == 1
    grids = [[384, 384], [384, 768], [768, 768]]
    found = limited(Tiles(image_grid_pinpoints=grids), 384 * 800)
    assert found.image_processor.image_grid_pinpoints == found.config.image_grid_pinpoints == grids[:2]


def test_a_model_whose_images_have_one_size_keeps_it_or_says_so() -> None:
    limited(Tiles(size={"height": 56, "width": 56}), 4096)
    with pytest.raises(
        UserError, match=r"policy\.images\.max_pixels: 2048, but Tiles has images of 3136 pixels, always"
    ):
        limited(Tiles(size={"height": 56, "width": 56}), 2048)
    with pytest.raises(UserError, match=r"no size that is known: set policy.images to null"):
        limited(Tiles(), 2048)


def test_a_run_without_the_key_plans_what_it_planned_before(training_config: Callable[..., Config]) -> None:
    config = training_config()
    key = "policy.images.max_pixels"
    assert Settings(config).affects(key, version=1) == ["version=1"]
    values = config.policy.model_dump() | {"images": {"max_pixels": 4096}}
    changed = config.model_copy(update={"policy": type(config.policy).model_validate(values)})
    assert Settings(changed).affects(key, version=1) == ["version=1", f"{key}=4096"]
