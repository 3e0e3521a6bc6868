"""The first minutes with own data: `mmprm try` shows how rows are understood, `mmprm look` why some were refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from real_data import published
from table_pictures import picture
from taking import take_in

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.problems.look import look
from mmprm.problems.try_data import try_data
from mmprm.runtime.errors import UserError

ROWS = [
    {"nr": 1, "problem": "What is the sum?", "gold": 12, "file": "a.png", "opts": None, "topic": "sums"},
    {"nr": 2, "problem": "Which is it?", "gold": "B", "file": "a.png", "opts": ["4", "5"], "topic": "sums"},
    {"nr": 3, "problem": "Which one?", "gold": "C", "file": "a.png", "opts": ["4", "5"], "topic": "sums"},
    {"nr": 4, "problem": "How long?", "gold": "3", "file": "b.png", "opts": None, "topic": "sums"},
]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file of rows with other columns than ours, and its pictures in a folder beside it."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(picture())
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return tmp_path / "own.jsonl"


def test_try_shows_each_row_and_a_configuration_that_reads_them_so(own: Path, tmp_path: Path) -> None:
    text = try_data(own, None, None, {}, 20)
    first, second = text.split("own.jsonl, line 2: 2")
    assert all(part in first for part in ("What is the sum?", "PNG 24 x 16", "gold:      12", "as a number"))
    assert "(A) 4  (B) 5" in second and "as a choice" in second
    assert "own.jsonl, line 3: the answer 'C' is none of the choices" in text
    assert "own.jsonl, line 4: there is no file 'b.png'" in text and "2 of 4 rows are taken" in text
    settings = yaml.safe_load(text[text.index("sources:") :])
    source = settings["sources"]["own"]
    assert source["columns"] == {"id": "nr", "question": "problem", "answer": "gold", "image": "file"} | {
        "choices": "opts",
        "family": "topic",
    }
    problems, bad = take_in(tmp_path, source, {"max_refused_share": 1.0})
    assert [problem.problem_id for problem in problems] == ["real/1", "real/2"] and len(bad) == 2
    assert problems[0].family == "sums"


def test_try_takes_columns_and_kind_from_the_caller(own: Path) -> None:
    text = try_data(own, "table", own.parent / "images", {"answer": "nr", "choices": ""}, 2)
    assert "gold:      1\n" in text and "2 of 2 rows" in text
    with pytest.raises(UserError, match="--kind nonsense: there are table"):
        try_data(own, "nonsense", None, {}, 2)
    with pytest.raises(UserError, match="no column 'nowhere' for 'answer'"):
        try_data(own, None, None, {"answer": "nowhere"}, 2)
    with pytest.raises(UserError, match="no such file"):
        try_data(own.parent / "other", None, None, {}, 2)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("dynamath", "dynamath"), ("we_math/testmini.json", "we_math"), ("mathvision/test.parquet", "mathvision")],
)
def test_try_knows_published_sets_by_their_columns(path: str, kind: str) -> None:
    text = try_data(published(f"real/{path}"), None, None, {}, 3)
    assert f"kind: {kind}" in text and "3 of 3 rows are taken" in text
    assert yaml.safe_load(text[text.index("sources:") :])["sources"]["own"]["kind"] == kind


def test_look_shows_reason_words_question_and_picture(tmp_path: Path) -> None:
    problems = [Problem(f"pool/{name}", "pool", f"Prove {name}.", "4", (picture(at),)) for at, name in enumerate("ab")]
    write_problems(tmp_path / "pool.parquet", problems)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    refused = [
        {"source": "pool", "row": None, "problem_id": "pool/a", "reason": "proof", "detail": "it asks: 'prove'"},
        {"source": "pool", "row": 7, "problem_id": None, "reason": "bad_row", "detail": "own.csv, line 9: torn"},
    ]
    tables.write(tmp_path / "fit.refused.parquet", refused, schemas.REFUSED)
    text = look(tmp_path / "fit.refused.parquet", [], 20, tmp_path / "shown")
    assert "2 refused (1 proof, 1 bad_row)" in text and "it asks: 'prove'" in text and "Prove a." in text
    assert str(tmp_path / "shown/pool_a-1.png") in text and "own.csv, line 9: torn" in text
    assert (tmp_path / "shown/pool_a-1.png").read_bytes() == picture(0)
    only = look(tmp_path / "fit.refused.parquet", ["bad_row"], 20, tmp_path / "shown")
    assert "line 9" in only and "prove" not in only
    with pytest.raises(UserError, match="--reason x: the reasons are proof, bad_row"):
        look(tmp_path / "fit.refused.parquet", ["x"], 20, tmp_path)
    with pytest.raises(UserError, match="no such file"):
        look(tmp_path / "none.parquet", [], 20, tmp_path)
