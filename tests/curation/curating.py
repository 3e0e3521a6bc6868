"""Problems for curation, and a run of it over them."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from mmprm import config
from mmprm.curation.curate import Outputs, curate
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems, write_problems


def figure(seed: int, label: str = "12", size: tuple[int, int] = (240, 180)) -> Image.Image:
    """A drawing of lines that differ by the seed, with a label in it."""
    rng = random.Random(seed)
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    corners = [(rng.randrange(10, size[0] - 10), rng.randrange(10, size[1] - 10)) for _ in range(5)]
    pen.polygon(corners, outline="black", width=2)
    pen.text((size[0] // 2, size[1] // 2), label, fill="black", font_size=16)
    return image


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def problem(
    name: str, question: str, answer: str = "12", image: Image.Image | int | None = 0, **fields: Any
) -> Problem:
    """A problem of the source `pool`; image: a picture, or the seed of a figure."""
    shown = figure(image) if isinstance(image, int) else image
    images = () if shown is None else (encoded(shown),)
    return replace(Problem(f"pool/{name}", "pool", question, answer, images), **fields)


class Curated:
    """What curation made of a pool: its tables and its funnel."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept = read_problems(folder / "out.parquet")
        self.held_out = read_problems(folder / "test.parquet")
        self.refused = {
            row["problem_id"].partition("/")[2]: row
            for row in tables.read_rows(folder / "refused.parquet", schemas.REFUSED)
        }
        self.funnel = json.loads((folder / "funnel.json").read_text())

    @property
    def reasons(self) -> dict[str, str]:
        """Of each refused problem, by its name, the rule."""
        return {name: row["reason"] for name, row in self.refused.items()}

    @property
    def files(self) -> dict[str, bytes]:
        """The bytes of all that was written."""
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}


def settings(source: Mapping[str, Any], seed: int = 0) -> config.Config:
    """A run that has a curated source, with these settings."""
    return config.load(
        {
            "run": "test",
            "seed": seed,
            "sources": {
                "pool": {"kind": "mini", "split": "seeds", "size": 1, "families": ["bars"]},
                "drawn": {"kind": "mini", "split": "sft", "size": 1, "families": ["bars"]},
                "bench": {"kind": "mini", "split": "test", "size": 1, "families": ["bars"]},
                "fit": {"kind": "curated", "sources": ["pool"], **source},
            },
            "policy": {"base": "none", "sources": ["drawn"]},
            "seeds": {"sources": ["fit"]},
            "benchmarks": {"bench": {"source": "bench"}},
        }
    )


def run(
    folder: Path,
    pool: Sequence[Problem],
    tested: Sequence[Problem] = (),
    workers: int = 1,
    seed: int = 0,
    **source: Any,
) -> Curated:
    """Curate `pool` beside the benchmark `tested`; source: settings of the curated source."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = folder / "in"
    rows = {"pool": pool, "bench": tested}
    for name, problems in rows.items():
        write_problems(inputs / f"{name}.parquet", problems)
    return again(folder, inputs, workers, seed, **source)


def again(folder: Path, inputs: Path, workers: int = 1, seed: int = 0, **source: Any) -> Curated:
    """Curate tables that are there."""
    outputs = Outputs(*(folder / name for name in ("out.parquet", "refused.parquet", "funnel.json", "test.parquet")))
    tested = [inputs / "bench.parquet"]
    curate(settings(source, seed), "fit", [inputs / "pool.parquet"], tested, folder / "work", outputs, workers)
    return Curated(folder)
