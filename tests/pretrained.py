"""A real pretrained model. It is no part of the repository: tests that lack it say so and are skipped."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = "MMPRM_SMOLLM2"  # the environment variable: the folder, where it is not where scripts/smollm2.py puts it


def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct; the test is skipped where it is not at hand."""
    folder = Path(os.environ.get(FOLDER) or ROOT / "models/smollm2-135m")
    if not (folder / "config.json").is_file():
        pytest.skip(f"no SmolLM2: {folder} is not there; python scripts/smollm2.py makes it, {FOLDER} names another")
    return folder
