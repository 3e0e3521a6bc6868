"""How right the labels are, where the truth of every step is known. In: labels and trees of mini problems. Out: JSON.

A state is right while none of its steps is wrong (`mini.truth`); an answer is right where it is the problem's. Wrong
states are what is looked for: the precision of a labelling is the share of what it calls wrong that is wrong, its
recall the share of what is wrong that it calls so. States with unreadable steps and no wrong one are left out, and
counted. Intervals are of the bootstrap over problems, since the markers of one problem are not independent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, problems_by_id
from mmprm.evaluation.best_of_n import sizes
from mmprm.evaluation.intervals import intervals
from mmprm.mini.truth import Figure, Truth, figures_of, so_far
from mmprm.runtime.log import log

Row = dict[str, Any]
THRESHOLDS = (0.0, 0.125, 0.25, 0.5)  # a state with an MC value at or below is called wrong; 0 is the hard label


@dataclass(frozen=True)
class MiniWorld:
    """The problems whose steps can be judged."""

    problems: dict[str, Problem]
    figures: dict[str, Figure]

    def truth(self, row: Row) -> list[Truth]:
        """Judge each state on a path of schemas.PATHS, the answer last."""
        problem, steps = row["problem_id"], row["steps"]
        truths = so_far(self.figures[problem].judge(steps))
        if row.get("answer") is not None:
            truths.append(Truth.RIGHT if row["answer"].strip() == self.problems[problem].answer else Truth.WRONG)
        return truths


def measure_labels(
    config: Config, seeds: Path, paths: Path, shards: list[Path], out: Path, agreed: Sequence[Path] = ()
) -> None:
    """Write quality.json (see `label_accuracy`) of labels/paths.parquet and of the trees in the folders `shards`.

    agreed: the table of paths that the consensus filter has kept, where there is one.
    """
    problems = problems_by_id(seeds)
    figures = figures_of(problems)
    world, ratio = MiniWorld(problems, figures), Ratios(config)

    def read(files: Sequence[Path], schema: Any) -> list[Row]:
        return [row for row in tables.read_rows(files, schema) if row["problem_id"] in figures]

    rows = read([paths], schemas.PATHS)
    nodes = read([shard / "nodes.parquet" for shard in shards], schemas.NODES)
    rollouts = read([shard / "rollouts.parquet" for shard in shards], schemas.ROLLOUTS)
    measures = label_accuracy(world, rows, nodes, rollouts, ratio)
    if config.annotation.dense_solutions:
        measures["rows"] += dense_rows(world, rows, nodes, ratio)
    if agreed:
        for name, part in (("before", rows), ("after", read(agreed, schemas.PATHS))):
            train = [row for row in part if row["split"] == "train"]
            called = _hard(path_markers(world, train)[0], ratio)
            measures["rows"].append(_row("hard", f"training, {name} consensus", called))
            measures[f"first_error_{name}_consensus"] = first_errors(world, train, ratio)
    tables.write_json(out, measures)
    log.info(f"labels: {measures['markers']} markers of {measures['problems']} problems judged by the truth")


class Ratios:
    """Ratios of sums over problems, with intervals of the bootstrap over problems."""

    def __init__(self, config: Config) -> None:
        self._level, self._resamples, self._seed = config.bench.confidence, config.bench.resamples, config.seed

    def __call__(self, hits: pd.Series[bool]) -> Row:
        """Return {value, ci_low, ci_high, count} of the share that is true; hits: one an item, by its problem's id."""
        if hits.empty:
            return {"value": None, "ci_low": None, "ci_high": None, "count": 0}
        hits = hits.sort_index()  # problems are drawn by position
        groups = list(map(str, hits.index))
        (value,), (low,), (high,) = intervals(
            hits.to_numpy(), self._level, self._resamples, self._seed, groups, [False]
        )
        return {"value": float(value), "ci_low": float(low), "ci_high": float(high), "count": len(hits)}


def label_accuracy(world: MiniWorld, paths: list[Row], nodes: list[Row], rollouts: list[Row], ratio: Ratios) -> Row:
    """Make the measures as JSON values.

    rows: {labels, source, threshold, k, precision, recall, right}: of hard labels by source, of soft labels by
    threshold, and of probed states by their first k rollouts; `right` is the share of all called rightly. Where there
    are dense solutions, `measure_labels` adds rows of theirs (labels: dense; without a threshold the hard ones).
    first_error: where negative paths end, beside the first step that is wrong.
    """
    markers, unreadable = path_markers(world, paths)
    rows = [_row("hard", "all", _hard(markers, ratio))]
    for source, part in markers[markers["hard"].notna()].groupby("source"):
        rows.append(_row("hard", str(source), _hard(part, ratio)))
    steps = markers[markers["soft"].notna() & (markers["source"] != "answer")]
    for threshold in THRESHOLDS:
        called = measured(steps["wrong"], steps["soft"] <= threshold, ratio)
        rows.append(_row("soft", "steps", called, threshold))
    for k, states in states_by_k(world, nodes, rollouts):
        rows.append(_row("probed states", "states", measured(states["wrong"], states["called"], ratio), 0.0, k))
    return {
        "problems": len({row["problem_id"] for row in paths}),
        "markers": len(markers),
        "markers_unreadable": unreadable,
        "errors": errors(world, paths),
        "rows": rows,
        "first_error": first_errors(world, paths, ratio),
    }


def dense_rows(world: MiniWorld, paths: Iterable[Row], nodes: Iterable[Row], ratio: Ratios) -> list[Row]:
    """Measure the labels of paths of which every state was probed, beside those that searches gave."""
    probed = {(node["problem_id"], tuple(node["steps"])) for node in nodes}
    dense = [
        row
        for row in paths
        if all((row["problem_id"], tuple(row["steps"][:step])) in probed for step in range(1, len(row["steps"]) + 1))
    ]
    markers, _ = path_markers(world, dense)
    steps = markers[markers["source"] != "answer"]
    rows = [_row("dense", "steps", _hard(steps, ratio))]
    soft = steps[steps["soft"].notna()]
    for threshold in THRESHOLDS:
        called = measured(soft["wrong"], soft["soft"] <= threshold, ratio)
        rows.append(_row("dense", "steps", called, threshold))
    return rows


def _row(labels: str, source: str, measures: Row, threshold: float | None = None, k: int | None = None) -> Row:
    return {"labels": labels, "source": source, "threshold": threshold, "k": k, **measures}


def _hard(markers: pd.DataFrame, ratio: Ratios) -> Row:
    """Measure hard labels; where none is known, of nothing."""
    known = markers[markers["hard"].notna()]
    return measured(known["wrong"], known["hard"] == 0, ratio)


def measured(wrong: pd.Series[bool], called: pd.Series[bool], ratio: Ratios) -> Row:
    """Measure precision, recall and accuracy of states that are wrong and that are called wrong, by problem id."""
    return {"precision": ratio(wrong[called]), "recall": ratio(called[wrong]), "right": ratio(wrong == called)}


def path_markers(world: MiniWorld, paths: Iterable[Row]) -> tuple[pd.DataFrame, int]:
    """Collect the labelled markers of known truth of all paths, each state once; and count the unreadable states.

    The table is indexed by problem id: is the state wrong, its hard and soft labels (NaN: none), their source.
    """
    markers: dict[tuple[str, tuple[str, ...], str | None], tuple[bool, int | None, float | None, str]] = {}
    unreadable = set()
    for row in paths:
        columns = (world.truth(row), row["hard"], row["soft"], row["label_source"])
        for step, (truth, hard, soft, source) in enumerate(zip(*columns, strict=True), start=1):
            if hard is None and soft is None:
                continue
            state = (row["problem_id"], tuple(row["steps"][:step]), row["answer"] if source == "answer" else None)
            if truth == Truth.UNREADABLE:
                unreadable.add(state)
            else:
                markers.setdefault(state, (truth == Truth.WRONG, hard, soft, source))
    table = pd.DataFrame(
        list(markers.values()), index=[name for name, *_ in markers], columns=["wrong", "hard", "soft", "source"]
    )
    return table.astype({"wrong": bool, "hard": float, "soft": float}), len(unreadable)


def states_by_k(world: MiniWorld, nodes: Sequence[Row], rollouts: Sequence[Row]) -> list[tuple[int, pd.DataFrame]]:
    """For k = 1, 2, 4, … up to the most rollouts of a state: (k, {wrong, called} by problem id).

    Called wrong is a state with no right one among its first k rollouts. Every k sees the same states: those with the
    most rollouts, all decided. The question alone is none of them.
    """
    table = pd.DataFrame(rollouts, columns=["problem_id", "node_id", "rollout", "verdict"]).sort_values("rollout")
    verdicts = table.groupby(["problem_id", "node_id"])["verdict"].agg(list).to_dict()
    states = []
    for node in nodes:
        name = node["problem_id"]
        truth = so_far(world.figures[name].judge(node["steps"]))
        if truth and truth[-1] != Truth.UNREADABLE:
            states.append((name, truth[-1] == Truth.WRONG, verdicts.get((name, node["node_id"]), [])))
    most = max((len(drawn) for *_, drawn in states), default=0)
    decided = [state for state in states if len(state[2]) == most and "undecided" not in state[2]]
    names, columns = [name for name, *_ in decided], ["wrong", "called"]
    return [
        (k, pd.DataFrame([(wrong, "correct" not in drawn[:k]) for _, wrong, drawn in decided], names, columns, bool))
        for k in (sizes(most) if most else [])
    ]


def errors(world: MiniWorld, paths: Iterable[Row]) -> dict[str, int]:
    """Count the distinct first wrong steps of all paths by sort."""
    sorts: dict[tuple[str, tuple[str, ...]], str] = {}
    for row in paths:
        judged = world.figures[row["problem_id"]].judge(row["steps"])
        first = next((index for index, judgement in enumerate(judged) if judgement.error is not None), None)
        if first is not None:
            sorts[row["problem_id"], tuple(row["steps"][: first + 1])] = str(judged[first].error)
    return dict(sorted(Counter(sorts.values()).items()))


def first_errors(world: MiniWorld, paths: Iterable[Row], ratio: Ratios) -> Row:
    """Compare the located first errors of negative paths with the true ones.

    offsets: located minus true position in steps -> paths: 0 exact, above it too late. A path without a wrong step (the
    error was located too early) has no offset; paths with unreadable steps and no wrong one are left out.
    """
    located: list[tuple[str, float]] = []
    for row in paths:
        truth = world.truth(row) if row["kind"] == "negative" else [Truth.UNREADABLE]
        if Truth.WRONG in truth:
            located.append((row["problem_id"], len(truth) - 1 - truth.index(Truth.WRONG)))
        elif Truth.UNREADABLE not in truth:
            located.append((row["problem_id"], np.nan))
    offsets = pd.Series([offset for _, offset in located], index=[name for name, _ in located], dtype=float)
    return {
        "paths": len(offsets),
        "exact": ratio(offsets == 0),
        "too_late": ratio(offsets > 0),
        "too_early": ratio(offsets.isna()),
        "offsets": {str(offset): times for offset, times in sorted(Counter(offsets.dropna().astype(int)).items())},
    }
