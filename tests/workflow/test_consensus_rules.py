"""The consensus filter in the workflow: PRMs are trained on what it leaves, and no stage before it is repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from snake import Workflow, changed

RESULTS = "results/small"
JUDGE = {"url": "http://127.0.0.1:9/v1", "model": "judge"}
BEHIND = {"train_prm", "evaluate_prm", "score_candidates", "measure", "summarise", "write_report"}


def with_judge(**judge: Any) -> dict[str, Any]:
    """The small run, with its labels judged."""
    return changed({"labels.consensus": JUDGE | judge})


def commands(text: str, verb: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if f"mmprm {verb} " in line]


def job(text: str) -> str:
    """What a dry run says of the judging."""
    return text.split("rule judge_labels:")[1].split("\n\n", maxsplit=1)[0]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A folder in which the PRMs of `with_judge` are trained, as far as Snakemake knows."""
    workflow = Workflow(tmp_path_factory.mktemp("judged"))
    workflow.finish("prm", "labels", config=with_judge())
    return workflow


def test_switching_it_on_judges_and_trains_and_repeats_no_stage_before(finished: Workflow) -> None:
    plan = finished.plan(config=with_judge())
    assert plan.rules == {"judge_labels", "measure_labels", "write_data_card", *BEHIND}
    made = {f"{RESULTS}/labels/consensus.{end}" for end in ("parquet", "dropped.parquet", "json")}
    assert made <= set(plan.outputs)
    (judging,) = commands(plan.text, "judge-labels")
    assert f"--seeds {RESULTS}/seeds/seeds.parquet --paths {RESULTS}/labels/paths.parquet" in judging
    assert f"--work {RESULTS}/work/consensus --devices 0 " in judging
    trainings = commands(plan.text, "train-prm")
    assert len(trainings) == 2 and all(f"--paths {RESULTS}/labels/consensus.parquet" in line for line in trainings)
    # Held-out paths are measured as they were labelled, and the truth of labels with and without the filter.
    assert all(f"--paths {RESULTS}/labels/paths.parquet" in line for line in commands(plan.text, "evaluate-prm"))
    (measuring,) = commands(plan.text, "measure-labels")
    assert f"--paths {RESULTS}/labels/paths.parquet" in measuring
    assert f"--agreed {RESULTS}/labels/consensus.parquet" in measuring
    assert "gpu=0" in job(plan.text) and "threads" not in job(plan.text)


def test_without_it_there_is_no_trace_of_it(finished: Workflow, workflow: Workflow) -> None:
    assert finished.plan(config=changed({"labels.consensus": None})).jobs == []
    plan = workflow.plan()
    assert "judge_labels" not in plan.rules and "labels/consensus" not in plan.text
    records = [file.read_text() for file in (finished.folder / ".snakemake/metadata").rglob("*") if file.is_file()]
    assert any("labels.keep_ratio" in record for record in records)
    # Results from before there was such a section stay as they are.
    assert not any(name in record for record in records for name in ("labels.consensus", "labels/consensus"))
    done = workflow.run("-n", f"{RESULTS}/labels/consensus.parquet")
    assert done.returncode != 0
    assert "labels.consensus: no judging model is configured" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        ({"url": "http://elsewhere:8000/v1", "max_concurrent": 3, "max_unreadable_share": 0.5}, set()),
        ({"model": "another"}, {"judge_labels", "measure_labels", "train_prm", "evaluate_prm"}),
        ({"tries": 5}, {"judge_labels", "measure_labels", "train_prm", "evaluate_prm"}),
    ],
)
def test_another_judge_filters_anew_and_where_it_runs_changes_nothing(
    judged: Workflow, change: dict[str, Any], runs: set[str]
) -> None:
    assert judged.plan("prm", "labels", config=with_judge(**change)).rules == runs


def test_a_deleted_table_is_made_again_and_switching_it_off_trains_on_all_paths(judged: Workflow) -> None:
    plan = judged.plan("prm", "labels", config=changed({}))
    assert plan.rules == {"train_prm", "evaluate_prm", "measure_labels"}
    file = judged.folder / RESULTS / "labels/consensus.json"
    aside = file.rename(file.with_name("aside"))
    try:
        assert "judge_labels" in judged.plan("labels", config=with_judge()).rules
    finally:
        aside.rename(file)


def test_a_local_model_takes_a_device_and_the_threads_of_an_engine(workflow: Workflow, tmp_path: Path) -> None:
    local = changed({"labels.consensus": {"kind": "vllm", "model": str(tmp_path)}})
    text = job(workflow.plan("labels", config=local).text)
    assert "gpu=1" in text and "threads: 2" in text
