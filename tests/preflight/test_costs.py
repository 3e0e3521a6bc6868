"""Costs of the stages: they follow from sizes and data, and the paper's run has one a stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mmprm.config import Training, load
from mmprm.preflight.costs import Cost, Estimate, training_operations
from mmprm.preflight.examine import examine
from mmprm.preflight.ranges import Range
from mmprm.preflight.rows import count_rows
from mmprm.preflight.shape import read_shape

ROOT = Path(__file__).parents[2]
SHARP = {"efficiency": [0.4, 0.4], "gpu": "h100", "gpus": 8}
EXPECTED = {
    "rows": {"sft": 100_000, "mm_k12": 1000, "mm_k12_test": 500, "mathvista": 1000},
    "image_tokens": [1000, 1000],
    "question_tokens": [80, 80],
    "solution_tokens": [400, 400],
    "seeds_share": [0.5, 0.5],
    "rollouts": [100, 100],
    "paths": [10, 10],
    "refused": [0, 0],
}


def estimate(**sections: Any) -> dict[str, Cost]:
    """The costs of configs/one_gpu.yaml with every assumption at one value."""
    values = yaml.safe_load((ROOT / "configs/one_gpu.yaml").read_text())
    for source in values["sources"].values():
        source.pop("limit", None)
    values |= {"hardware": SHARP, "expected": EXPECTED}
    for name, changes in sections.items():
        values[name] = values[name] | changes
    config = load(values)
    examination = examine(config)
    return {cost.stage: cost for cost in examination.costs()}


def test_a_training_costs_its_tokens_times_its_operations() -> None:
    """Every factor by hand: 100,000 solutions of 1,500 tokens, adapters, recomputed activations, 40 % of the peak."""
    cost, shape = estimate()["policy"], read_shape(Path("nowhere/InternVL3-2B-hf"))
    assert shape is not None and cost.tokens is not None and cost.hours is not None
    length = 1000 + 80 + 20 + 400
    assert cost.tokens.low == cost.tokens.high == pytest.approx(100_000 * length)
    attention = 2 * 28 * 12 * 128 * length
    language = 100_000 * length * 3 * (2 * shape.language + attention)  # forward, again, and backward to the inputs
    vision = 100_000 * 1000 * 4 * 2 * shape.vision  # four patches a token, forward alone
    assert cost.hours.mean == pytest.approx((language + vision) / (0.4 * 989e12) / 3600, rel=1e-6)


def test_all_weights_cost_twice_the_backward_pass_of_adapters() -> None:
    shape = read_shape(Path("nowhere/InternVL3-2B-hf"))
    assert shape is not None
    passes = {
        name: training_operations(shape, Training(learning_rate=1e-4, **options), 0) / (2 * shape.language)
        for name, options in {"all": {}, "again": {"gradient_checkpointing": True}, "lora": {"lora": {}}}.items()
    }
    assert passes == {"all": 3, "again": 4, "lora": 2}  # 6 operations a parameter and token: arXiv 2001.08361


def test_stages_follow_the_settings_that_they_depend_on() -> None:
    before = estimate()
    assert before["seeds"].tokens is not None
    assert before["seeds"].tokens.high == 1000 * 16 * 400 * 0.9  # adaptive
    assert before["annotation"].tokens is not None and before["annotation"].tokens.high == 500 * 100 * 400 * 0.9
    assert before["bench mm_k12"].tokens == Range(500 * 8 * 400, 500 * 8 * 400)
    more = estimate(bench={"n": 16}, annotation={"max_rollouts": 400}, seeds={"max_seeds": 100})
    assert more["bench mm_k12"].tokens == Range(500 * 16 * 400, 500 * 16 * 400)
    assert more["annotation"].tokens is not None and more["annotation"].tokens.high == 100 * 100 * 400 * 0.9
    assert all(cost.hours is not None and 0 < cost.hours.low <= cost.hours.high for cost in more.values())
    two = estimate(prm={"variants": {"soft": {}, "hard": {"label": "hard", "max_paths_per_problem": 5}}})
    assert two["prm soft"].tokens is not None and two["prm hard"].tokens is not None
    assert two["prm hard"].tokens.high == pytest.approx(two["prm soft"].tokens.high / 2)


def test_the_speed_of_sampling_lies_between_its_bounds() -> None:
    """Eight billion weights in 16 bits on an H100: one sequence gets some 100 tokens a second, a batch thousands."""
    values = yaml.safe_load((ROOT / "configs/mm_prm.yaml").read_text())
    values["engine"] |= {"max_running": 1}
    config = load(values)
    shape = read_shape(config.policy.base)
    assert shape is not None
    alone = Estimate(config, shape, examine(config).machine, (258, 3330)).tokens_per_second(Range(200, 600))
    values["engine"] |= {"max_running": 256}
    config = load(values)
    full = Estimate(config, shape, examine(config).machine, (258, 3330)).tokens_per_second(Range(200, 600))
    assert alone is not None and full is not None
    assert 50 < alone.low < alone.high < 3350 / 15.4  # reading the weights once a token, at the memory's full speed
    assert 1000 < full.low < full.high < 25_000


def test_the_papers_run_is_costed_a_stage() -> None:
    config = load(yaml.safe_load((ROOT / "configs/mm_prm.yaml").read_text()))
    costs = {cost.stage: cost for cost in examine(config).costs()}
    benches = {f"bench {name}" for name in config.benchmarks}
    assert set(costs) == {"policy", "seeds", "annotation", *(f"prm {name}" for name in config.prm.variants), *benches}
    assert all(cost.hours is not None and cost.tokens is not None for cost in costs.values())
    hours = costs["policy"].hours
    assert hours is not None and hours.low < 1000 < hours.high  # some 1,000 H100-hours (issue 18)
    # slurm/config.yaml's allocations, one after the other, are enough for the mean.
    limits = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
    runtime = limits["set-resources"]["train_policy"]["runtime"]
    first = int(str(runtime).split(" * ")[0])
    assert hours.mean / costs["policy"].gpus * 60 < first * (1 + 2 * limits["retries"])


def test_what_is_not_known_is_said_and_what_the_files_tell_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((ROOT / "configs/one_gpu.yaml").read_text())
    values["expected"]["rows"] = {}
    values["sources"]["curated"] = {"kind": "curated", "sources": ["mm_k12"], "size": 300}
    config = load(values)
    cost = next(cost for cost in examine(config).costs() if cost.stage == "policy")
    assert cost.hours is None and cost.why == "set expected.rows.sft"
    assert count_rows(config, "sft") is count_rows(config, "curated") is None
    Path("data/mm_k12").mkdir(parents=True)
    pq.write_table(pa.table({"id": list(range(2000))}), "data/mm_k12/train.parquet")
    assert count_rows(config, "mm_k12") == 1500  # limit
    assert count_rows(config, "curated") == 300
    Path("results/one_gpu/problems").mkdir(parents=True)
    pq.write_table(pa.table({"id": [1, 2, 3]}), "results/one_gpu/problems/mm_k12.parquet")
    assert count_rows(config, "mm_k12", Path("results/one_gpu")) == 3


def test_ranges_add_and_multiply_at_their_ends() -> None:
    assert Range(1, 4) + 1.0 == Range(2, 5) and Range(1, 4) * Range(2, 3) == Range(2, 12)
    assert Range(1, 4) / Range(2, 4) == Range(0.25, 2) and Range(1, 4).mean == 2
    assert Range(1, 9).at_most(4) == Range(1, 4)
