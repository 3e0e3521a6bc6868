"""Step data that `labels.extra` names is trained on beside the run's own paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from table_pictures import picture
from toy_world import toy_config

from mmprm import config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.labels.cleaning import Cleaning
from mmprm.labels.gather import gather_labels
from mmprm.model import folders
from mmprm.model.step_text import parse
from mmprm.prm import marker_examples, train_prm
from mmprm.runtime.errors import UserError
from mmprm.step_data.read_steps import read_steps
from mmprm.training.examples import IGNORE

SHEPHERD = {"kind": "math_shepherd", "path": "shepherd.jsonl"}


def with_steps(**step_data: Any) -> dict[str, Any]:
    """Sections of a toy configuration that trains on all of `step_data`."""
    return {"step_data": step_data, "labels": {"extra": list(step_data)}}


@pytest.fixture
def extra(tmp_path: Path) -> tuple[config.Config, list[Path], list[Path]]:
    """A configuration, and the path and problem tables of two kinds of step data: of text, and with pictures."""
    (tmp_path / "a.png").write_bytes(picture(5))
    text = [
        {
            "prompt": f"What is {n} + {n}?",
            "completions": [f"{n} + {n} = {2 * n}", "so it ends"],
            "labels": [True, n > 1],
        }
        for n in range(3)
    ]
    steps = [{"step": "A bar is 3.", "num_mc_correct": 3, "num_mc_total": 4}]
    seen = [{"image": "a.png", "question": f"Bar {n}?", "answer": "3", "steps_with_score": steps} for n in range(2)]
    for name, rows in (("text", text), ("seen", seen)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = toy_config(
        **with_steps(
            text={"kind": "math_shepherd", "path": str(tmp_path / "text.jsonl")},
            seen={"kind": "visualprm400k", "path": str(tmp_path / "seen.jsonl")},
        )
    )
    for name in settings.step_data:
        read_steps(settings, name, [], tmp_path / name / "paths.parquet")
    tables_of = [[tmp_path / name / f"{kind}.parquet" for name in settings.step_data] for kind in ("paths", "problems")]
    return settings, *tables_of


def own_paths(folder: Path, problems: list[Problem]) -> tuple[Path, list[dict[str, Any]]]:
    """The problems as seeds, and a right path of each, as the labels stage writes them."""
    rows = []
    for problem in problems:
        parsed = parse(problem.solution or "")
        n = len(parsed.steps)
        rows.append(
            {
                "path_id": f"{problem.problem_id}/good",
                "problem_id": problem.problem_id,
                "source": "mini",
                "split": "train",
                "kind": "positive",
                "steps": list(parsed.steps),
                "answer": parsed.answer,
                "n_correct": [4] * n + [1],
                "n_rollouts": [8] * n + [1],
                "hard": [1] * (n + 1),
                "label_source": ["probed"] * n + ["answer"],
                "soft": [0.5] * n + [1.0],
            }
        )
    write_problems(folder / "seeds.parquet", problems)
    return folder / "seeds.parquet", rows


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["paths", "trees"])
def test_a_prm_learns_from_its_own_paths_and_from_extra_ones_with_and_without_pictures(
    extra: Any, mini_problems: list[Problem], mini_policy_folder: Path, tmp_path: Path, packing: str
) -> None:
    settings, path_tables, problem_tables = extra
    seeds, rows = own_paths(tmp_path, mini_problems[:4])
    tables.write(tmp_path / "all.parquet", rows + tables.read_rows(path_tables, schemas.PATHS), schemas.PATHS)
    training = {"learning_rate": 1e-3, "batch_size": 4, "micro_batch_size": 2, "max_length": 256, "precision": "fp32"}
    settings = toy_config(
        prm={"training": training, "packing": packing},
        step_data=settings.model_dump(mode="json")["step_data"],
        labels={"extra": ["text", "seen"]},
    )
    given = (mini_policy_folder, seeds, *(tmp_path / name for name in ("all.parquet", "work", "prm")))
    train_prm.train_prm(settings, "soft", *given, problem_tables)
    info = folders.check_manifest(tmp_path / "prm")["info"]
    labels = sum(len(row["hard"]) for row in rows) + 3 * 2 + 2
    assert (info["examples"], info["problems"], info["markers"]) == (4 + 3 + 2, 4 + 3 + 2, labels)
    assert 0 < info["final_loss"] < 10
    card = (tmp_path / "prm/README.md").read_text()
    assert "those that came with `text` (text.jsonl, licence unknown), `seen` (seen.jsonl, licence unknown)" in card
    with pytest.raises(UserError, match=r"problem text/.* is not in the problem tables"):
        train_prm.train_prm(settings, "soft", *given)


def test_a_verdict_that_came_without_counts_is_a_label_of_every_variant() -> None:
    row = {
        "n_correct": [None, None, None, 2],
        "n_rollouts": [None, None, None, 8],
        "hard": [1, 0, None, 1],
        "label_source": ["given", "given", "none", "probed"],
        "soft": [1, 0, None, 0.25],
    }
    assert marker_examples.marker_labels(row, "soft").tolist() == [1, 0, IGNORE, 0.25]
    assert marker_examples.marker_labels(row, "hard").tolist() == [1, 0, IGNORE, 1]
    assert marker_examples.marker_labels(row, "counts").tolist() == [1, 0, IGNORE, 0.25]
    assert marker_examples.marker_trials(row).tolist() == [1, 1, 1, 8]


def test_extra_paths_stand_beside_the_runs_own_and_are_counted_apart(extra: Any, tmp_path: Path) -> None:
    settings, path_tables, _ = extra
    shard = tmp_path / "0-of-1"
    write_problems(tmp_path / "seeds.parquet", [])
    for name, schema in (("nodes", schemas.NODES), ("rollouts", schemas.ROLLOUTS), ("status", schemas.STATUS)):
        tables.write(shard / f"{name}.parquet", [], schema)
    out, statistics = tmp_path / "all.parquet", tmp_path / "statistics.json"
    cleaning = Cleaning(settings.labels)
    gather_labels(settings, tmp_path / "seeds.parquet", [shard], out, statistics, cleaning, path_tables)
    rows = tables.read_rows(out, schemas.PATHS)
    assert rows == sorted(rows, key=lambda row: (row["problem_id"], row["path_id"])) and len(rows) == 5
    assert {row["split"] for row in rows} == {"train"}
    found = json.loads(statistics.read_text())
    assert found["paths"] == 0 and found["extra_paths_by_source"] == {"seen": 2, "text": 3}


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"labels": {"extra": ["shepherd"]}}, "labels.extra: 'shepherd' is no training data of step_data; allowed: []"),
        (
            with_steps(judged={"kind": "processbench", "path": "data"}),
            "labels.extra: 'judged' is no training data of step_data; allowed: []",
        ),
        ({"step_data": {"toy": SHEPHERD}}, "step_data.toy: a source has this name too"),
        ({"step_data": {"s": SHEPHERD | {"kind": "prm800k"}}}, "step_data.s.kind: "),
        ({"step_data": {"s": SHEPHERD | {"pth": "x"}}}, "step_data.s.pth: there is no such key; allowed: ['files', "),
        ({"step_data": {"s": {"kind": "math_shepherd"}}}, "step_data.s: path: give either path"),
    ],
)
def test_a_wrong_entry_of_step_data_is_named(sections: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as raised:
        toy_config(**sections)
    assert says in str(raised.value)
