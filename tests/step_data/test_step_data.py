"""Published step data becomes paths of our schema, and none of it is a problem that we test on."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from table_pictures import picture

from mmprm import config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems, write_problems
from mmprm.runtime.errors import UserError
from mmprm.step_data.read_steps import read_steps

Row = dict[str, Any]
DRAWN = {"kind": "mini", "split": "sft", "size": 1, "families": ["bars"]}


def run_config(kind: str, path: Path, bound: float = 1.0, **settings: Any) -> config.Config:
    return config.load(
        {
            "run": "test",
            "sources": {"drawn": DRAWN, "test": DRAWN | {"split": "test"}},
            "step_data": {"steps": {"kind": kind, "path": str(path), **settings}},
            "intake": {"max_refused_share": bound},
            "policy": {"base": "none", "sources": ["drawn"]},
            "seeds": {"sources": ["drawn"]},
            "benchmarks": {"test": {"source": "test"}},
        }
    )


@pytest.fixture
def take(tmp_path: Path) -> Callable[..., tuple[list[Row], dict[str, Problem], dict[int, str]]]:
    """Reads rows as a kind of step data; gives paths in the order of the rows, problems, and {row: reason}."""

    def run(kind: str, rows: list[Any], benchmark: list[Problem] | None = None, **settings: Any) -> Any:
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        tested = []
        if benchmark is not None:
            write_problems(tmp_path / "tested.parquet", benchmark)
            tested = [tmp_path / "tested.parquet"]
        out = tmp_path / "out" / "paths.parquet"
        read_steps(run_config(kind, path, **settings), "steps", tested, out)
        paths = tables.read_rows(out, schemas.PATHS)
        assert paths == sorted(paths, key=lambda row: (row["problem_id"], row["path_id"]))
        problems = {problem.problem_id: problem for problem in read_problems(out.with_name("problems.parquet"))}
        assert set(problems) == {row["problem_id"] for row in paths}
        refused = tables.read_rows(out.with_name("refused.parquet"), schemas.REFUSED)
        assert all(row["detail"] for row in refused)
        return paths, problems, {row["row"]: row["reason"] for row in refused}

    (tmp_path / "a.png").write_bytes(picture(1))
    (tmp_path / "b.png").write_bytes(picture(2))
    return run


def visual(*counts: tuple[int, int], **changes: Any) -> Row:
    steps = [
        {"step": f"Step {place}.", "score": correct / total, "num_mc_correct": correct, "num_mc_total": total}
        for place, (correct, total) in enumerate(counts)
    ]
    return {
        "image": "a.png",
        "question": "Solve it step by step.\nQuestion: How long is it?",
        "question_orig": "<image>\nHow long is it?",
        "answer": "B",
        "response": "…",
        "steps_with_score": steps,
    } | changes


def test_visualprm400k_rows_keep_their_counts(take: Callable[..., Any]) -> None:
    paths, problems, bad = take("visualprm400k", [visual((12, 16), (0, 16), (4, 16), (0, 16))])
    (path,), (problem,) = paths, problems.values()
    assert not bad
    assert (path["n_correct"], path["n_rollouts"]) == ([12, 0, 4, 0], [16, 16, 16, 16])
    assert path["hard"] == [1, 1, 1, 0]  # the second step is continued by what the third one's right rollouts continue
    assert path["label_source"] == ["probed"] * 4
    assert path["steps"] == ["Step 0.", "Step 1.", "Step 2.", "Step 3."] and path["answer"] is None
    assert (path["kind"], path["split"], path["source"]) == ("given", "train", "steps")
    assert (problem.question, problem.answer, problem.images) == ("How long is it?", "B", (picture(1),))


def test_scores_without_counts_are_counts_of_the_rows_rollouts(take: Callable[..., Any]) -> None:
    steps = [{"step": "One.", "score": 0.75}, {"step": "Two.", "score": 0.0}]
    rows = [
        visual(steps_with_score=steps, num_mc_sequences=16),
        visual(steps_with_score=steps),
        visual(steps_with_score=[{"step": "One.", "score": 0.7}], num_mc_sequences=16),
    ]
    paths, _, bad = take("visualprm400k", rows)
    assert [(path["n_correct"], path["n_rollouts"]) for path in paths] == [([12, 0], [16, 16])]
    assert bad == {1: "bad_value", 2: "bad_value"}


def test_solutions_of_one_problem_share_it_and_a_solution_is_taken_once(take: Callable[..., Any]) -> None:
    rows = [visual((1, 2)), visual((1, 2), (2, 2)), visual((1, 2)), visual((1, 2), image="b.png")]
    paths, problems, bad = take("visualprm400k", rows)
    assert bad == {2: "duplicate_id"}
    assert len(paths) == 3 and len(problems) == 2 and len({path["path_id"] for path in paths}) == 3


def test_a_row_of_step_data_that_cannot_be_used_is_refused_with_its_reason(take: Callable[..., Any]) -> None:
    rows = [
        visual((1, 2)),
        visual((3, 2)),
        visual((1, 2), steps_with_score=[{"step": "a", "num_mc_correct": 0, "num_mc_total": 0}]),
        visual(),
        visual((1, 2), steps_with_score=[{"step": " ", "num_mc_correct": 1, "num_mc_total": 2}]),
        visual((1, 2), steps_with_score=[{"step": "say </step>", "num_mc_correct": 1, "num_mc_total": 2}]),
        visual((1, 2), steps_with_score=["a step"]),
        visual((1, 2), steps_with_score=[{"step": None, "num_mc_correct": 1, "num_mc_total": 2}]),
        visual((1, 2), image="../secret.png"),
        visual((1, 2), image=None),
        visual((1, 2), question_orig="In <image> and <image>, what?"),
        visual((1, 2), question_orig=None, question=None),
        ["no object"],
    ]
    _, _, bad = take("visualprm400k", rows)
    reasons = ["bad_value", "bad_value", "missing_value", "bad_value", "control_string", "bad_value", "bad_value"]
    reasons += ["path_outside", "missing_value", "control_string", "missing_value", "bad_row"]
    assert bad == dict(enumerate(reasons, start=1))


def test_math_shepherd_rows_have_verdicts_without_counts(take: Callable[..., Any]) -> None:
    row = {"prompt": "How many eggs?", "completions": ["Step 1: 16.\n", "Step 2: 9."], "labels": [True, False]}
    rows = [row, row | {"labels": [True]}, row | {"labels": [1.0, 0.5]}, row | {"completions": []}]
    paths, problems, bad = take("math_shepherd", rows)
    assert bad == {1: "bad_value", 2: "bad_value", 3: "missing_value"}
    assert paths[0]["steps"] == ["Step 1: 16.", "Step 2: 9."] and paths[0]["hard"] == [1, 0]
    assert paths[0]["n_rollouts"] == [None, None] and paths[0]["label_source"] == ["given", "given"]
    assert [(p.question, p.images, p.answer) for p in problems.values()] == [("How many eggs?", (), "")]


def test_math_shepherd_loads_as_the_hub_holds_it(tmp_path: Path) -> None:
    columns = {"prompt": ["How many?"], "completions": [["So 9."]], "labels": [[True]]}
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        pq.write_table(pa.table(columns), tmp_path / f"data/{split}-00000-of-00001.parquet")
    read_steps(run_config("math_shepherd", tmp_path), "steps", [], tmp_path / "out" / "paths.parquet")
    assert [row["steps"] for row in tables.read_rows(tmp_path / "out/paths.parquet", schemas.PATHS)] == [["So 9."]]


def test_visualprocessbench_leaves_neutral_steps_without_a_label(take: Callable[..., Any]) -> None:
    row = {
        "image": ["a.png", "b.png"],
        "question": "<image>\n<image>\nHow many?",
        "answer": "4",
        "response": {"steps": ["a", "b", "c"], "process_correctness": [1, 0, -1]},
        "policy_model": "GPT-4o",
        "data_source": "MathVision",
    }
    other = row | {"response": {"steps": ["a"], "process_correctness": [2]}}
    neutral = row | {"response": {"steps": ["a"], "process_correctness": [0]}}
    short = row | {"response": {"steps": ["a", "b"], "process_correctness": [1]}}
    paths, problems, bad = take("visualprocessbench", [row, other, neutral, short, row | {"response": "text"}])
    assert bad == {1: "bad_value", 2: "no_label", 3: "bad_value", 4: "bad_value"}
    assert (paths[0]["hard"], paths[0]["label_source"]) == ([1, None, 0], ["given", "none", "given"])
    assert paths[0]["split"] == "test"
    (problem,) = problems.values()
    assert problem.images == (picture(1), picture(2)) and problem.family == "MathVision"


def test_processbench_labels_end_at_the_first_error(take: Callable[..., Any]) -> None:
    row = {"id": "gsm8k-0", "generator": "Qwen", "problem": "How many?", "steps": ["a", "b", "c"], "label": 1}
    rows = [row | {"final_answer_correct": False}, row | {"id": "math-1", "label": -1}, row | {"label": 3}]
    paths, problems, bad = take("processbench", [*rows, row | {"label": -2}, row | {"steps": [], "label": 0}])
    assert bad == {2: "bad_value", 3: "bad_value", 4: "missing_value"}
    by_subset = {problems[path["problem_id"]].family: (path["hard"], path["label_source"]) for path in paths}
    assert by_subset == {
        "gsm8k": ([1, 0, None], ["given", "given", "none"]),
        "math": ([1, 1, 1], ["given"] * 3),
    }


def test_prmbench_errors_are_counted_from_one(take: Callable[..., Any]) -> None:
    row = {
        "idx": "circular_0",
        "original_question": "Before?",
        "modified_question": "How much?",
        "original_process": ["1. x"],
        "modified_process": ["1. a", "2. b", "3. c"],
        "modified_steps": [3],
        "error_steps": [3],
        "reason": "…",
        "classification": "circular",
    }
    rows = [row, row | {"error_steps": [], "classification": "multi_solutions"}, row | {"error_steps": [0]}]
    paths, problems, bad = take("prmbench", [*rows, row | {"error_steps": [4]}, row | {"error_steps": None}])
    assert bad == {2: "bad_value", 3: "bad_value", 4: "missing_value"}
    found = {problems[path["problem_id"]].family: path["hard"] for path in paths}
    assert found == {"circular": [1, 1, 0], "multi_solutions": [1, 1, 1]}
    assert {problem.question for problem in problems.values()} == {"How much?"}


def test_a_problem_of_a_benchmark_is_never_trained_on(take: Callable[..., Any], tmp_path: Path) -> None:
    long = "A train leaves the station at nine and another one at ten; when do they meet?"
    out = io.BytesIO()
    Image.open(io.BytesIO(picture(2))).save(out, "BMP")
    benchmark = [
        Problem("bench/picture", "bench", "Find x.", "1", (out.getvalue(),)),  # b.png in another format
        Problem("bench/verse", "bench", f"Reason first.\nQuestion: {long}\nChoices:\nA:1\nB:2", "A", (picture(7),)),
        Problem("bench/words", "bench", "How many eggs?", "9"),
    ]
    rows = [
        visual((1, 2)),
        visual((1, 2), image="b.png"),
        visual((1, 2), question_orig=f"<image>\nAnswer me. {long.upper()}  A. 1 B. 2"),
        visual((1, 2), question_orig="Find x."),
    ]
    paths, _, bad = take("visualprm400k", rows, benchmark, bound=0)
    assert bad == {1: "in_benchmark", 2: "in_benchmark"} and len(paths) == 2
    details = [row["detail"] for row in tables.read_rows(tmp_path / "out/refused.parquet", schemas.REFUSED)]
    says = ["a picture of it is one of bench/picture", "it asks what bench/verse asks"]
    assert details == [f"data.jsonl, line {line}: {why}" for line, why in zip((2, 3), says, strict=True)]
    eggs = {"prompt": "How many EGGS?", "completions": ["9."], "labels": [True]}
    _, _, bad = take("math_shepherd", [eggs, eggs | {"prompt": "How many eggs are there?"}], benchmark)
    assert bad == {0: "in_benchmark"}


def test_too_many_bad_rows_stop_it_and_leave_a_list_and_no_table(take: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"of 2 rows 1 paths taken, 1 refused \(1 path_outside\).*stopped\.parquet"):
        take("visualprm400k", [visual((1, 2)), visual((1, 2), image="../x.png")], bound=0.4)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stopped.parquet"]


def test_a_file_of_another_form_is_named(take: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"no column 'prompt'.*not math_shepherd as it was published"):
        take("math_shepherd", [{"question": "q"}])
