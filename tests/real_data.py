"""Real rows of published data sets. They are no part of the repository: tests that lack them say so and are skipped."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
# The environment variable: a folder with real/, pieces of published sets as they were published.
FOLDER = "MMPRM_REAL_DATA"
SAMPLES = {"mm_k12": "real/mm_k12/k12.json", "mathvision": "mathvision/testmini.parquet"}


def published(place: str) -> Path:
    """The file or folder of published rows; the test is skipped where it is not at hand."""
    folder = os.environ.get(FOLDER)
    path = Path(folder or "", place)
    if not folder or not path.exists():
        pytest.skip(f"no real rows: {FOLDER} names no folder with {place}")
    return path


def sample(name: str) -> Path:
    """The file of a sample; the test is skipped where it is not at hand."""
    return published(SAMPLES[name])


def real_samples() -> dict[str, Any]:
    """configs/real_samples.yaml with the paths of the samples."""
    values: dict[str, Any] = yaml.safe_load((ROOT / "configs/real_samples.yaml").read_text(encoding="utf-8"))
    for name in SAMPLES:
        values["sources"][name]["path"] = str(sample(name))
    return values
