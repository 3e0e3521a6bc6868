"""Step data in the workflow: read after the benchmarks' problems, before the labels."""

from __future__ import annotations

import json

from snake import Workflow, changed

RESULTS = "results/small"


def test_extra_steps_are_held_against_every_benchmark_and_go_into_labels_and_training(workflow: Workflow) -> None:
    shepherd = {"kind": "math_shepherd", "path": "shepherd.jsonl"}
    judged = {"kind": "processbench", "path": "judged.json"}
    for file in (shepherd, judged):
        (workflow.folder / file["path"]).write_text("{}")
    config = changed({"step_data": {"shepherd": shepherd, "judged": judged}, "labels.extra": ["shepherd"]})
    plan = workflow.plan(config=config)
    commands = [" ".join(line.split()) for line in plan.text.splitlines() if "mmprm " in line]
    found = {name: [line for line in commands if f"mmprm {name} " in line] for name in ("read-steps", "train-prm")}
    tested = [f"{RESULTS}/problems/{source}.parquet" for source in ("ood", "test")]
    tested.append(f"{RESULTS}/step_data/judged/problems.parquet")
    assert len(found["read-steps"]) == 2
    assert any(
        f"--name shepherd --benchmarks {' '.join(tested)} --out {RESULTS}/step_data/shepherd/paths.parquet" in line
        for line in found["read-steps"]
    )
    assert any("--name judged --benchmarks --out" in line for line in found["read-steps"])
    assert all(f"--extra {RESULTS}/step_data/shepherd/problems.parquet" in line for line in found["train-prm"])
    assert any(f"--extra {RESULTS}/step_data/shepherd/paths.parquet" in line for line in commands)
    assert "read_steps" not in workflow.plan().rules


def test_step_data_is_read_for_real_by_its_own_target(workflow: Workflow) -> None:
    row = {"id": "gsm8k-0", "problem": "How many?", "steps": ["a", "b"], "label": -1}
    (workflow.folder / "judged.json").write_text(json.dumps([row]))
    config = changed({"step_data": {"judged": {"kind": "processbench", "path": "judged.json"}}})
    done = workflow.run("step_data", config=config)
    assert done.returncode == 0, done.stderr
    log = workflow.folder / RESULTS / "logs/read_steps/judged.log"
    assert "judged: 1 paths taken, 0 refused" in log.read_text()
