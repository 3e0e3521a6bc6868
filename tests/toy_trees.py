"""Helpers of the tests that turn trees into labels: rows of nodes and rollouts, and the stage over toy problems."""

from __future__ import annotations

import json
from pathlib import Path

from scripted_engine import ToyPolicy, toy_problem
from toy_world import grow, rows, toy_config

from mmprm.annotation.tree import Tree
from mmprm.config import Annotation
from mmprm.data import schemas, tables
from mmprm.data.problem import write_problems
from mmprm.experiments.cleaning import ExperimentalCleaning
from mmprm.labels.evidence import Evidence
from mmprm.labels.gather import gather_labels


def evidence_of(tree: Tree) -> Evidence:
    return Evidence(tree.node_rows(), tree.rollout_rows())


def node(node_id: int, steps: list[str], n_correct: int, n_rollouts: int, n_undecided: int = 0) -> dict:
    counts = {"n_correct": n_correct, "n_rollouts": n_rollouts, "n_unparsed": 0, "n_undecided": n_undecided}
    return {"node_id": node_id, "steps": steps, **counts}


def rollout(node_id: int, steps: list[str], verdict: str, searched: bool = False, answer: str = "x") -> dict:
    return {"node_id": node_id, "steps": steps, "verdict": verdict, "searched": searched, "answer": answer}


def stage(folder: Path, count: int = 1, label_set: str | None = None, **sections) -> tuple[list[dict], dict]:
    """Write the trees of 30 toy problems as `count` shards, and gather them."""
    problems = [toy_problem(number) for number in range(30)]
    write_problems(folder / "seeds.parquet", problems)
    trees = [grow(p, Annotation(k=6, max_rollouts=90), ToyPolicy(error=0.2, garbage=0.05))[0] for p in problems]
    shards = []
    for index in range(count):
        shards.append(folder / f"{index}-of-{count}")
        mine = trees[index::count]
        for name, schema, make in (
            ("nodes", schemas.NODES, Tree.node_rows),
            ("rollouts", schemas.ROLLOUTS, Tree.rollout_rows),
        ):
            tables.write(shards[-1] / f"{name}.parquet", [row for tree in mine for row in make(tree)], schema)
        tables.write(shards[-1] / "status.parquet", [tree.status_row() for tree in mine], schemas.STATUS)
    seeds, out, statistics = (folder / name for name in ("seeds.parquet", "paths.parquet", "statistics.json"))
    config = toy_config(**sections)
    gather_labels(config, seeds, shards, out, statistics, ExperimentalCleaning(config.labels.of(label_set)))
    return rows(folder / "paths.parquet"), json.loads((folder / "statistics.json").read_text())
