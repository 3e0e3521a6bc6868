"""How right the labels are, where the truth of every step is known. In: labels and trees of mini problems. Out: JSON.

A state is right while none of its steps is wrong (`problems.mini.truth`); an answer is right where it is the problem's.
Wrong is what is looked for: the precision of a labelling is the share of what it calls wrong that is wrong, its recall
the share of what is wrong that it calls so. States with unreadable steps and no wrong one are left out, and counted.
Intervals are of the bootstrap over problems: the markers of one problem are not independent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems
from mmprm.evaluation.intervals import bootstrap
from mmprm.mini.truth import Figure, Truth, figure_of, so_far
from mmprm.runtime.progress import say

Row = dict[str, Any]
THRESHOLDS = (0.0, 0.125, 0.25, 0.5)  # a state with an MC value at or below is called wrong; 0 is the hard label


@dataclass(frozen=True)
class Marker:
    """A labelled state of known truth."""

    problem: str
    wrong: bool
    hard: bool | None  # called wrong
    soft: float | None
    source: str


@dataclass(frozen=True)
class World:
    """The problems whose steps can be judged."""

    problems: dict[str, Problem]
    figures: dict[str, Figure]

    def truth(self, row: Row) -> list[Truth]:
        """Of each state on a path of schemas.PATHS, the answer's last."""
        problem, steps = row["problem_id"], row["steps"]
        found = so_far(self.figures[problem].judge(steps))
        if row.get("answer") is not None:
            found.append(Truth.RIGHT if row["answer"].strip() == self.problems[problem].answer else Truth.WRONG)
        return found


def measure_labels(
    config: Config, seeds: Path, paths: Path, shards: list[Path], out: Path, agreed: Sequence[Path] = ()
) -> None:
    """Write quality.json (see `quality`) of labels/paths.parquet and of the trees in the folders `shards`.

    agreed: the table of paths that the consensus filter has left, where there is one.
    """
    problems = {problem.problem_id: problem for problem in read_problems(seeds)}
    figures = {name: figure for name, problem in problems.items() if (figure := figure_of(problem)) is not None}
    world = World(problems, figures)
    rows, left = (
        [row for row in tables.read_rows(files, schemas.PATHS) if row["problem_id"] in figures]
        for files in ([paths], agreed)
    )
    read = {
        name: [row for row in tables.read_rows(_files(shards, name), schema) if row["problem_id"] in figures]
        for name, schema in (("nodes", schemas.NODES), ("rollouts", schemas.ROLLOUTS))
    }
    ratio = Ratios(config)
    found = quality(world, rows, read["nodes"], read["rollouts"], ratio)
    if agreed:
        for name, some in (("before", rows), ("after", left)):
            row, found[f"first_error_{name}_consensus"] = filtered(world, some, name, ratio)
            found["rows"].append(row)
    tables.write_json(out, found)
    say(f"labels: {found['markers']} markers of {found['problems']} problems judged by the truth")


def _files(shards: Iterable[Path], name: str) -> list[Path]:
    return [shard / f"{name}.parquet" for shard in shards]


class Ratios:
    """Ratios of sums over problems, with intervals of the bootstrap over problems."""

    def __init__(self, config: Config) -> None:
        self._level, self._resamples, self._seed = config.bench.confidence, config.bench.resamples, config.seed

    def __call__(self, parts: Sequence[tuple[str, bool]]) -> Row:
        """{value, ci_low, ci_high, count} of the share that is true; parts: (problem, true or not), one an item."""
        if not parts:
            return {"value": None, "ci_low": None, "ci_high": None, "count": 0}
        whole, hits = Counter(name for name, _ in parts), Counter(name for name, true in parts if true)
        names = sorted(whole)
        sums = np.array([[hits[name], whole[name]] for name in names], dtype=np.float64)
        (value,), (low,), (high,) = bootstrap(sums, _ratio, self._level, self._resamples, self._seed)
        return {"value": float(value), "ci_low": float(low), "ci_high": float(high), "count": len(parts)}


def _ratio(sums: np.ndarray) -> np.ndarray:
    share: np.ndarray = sums[..., :1] / sums[..., 1:]
    return share


def quality(world: World, paths: list[Row], nodes: list[Row], rollouts: list[Row], ratio: Ratios) -> Row:
    """The measures as JSON values.

    rows: {labels, source, threshold, k, precision, recall, right}: of hard labels by source, of soft labels by
    threshold, and of probed states by their first k rollouts; `right` is the share of all called rightly.
    first_error: where negative paths end, beside the first step that is wrong.
    """
    markers, unreadable = path_markers(world, paths)
    sources = ["all", *sorted({marker.source for marker in markers if marker.hard is not None})]
    rows: list[Row] = []
    for source in sources:
        own = [one for one in markers if one.hard is not None and source in ("all", one.source)]
        calls = [(one.problem, one.wrong, bool(one.hard)) for one in own]
        rows.append({"labels": "hard", "source": source, "threshold": None, "k": None} | measured(calls, ratio))
    steps = [one for one in markers if one.soft is not None and one.source != "answer"]
    for threshold in THRESHOLDS:
        calls = [(one.problem, one.wrong, one.soft <= threshold) for one in steps if one.soft is not None]
        found = measured(calls, ratio)
        rows.append({"labels": "soft", "source": "steps", "threshold": threshold, "k": None} | found)
    for k, calls in states_by_k(world, nodes, rollouts):
        rows.append({"labels": "probed states", "source": "states", "threshold": 0.0, "k": k} | measured(calls, ratio))
    return {
        "problems": len({row["problem_id"] for row in paths}),
        "markers": len(markers),
        "markers_unreadable": unreadable,
        "errors": errors(world, paths),
        "rows": rows,
        "first_error": first_errors(world, paths, ratio),
    }


def filtered(world: World, paths: Iterable[Row], name: str, ratio: Ratios) -> tuple[Row, Row]:
    """The hard labels of training paths before or after the consensus filter: a row as in `quality`, whose recall is of
    the wrong states that these paths hold, and `first_errors`."""
    train = [row for row in paths if row["split"] == "train"]
    own = [one for one in path_markers(world, train)[0] if one.hard is not None]
    called = measured([(one.problem, one.wrong, bool(one.hard)) for one in own], ratio)
    row = {"labels": "hard", "source": f"training, {name} consensus", "threshold": None, "k": None} | called
    return row, first_errors(world, train, ratio)


def measured(calls: Sequence[tuple[str, bool, bool]], ratio: Callable[[Sequence[tuple[str, bool]]], Row]) -> Row:
    """Precision, recall and accuracy; calls: (problem, is it wrong, is it called wrong)."""
    return {
        "precision": ratio([(name, wrong) for name, wrong, called in calls if called]),
        "recall": ratio([(name, called) for name, wrong, called in calls if wrong]),
        "right": ratio([(name, wrong == called) for name, wrong, called in calls]),
    }


def path_markers(world: World, paths: Iterable[Row]) -> tuple[list[Marker], int]:
    """The labelled markers of known truth of all paths, each state once; and how many are unreadable."""
    found: dict[tuple[str, tuple[str, ...], str | None], Marker] = {}
    unreadable = set()
    for row in paths:
        columns = (world.truth(row), row["hard"], row["soft"], row["label_source"])
        for place, (truth, hard, soft, source) in enumerate(zip(*columns, strict=True)):
            if hard is None and soft is None:
                continue
            state = (row["problem_id"], tuple(row["steps"][: place + 1]), row["answer"] if source == "answer" else None)
            if truth == Truth.UNREADABLE:
                unreadable.add(state)
                continue
            called = None if hard is None else not hard
            found.setdefault(state, Marker(row["problem_id"], truth == Truth.WRONG, called, soft, source))
    return list(found.values()), len(unreadable)


def states_by_k(
    world: World, nodes: Sequence[Row], rollouts: Sequence[Row]
) -> list[tuple[int, list[tuple[str, bool, bool]]]]:
    """For k = 1, 2, 4, … up to the most rollouts of a state: (k, calls of `measured`) by each state's first k rollouts.

    Called wrong is a state with no right rollout among them. Every k sees the same states: those with the most
    rollouts, all decided. The question alone is none of them.
    """
    verdicts: dict[tuple[str, int], list[tuple[int, str]]] = defaultdict(list)
    for row in rollouts:
        verdicts[row["problem_id"], row["node_id"]].append((row["rollout"], row["verdict"]))
    states = []
    for node in nodes:
        truth = so_far(world.figures[node["problem_id"]].judge(node["steps"]))
        if truth and truth[-1] != Truth.UNREADABLE:
            seen = [verdict for _, verdict in sorted(verdicts[node["problem_id"], node["node_id"]])]
            states.append((node["problem_id"], truth[-1] == Truth.WRONG, seen))
    most = max((len(seen) for *_, seen in states), default=0)
    sizes = sorted({*(2**power for power in range(most.bit_length()) if 2**power <= most), most} - {0})
    whole = [state for state in states if len(state[2]) == most and "undecided" not in state[2]]
    return [(k, [(name, wrong, "correct" not in seen[:k]) for name, wrong, seen in whole]) for k in sizes]


def errors(world: World, paths: Iterable[Row]) -> dict[str, int]:
    """How many of the distinct first wrong steps of all paths are of which sort."""
    sorts: dict[tuple[str, tuple[str, ...]], str] = {}
    for row in paths:
        judged = world.figures[row["problem_id"]].judge(row["steps"])
        place = next((place for place, one in enumerate(judged) if one.error is not None), None)
        if place is not None:
            sorts[row["problem_id"], tuple(row["steps"][: place + 1])] = str(judged[place].error)
    return dict(sorted(Counter(sorts.values()).items()))


def first_errors(world: World, paths: Iterable[Row], ratio: Ratios) -> Row:
    """Located first errors of negative paths beside the true ones.

    offsets: located minus true place in steps -> paths: 0 exact, above it too late. A path without a wrong step (the
    error was located too early) has no offset; paths with unreadable steps and no wrong one are left out.
    """
    places: list[tuple[str, int | None]] = []
    for row in paths:
        truth = world.truth(row) if row["kind"] == "negative" else [Truth.UNREADABLE]
        if Truth.WRONG in truth:
            places.append((row["problem_id"], len(truth) - 1 - truth.index(Truth.WRONG)))
        elif Truth.UNREADABLE not in truth:
            places.append((row["problem_id"], None))
    offsets = Counter(offset for _, offset in places if offset is not None)
    return {
        "paths": len(places),
        "exact": ratio([(name, offset == 0) for name, offset in places]),
        "too_late": ratio([(name, offset is not None and offset > 0) for name, offset in places]),
        "too_early": ratio([(name, offset is None) for name, offset in places]),
        "offsets": {str(offset): offsets[offset] for offset in sorted(offsets)},
    }
