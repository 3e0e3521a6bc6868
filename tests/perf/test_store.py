"""The timing of stores of examples: its rows are of real size, and its result is complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from perf import store
from PIL import Image
from test_timing_scripts import run

from mmprm.data import schemas, tables
from mmprm.data.problem import decode_image
from mmprm.model.step_text import Status, parse


def test_the_rows_are_of_real_size_and_have_pictures_of_their_own(tmp_path: Path) -> None:
    store.make(tmp_path / "rows.parquet", 20)
    rows = tables.read_rows(tmp_path / "rows.parquet", schemas.PROBLEMS)
    assert len(rows) == len({row["images"][0] for row in rows}) == 20
    for row in rows[:3]:
        (data,) = row["images"]
        picture: Image.Image = decode_image(data)
        assert picture.size == (800, 600) and 60_000 < len(data) < 300_000
        assert parse(row["solution"]).status is Status.OK and len(row["solution"]) > 300


@pytest.mark.heavy
def test_the_store_script_measures_each_part(tmp_path: Path) -> None:
    ended = run("store", "--rows", "60", "--planned", "5000", "--folder", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout.splitlines()[-1])
    assert result["whole"]["examples"] == 60 and result["whole"]["tokens_an_example"] > 13 * 256
    assert {"rows_a_core_second", "five_million", "gb", "read", "plan", "machine"} <= set(result)
    assert all(result[part]["peak_mb"] > 20 for part in ("whole", "checked_again", "read", "plan"))
    assert list(tmp_path.iterdir()) == [], "what it made is gone"
