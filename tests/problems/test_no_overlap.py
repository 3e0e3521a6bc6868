"""The runs that are configured here never test on what they trained on (test_mini.py: splits share no problem)."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import yaml

from mmprm import config
from mmprm.config.overlap import read_sources
from mmprm.data.problem import Problem, read_problems
from mmprm.problems.intake import make_source

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["workflow_config.yaml", "configs/ci.yaml"])
def test_no_split_and_no_picture_is_in_two_of_policy_seeds_and_benchmarks(name: str, tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / name).read_text())
    for source in values["sources"].values():
        if source["kind"] == "mini":
            source["size"] = min(source["size"], 200)
    settings = config.load(values)
    used = {
        "policy": settings.policy.sources,
        "seeds": settings.seeds.sources,
        **{f"benchmark {key}": [benchmark.source] for key, benchmark in settings.benchmarks.items()},
    }
    problems: dict[str, list[Problem]] = {}
    for source in settings.sources:
        if settings.sources[source].kind != "mini":
            continue
        make_source(settings, source, tmp_path / f"{source}.parquet", tmp_path / f"{source}.refused.parquet")
        problems[source] = read_problems(tmp_path / f"{source}.parquet")
    for (one, names), (other, others) in combinations(used.items(), 2):
        mine, theirs = (
            [p for key in keys for read in read_sources(settings.sources, key) for p in problems[read]]
            for keys in (names, others)
        )
        splits, other_splits = (
            {(settings.sources[p.source].split, p.family) for p in group} for group in (mine, theirs)
        )
        assert not splits & other_splits, (one, other)
        assert not {p.images for p in mine} & {p.images for p in theirs}, (one, other)
