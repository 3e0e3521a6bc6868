"""Each family from its base to scores, and that the table in the docs says what comes of it."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import family_matrix
import pytest
from family_cells import FAMILIES, PRECISIONS, STEPS, Outcome, Place, attempt
from family_matrix import COLUMNS, JSON, PlainReader, try_row
from waiting import HANG

HALF = ("llava", "qwen3_vl", "llama")  # in `make test` in bfloat16 too
ELSEWHERE = ("internvl", "qwen2_5_vl")  # in float32: tests/workflow/test_end_to_end.py, tests/training/test_qwen.py
EVERY_TIME = [(family, "float32") for family in FAMILIES if family not in ELSEWHERE]
EVERY_TIME += [(family, "bfloat16") for family in HALF]
LATER = [(family, precision) for family in FAMILIES for precision in PRECISIONS]
LATER = [row for row in LATER if row not in EVERY_TIME]
TABLE = {(c["family"], c["precision"], c["step"]): c for c in json.loads(JSON.read_text())["cells"]}


def agrees(found: Outcome, cell: dict[str, object]) -> bool:
    """What came of a step is what the table says: the same outcome, and a difference of the same size at most."""
    if found.outcome != cell["outcome"]:
        return False
    return found.difference is None or found.difference <= 10 * max(float(str(cell["difference"])), 1e-6)


@pytest.fixture(scope="module", autouse=True)
def without_old_objects() -> Iterator[None]:
    """Each training has the collector look at all objects, of which imports have left a million."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "precision"), [*EVERY_TIME, *(pytest.param(*row, marks=pytest.mark.heavy) for row in LATER)]
)
def test_a_family_goes_from_its_base_to_scores(family: str, precision: str, tmp_path: Path) -> None:
    place = Place(family, precision, tmp_path)
    for step in [name for name in STEPS if "vllm" not in name]:
        found = attempt(step, place)
        assert agrees(found, TABLE[family, precision, step]), f"{step}: {found}"
        if found.outcome != "works":
            return


@pytest.fixture(scope="module")
def readers() -> Iterator[list[PlainReader]]:
    opened = [PlainReader(library, HANG) for library in ("transformers", "vllm")]
    yield opened
    for reader in opened:
        reader.close()


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("family", FAMILIES)
def test_vllm_and_plain_libraries_read_a_family_as_the_table_says(
    family: str, readers: list[PlainReader], tmp_path: Path
) -> None:
    for cell in try_row(family, "float32", tmp_path, HANG, readers):
        found = Outcome(cell["outcome"], cell.get("difference"), cell.get("text", ""))
        assert agrees(found, TABLE[family, "float32", cell["step"]]), cell


def test_the_table_has_every_cell() -> None:
    assert sorted(TABLE) == sorted((f, p, s) for f in FAMILIES for p in PRECISIONS for s in COLUMNS)
    for cell in TABLE.values():
        assert cell["outcome"] == "works" or len(cell["text"]) > 5, cell


def broken(family: str, precision: str, folder: Path, steps: Sequence[str]) -> None:
    """Steps of which one kills its process, and one hangs."""
    os.setsid()
    for step in steps:
        if step == "die":
            os.kill(os.getpid(), 9)
        if step == "hang":
            time.sleep(HANG)
        (folder / f"{step}.json").write_text(json.dumps({"outcome": "works"}))


def test_a_step_that_dies_or_hangs_is_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next one is tried."""
    monkeypatch.setattr(family_matrix, "server", lambda: multiprocessing.get_context("fork"))  # no vLLM is needed
    cells = try_row("a", "float32", tmp_path / "dies", HANG, (), broken, ("one", "die", "two"))
    assert [cell["outcome"] for cell in cells] == ["works", "failed", "works"]
    assert cells[1]["text"] == "its process ended with status -9"
    (cell,) = try_row("a", "float32", tmp_path / "hangs", 0.5, (), broken, ("hang",))
    assert cell["outcome"] == "failed" and cell["text"].startswith("it hung: no end within")
