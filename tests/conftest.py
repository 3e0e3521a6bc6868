"""Fixtures that several parts share: the untrained mini model, the same with control tags, and a few problems.

And Qwen-VL's families beside it: whatever reads trees is tested on all of them.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_qwen
from hypothesis import settings

from mmprm.data.problem import Problem
from mmprm.mini.problems import FAMILIES, generate

pytest_plugins = ["training_fixtures"]

# A busy machine is slow, not wrong: no time limit an example.
settings.register_profile("mmprm", deadline=None)
settings.load_profile("mmprm")


# Where files run side by side (scripts/check.sh), the longest start first, or the last one runs alone at the end.
LONGEST = ("test_runs_of_slurm.py", "test_end_to_end.py", "test_deepspeed.py", "test_workflow_reruns.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each file goes to one process whole, and all that need this machine's one SLURM go to the same.

    (xdist 3.8's own loadgroup groups nothing under pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "slurm" if Path(file).parent.name == "slurm" else file

    return Files(config, log)


@pytest.fixture(scope="session")
def mini_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mini base model with random weights: without control tags, as a base model comes."""
    from mmprm.mini import base_model

    return base_model.build(tmp_path_factory.mktemp("models") / "mini-base")


@pytest.fixture(scope="session")
def mini_policy_folder(mini_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as the policy stage would leave it: with control tags and a manifest, but untrained."""
    from mmprm.model import folders

    folder = tmp_path_factory.mktemp("models") / "policy"
    processor = folders.load_processor(mini_model_folder)
    model = folders.load_model(mini_model_folder)
    folders.add_control_tokens(processor, model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    folders.write_manifest(folder, {"stage": "test"})
    return folder


# One family of each scheme of positions; the older Qwen-VL have that of the newest.
EVERY_TIME = ("internvl", "qwen3_vl")
OLDER = [pytest.param(name, marks=pytest.mark.heavy) for name in tiny_qwen.FAMILIES if name not in EVERY_TIME]


@pytest.fixture(scope="session", params=[*EVERY_TIME, *OLDER])
def any_policy_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained policy of each family in turn."""
    if request.param == "internvl":
        return request.getfixturevalue("mini_policy_folder")
    return tiny_qwen.build(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture(scope="session")
def counts_folder(any_policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a PRM whose manifest says that it was trained on counts."""
    from mmprm.model import folders

    folder = tmp_path_factory.mktemp("models") / "counts"
    shutil.copytree(any_policy_folder, folder)
    folders.write_manifest(folder, {"config": {"prm": {"label": "counts"}}})
    return folder


@pytest.fixture(scope="session")
def mini_problems() -> list[Problem]:
    """Twelve drawn problems with solutions, two of each family."""
    return generate("sft", 12, list(FAMILIES), seed=0)


@pytest.fixture(scope="session")
def sized_problems(mini_problems: list[Problem]) -> list[Problem]:
    """Problems with a figure, a part of one, two of differing sizes, and none."""
    from PIL import Image

    def part(problem: Problem, width: int, height: int) -> bytes:
        file = io.BytesIO()
        Image.open(io.BytesIO(problem.images[0])).crop((0, 0, width, height)).save(file, "PNG")
        return file.getvalue()

    first, second, third, fourth, *_ = mini_problems
    return [
        first,
        replace(second, images=(part(second, 128, 64),)),
        replace(third, images=(part(third, 64, 96), part(fourth, 96, 32))),
        replace(fourth, images=()),
    ]
