"""Sealed tests in the workflow: no target but `sealed` touches them, and a look comes before any problem."""

from __future__ import annotations

import re
from typing import Any

from snake import Workflow, changed

SEALED: dict[str, Any] = {
    "sources.sealed": {"kind": "mini", "split": "sealed", "size": 8, "families": ["bars"]},
    "sealed.once": {"source": "sealed"},
}


def test_no_other_target_draws_samples_or_reads_a_sealed_test(workflow: Workflow) -> None:
    config = changed(SEALED)
    plans = [workflow.plan(*targets, config=config) for targets in ([], ["bench", "problems", "prm"])]
    for plan in plans:
        assert not {"open_seal", "draw_sealed", "write_sealed"} & plan.rules
        assert not any("sealed" in path or "/once" in path for path in plan.outputs)
    assert workflow.plan(config=changed({})).outputs == plans[0].outputs


def test_the_target_looks_first_then_draws_then_measures(workflow: Workflow, finished: Workflow) -> None:
    plan = finished.plan("sealed", config=changed(SEALED))
    assert plan.rules == {
        *("open_seal", "draw_sealed", "sample_candidates", "gather_candidates", "score_candidates", "measure"),
        "write_sealed",
    }
    assert "results/small/sealed/once.html" in plan.outputs and "results/small/problems/sealed.parquet" in plan.outputs
    (look,) = re.findall(r"mmprm open-seal .*", plan.text)
    models = " ".join(f"results/small/prm/{name}/manifest.json" for name in ("slow", "soft"))
    assert f"--test once --policy results/small/policy/manifest.json --prms {models} " in look
    (draw,) = re.findall(r"mmprm draw-sealed .*", plan.text)
    assert "--source sealed --look results/small/sealed/once/look.json" in draw
    assert not {"train_policy", "train_prm", "annotate", "write_report", "summarise"} & plan.rules


def test_a_finished_look_is_not_repeated_and_other_settings_are_another(workflow: Workflow) -> None:
    config = changed(SEALED)
    workflow.finish("sealed", config=config)
    assert workflow.plan("sealed", config=config).jobs == []
    assert workflow.plan("sealed", config=changed(SEALED | {"report.title": "x", "shards.bench": 3})).jobs == []
    plan = workflow.plan("sealed", config=changed(SEALED | {"bench.primary": "min"}))
    assert {"open_seal", "measure", "write_sealed"} <= plan.rules and "train_prm" not in plan.rules


def test_a_claim_that_is_changed_is_another_look(workflow: Workflow) -> None:
    config = changed(SEALED)
    workflow.finish("sealed", config=config)
    registration = workflow.folder / "evidence/registration.yaml"
    registration.parent.mkdir()
    registration.write_text("tests: {}")
    assert "open_seal" in workflow.plan("sealed", config=config).rules


def test_a_part_of_a_table_is_compared_with_training_data_as_a_whole(workflow: Workflow) -> None:
    (workflow.folder / "reserve.jsonl").touch()
    config = changed(
        {
            "sources.reserve": {"kind": "table", "path": "reserve.jsonl"},
            "sources.part": {"kind": "sample", "of": "reserve", "size": 8},
            "sealed.once": {"source": "part"},
        }
    )
    plan = workflow.plan(config=config)
    (curate,) = re.findall(r"mmprm curate .*", plan.text)
    assert "--tested results/small/problems/reserve.parquet" in curate
    assert "draw_sealed" not in plan.rules
    (draw,) = re.findall(r"mmprm draw-sealed .*", workflow.plan("sealed", config=config).text)
    assert "--parents results/small/problems/reserve.parquet" in draw


def test_without_a_sealed_test_the_target_says_so(workflow: Workflow) -> None:
    done = workflow.run("-n", "sealed")
    assert done.returncode != 0 and "sealed: the configuration names no sealed test" in done.stdout + done.stderr
