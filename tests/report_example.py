"""A small whole run, made by the real stages from an invented policy: what the report reads."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from mmprm import config as configuration
from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.evaluation.measure import measure, summarise
from mmprm.labels.cleaning import Cleaning
from mmprm.labels.gather import gather_labels
from mmprm.labels.label_accuracy import measure_labels
from mmprm.mini.problems import IN_DOMAIN, generate
from mmprm.model.step_text import render_solution
from mmprm.seeds.select import select_seeds

SPITE = "<script>alert('x')</script> & \"more\" <prm>"
N = 4


def settings(engine: dict[str, Any] | None = None, **report: Any) -> Config:
    """A configuration with two benchmarks, two variants and two annotation shards."""
    families = list(IN_DOMAIN)
    mini = {"kind": "mini", "size": 12, "families": families}
    return configuration.load(
        {
            "run": "example",
            "sources": {
                "sft": {**mini, "split": "sft"},
                "pool": {**mini, "split": "seeds"},
                "test": {**mini, "split": "test"},
                "dev": {**mini, "split": "dev"},
            },
            "policy": {"base": "models/mini", "sources": ["sft"]},
            "seeds": {"sources": ["pool"], "rollouts": 4},
            "prm": {"variants": {"soft": {}, "hard": {"label": "hard"}}},
            "benchmarks": {
                "test": {"source": "test"},
                "dev": {"source": "dev", "domain": "development"},
            },
            "bench": {"n": N, "resamples": 200},
            "shards": {"annotation": 2},
            "report": {"trees": 2, **report},
            "engine": engine or {},
        }
    )


def completion(steps: list[str], answer: str, verdict: str, status: str = "ok") -> dict[str, Any]:
    """The columns of a completion; one that did not parse keeps its text alone."""
    parsed = status == "ok"
    return {
        "text": render_solution(steps, answer) if parsed else f"<step>{SPITE}",
        "steps": steps if parsed else [],
        "answer": answer if parsed else None,
        "status": status,
        "verdict": verdict,
        "method": "number" if parsed else "status",
        "n_tokens": 20,
        "finish_reason": "stop" if parsed else "length",
    }


def tree(problem: Problem) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Root, a right state below it, and its first error; a step of the tree holds the spiteful text."""
    right, wrong = [f"one {SPITE}", "two is right"], [f"one {SPITE}", "two is wrong"]
    good, bad = completion(right, problem.answer, "correct"), completion(wrong, "0", "incorrect")
    unparsed = completion([], "", "unparsed", "truncated")
    plan = [
        (None, [], [good, bad, bad, unparsed], 1, 0.25),
        (0, right[:1], [cut(good), cut(bad), cut(bad), cut(bad)], 1, 0.25),
        (1, wrong, [completion([], "0", "incorrect")] * 4, 0, 0.0),
    ]
    nodes, rollouts = [], []
    for node_id, (parent, steps, own, n_correct, mc) in enumerate(plan):
        common = {"problem_id": problem.problem_id, "node_id": node_id}
        counts = {"n_rollouts": 4, "n_correct": n_correct, "n_unparsed": 0, "n_undecided": 0}
        nodes.append({**common, "parent_id": parent, "steps": steps, **counts, "mc": mc, "visits": 1})
        for at, rollout in enumerate(own):
            rollouts.append({**common, "rollout": at, "searched": (node_id, at) == (0, 1), **rollout})
    status = {"problem_id": problem.problem_id, "status": "done", "reason": "pool empty", "n_searches": 1}
    return nodes, rollouts, {**status, "n_rollouts": 12, "n_tokens": 240, "n_nodes": 3}


def cut(rollout: dict[str, Any]) -> dict[str, Any]:
    """The rollout as seen from the state after its first step."""
    return {**rollout, "steps": rollout["steps"][1:]}


def build(folder: Path) -> Path:
    """Write every file that the report reads into the folder, and return it."""
    config, rng = settings(), random.Random(0)
    sets = {
        name: [
            Problem(**{**vars_of(problem), "problem_id": f"{name}/{problem.problem_id}", "source": name})
            for problem in generate(source.split, 12, source.families, 0)
        ]
        for name, source in config.sources.items()
        if source.kind == "mini"
    }
    for name, problems in sets.items():
        write_problems(folder / "problems" / f"{name}.parquet", problems)
        bad = [{"source": name, "row": 5, "problem_id": SPITE, "reason": "corrupt_image", "detail": SPITE}]
        tables.write(folder / "problems" / f"{name}.refused.parquet", bad if name == "test" else [], schemas.REFUSED)
    _seeds_and_trees(config, folder, sets["pool"])
    for benchmark in config.benchmarks:
        _bench(config, folder, benchmark, rng)
    metrics = [folder / "bench" / b / v / "metrics.json" for b in config.benchmarks for v in config.prm.variants]
    summarise(config, metrics, folder / "bench" / "summary.json")
    for variant in config.prm.variants:
        _heldout(folder / "prm" / f"{variant}.heldout.json")
    _costs(folder)
    return folder


def vars_of(problem: Problem) -> dict[str, Any]:
    """The fields of a problem."""
    return {name: getattr(problem, name) for name in schemas.PROBLEMS.names}


def _seeds_and_trees(config: Config, folder: Path, pool: list[Problem]) -> None:
    rollouts = [
        {"problem_id": problem.problem_id, "blank": False, "attempt": attempt, **completion(["a"], "1", verdict)}
        for place, problem in enumerate(pool)
        for attempt, verdict in enumerate(["correct" if attempt < place % 5 else "incorrect" for attempt in range(4)])
    ]
    tables.write(folder / "seeds" / "0-of-1" / "rollouts.parquet", rollouts, schemas.SEED_ROLLOUTS)
    seeds = folder / "seeds" / "seeds.parquet"
    select_seeds(
        config,
        [folder / "problems" / "pool.parquet"],
        [folder / "seeds" / "0-of-1" / "rollouts.parquet"],
        seeds,
        folder / "seeds" / "decisions.parquet",
        folder / "seeds" / "statistics.json",
    )
    kept = [problem for place, problem in enumerate(pool) if 0 < place % 5 < 4]
    shards = [folder / "annotation" / f"{index}-of-2" for index in range(2)]
    for index, shard in enumerate(shards):
        trees = [tree(problem) for problem in kept[index::2]]
        tables.write(shard / "nodes.parquet", [row for nodes, _, _ in trees for row in nodes], schemas.NODES)
        tables.write(shard / "rollouts.parquet", [row for _, rows, _ in trees for row in rows], schemas.ROLLOUTS)
        tables.write(shard / "status.parquet", [status for _, _, status in trees], schemas.STATUS)
        tables.write_json(
            shard / "usage.json", {"seconds": 2.5, "completions": 100, "generated_tokens": 1000 * index + 500}
        )
    paths = folder / "labels" / "paths.parquet"
    gather_labels(config, seeds, shards, paths, folder / "labels" / "statistics.json", Cleaning(config.labels))
    measure_labels(config, seeds, paths, shards, folder / "labels" / "quality.json")


def _bench(config: Config, folder: Path, benchmark: str, rng: random.Random) -> None:
    problems = folder / "problems" / f"{config.benchmarks[benchmark].source}.parquet"
    names = tables.read(problems, schemas.PROBLEMS)["problem_id"].to_pylist()
    candidates, scores = [], []
    for name in names:
        for number in range(N):
            right = rng.random() < 0.5
            row = completion([f"step {rng.random()}"], "1" if right else "2", "correct" if right else "incorrect")
            candidates.append({"problem_id": name, "candidate": number, **row})
            p = min(1.0, max(0.0, (0.7 if right else 0.3) + rng.uniform(-0.3, 0.3)))
            scores.append({"problem_id": name, "candidate": number, "probabilities": [p, p]})
    place = folder / "bench" / benchmark
    tables.write(place / "candidates.parquet", candidates, schemas.CANDIDATES)
    for variant in config.prm.variants:
        tables.write(place / variant / "scores.parquet", scores, schemas.SCORES)
        measure(
            config,
            benchmark,
            variant,
            problems,
            place / "candidates.parquet",
            place / variant / "scores.parquet",
            place / variant / "metrics.json",
        )


def _heldout(path: Path) -> None:
    def measured(slope: float) -> dict[str, Any]:
        bins = [(low / 10 + 0.05, 0.5 + slope * (low / 10 - 0.45), 10 + low) for low in range(10)]
        return {
            "loss": 0.4312 - slope / 10,
            "n_markers": 1234,
            "calibration": [{"predicted": x, "label": y, "count": count} for x, y, count in bins],
            "ece": 0.05,
            "auc_steps": 0.5 + slope / 3,
            "auc_within_problem": {"mean_odds": 0.5 + slope / 4, "min": 0.6, "last": None},
            "n_problems": 17,
        }

    tables.write_json(path, {"trained": measured(0.9), "untrained": measured(0.1)})


def _costs(folder: Path) -> None:
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    for name, line in {
        "annotate/0-of-2": "61.5\t0:01:01\t900.5\t-\t-\t-\t-\t-\t-\t-\n",
        "annotate/1-of-2": "62.0\t0:01:02\t1800.25\t-\t-\t-\t-\t-\t-\t-\n",
        "intake/pool": "0.5\t0:00:00\tNA\t-\t-\t-\t-\t-\t-\t-\n",
        "summarise": "1.0\t0:00:01\t100\t-\t-\t-\t-\t-\t-\t-\n",
    }.items():
        path = folder / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + line)
    usage = folder / "bench" / "test" / "shards" / "0-of-1.parquet.usage.json"
    usage.parent.mkdir(parents=True, exist_ok=True)
    usage.write_text(json.dumps({"seconds": 1.0, "completions": 48, "generated_tokens": 960, "prompt_tokens": 77}))
