"""prm.replicates in the workflow: which jobs it adds to a finished run, and how they are called."""

from __future__ import annotations

import re

import yaml
from snake import ROOT, Workflow, changed

from mmprm.config import load

OVERLAY = ROOT / "configs/overlays/five_trainings.yaml"


def test_one_training_is_what_a_finished_run_has(finished: Workflow) -> None:
    assert finished.plan(config=changed({"prm.replicates": 1})).jobs == []


def test_more_trainings_are_made_beside_the_first_and_measured_together(finished: Workflow) -> None:
    plan = finished.plan(config=changed({"prm.replicates": 3}))
    trained = sorted(paths[0] for rule, paths in plan.jobs if rule == "train_prm")
    assert trained == [f"results/small/prm/{name}@{n}/manifest.json" for name in ("slow", "soft") for n in (1, 2)]
    assert plan.rules == {
        *("train_prm", "evaluate_prm", "score_candidates", "measure_trainings", "summarise", "write_report")
    }
    assert (plan.count("score_candidates"), plan.count("measure_trainings")) == (2 * 4, 2 * 2)
    assert "results/small/bench/ood/soft@2/scores.parquet" in plan.outputs
    own = "results/small/bench/test/soft"
    (command,) = re.findall(r"mmprm measure-trainings .*--benchmark test --variant soft .*", plan.text)
    assert f"--scores {own}/scores.parquet {own}@1/scores.parquet {own}@2/scores.parquet --outcome" in command
    (command,) = re.findall(r"mmprm train-prm .*--variant soft@1 .*", plan.text)
    assert (
        "--paths results/small/labels/paths.parquet " in command and "--work results/small/work/prm/soft@1 " in command
    )


def test_a_training_that_is_not_configured_is_refused(workflow: Workflow) -> None:
    for target in ("prm/soft@2/manifest.json", "bench/test/soft@2/scores.parquet"):
        done = workflow.run("-n", f"results/small/{target}", config=changed({"prm.replicates": 2}))
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode != 0
        assert "prm.replicates: 2, so there is no 'soft@2'; allowed: ['soft', 'soft@1']" in said


def test_an_ablation_of_several_trainings_has_the_scores_of_each(finished: Workflow) -> None:
    ablation = {"title": "x", "variants": ["soft", "slow"], "benchmarks": ["test"]}
    plan = finished.plan("ablations", config=changed({"ablations.both": ablation, "prm.replicates": 2}))
    assert (plan.count("train_prm"), plan.count("measure_trainings"), plan.count("write_ablation")) == (2, 2, 1)
    (command,) = re.findall(r"mmprm write-ablation .*", plan.text)
    of = "results/small/bench/test"
    scores = " ".join(f"{of}/{name}/scores.parquet" for name in ("soft", "soft@1", "slow", "slow@1"))
    assert f"--scores {scores} --metrics {of}/soft/trainings.json {of}/slow/trainings.json" in command


def test_outcome_trainings_are_paired_by_their_number(workflow: Workflow) -> None:
    config = changed({"prm.variants.orm": {"label": "outcome"}, "prm.replicates": 2})
    plan = workflow.plan("results/small/bench/test/soft/trainings.json", config=config)
    (command,) = re.findall(r"mmprm measure-trainings .*", plan.text)
    own = "results/small/bench/test/orm"
    assert f"--outcome {own}/scores.parquet {own}@1/scores.parquet --out" in command


def test_the_overlay_of_five_trainings_goes_over_the_default_run_and_the_ablations() -> None:
    overlay, default = (yaml.safe_load(path.read_text()) for path in (OVERLAY, ROOT / "workflow_config.yaml"))
    assert overlay == {"prm": {"replicates": 5}}
    assert len(load(default | {"prm": default["prm"] | overlay["prm"]}).prm.models) == 5
