"""Step benchmarks in the workflow: which jobs they make, and that there are none by default."""

from __future__ import annotations

from snake import Workflow, changed

TESTS = {
    "dev": {"problems": "<results>/seeds/seeds.parquet", "paths": "<results>/labels/paths.parquet", "split": "dev"},
    "bench": {"problems": "bench.problems.parquet", "paths": "bench.paths.parquet", "development": "dev"},
}


def test_each_variant_is_measured_on_each_step_benchmark_with_its_development_sets_scores(workflow: Workflow) -> None:
    for name in ("bench.problems.parquet", "bench.paths.parquet"):
        (workflow.folder / name).touch()
    plan = workflow.plan("report", config=changed({"step_benchmarks": TESTS}))
    assert (plan.count("score_steps"), plan.count("measure_steps")) == (4, 4)
    assert "results/small/steps/bench/slow/metrics.json" in plan.outputs
    own = "bench.problems.parquet bench.paths.parquet results/small/steps/bench/soft/scores.parquet"
    others = "results/small/seeds/seeds.parquet results/small/labels/paths.parquet"
    others += " results/small/steps/dev/soft/scores.parquet"
    assert f"--test {own} --development {others}" in plan.text
    assert not {"score_steps", "measure_steps"} & workflow.plan().rules


def test_another_threshold_measures_again_and_scores_nothing(workflow: Workflow) -> None:
    fixed = {"bench": {name: TESTS["bench"][name] for name in ("problems", "paths")} | {"threshold": 0.5}}
    for name in ("bench.problems.parquet", "bench.paths.parquet"):
        (workflow.folder / name).touch()
    config = changed({"step_benchmarks": fixed})
    workflow.finish(config=config)
    fixed["bench"]["threshold"] = 0.6
    plan = workflow.plan(config=changed({"step_benchmarks": fixed}))
    assert plan.rules == {"measure_steps", "write_report"}
