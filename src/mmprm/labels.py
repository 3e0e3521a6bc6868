"""Trees into labelled step paths. In: the annotation of all shards. Out: tables.PATHS, and statistics as JSON.

Paths of `labels.extra` are put beside the run's own, for training; statistics and held-out problems stay the run's.

A negative path is a searched wrong solution up to its first error, which is the last thing it holds. A positive path is
a right solution. Counts stand at probed prefixes only; the hard label of every prefix of a right solution is 1.

Answers of negative paths are hardly ever seen, for their errors lie before. Of these two kinds alone a PRM learns that
whatever has an answer is right, and every aggregate that looks at the last marker is noise. An outcome path is a whole
wrong solution of which nothing is labelled but its answer: 0.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from mmprm import tables
from mmprm.annotation.omegaprm import first_error
from mmprm.annotation.progress import say
from mmprm.annotation.tree import Counts, Prefix, RightPrefixes
from mmprm.config import Config, Labels
from mmprm.errors import UserError
from mmprm.problem import read_problems

Row = dict[str, Any]
_BINS = 10


@dataclass(frozen=True)
class StepPath:
    """A path before it is labelled; `answer` is None where it ends at a wrong step."""

    kind: str
    steps: Prefix
    answer: str | None


class Label(NamedTuple):
    """What is known at one marker; the fields are columns of tables.PATHS."""

    n_correct: int | None
    n_rollouts: int | None
    hard: int | None
    label_source: str


class Evidence:
    """What the nodes and rollouts of one problem say about its states."""

    def __init__(self, nodes: Iterable[Row], rollouts: Iterable[Row]) -> None:
        self.prefix_of = {node["node_id"]: tuple(node["steps"]) for node in nodes}
        self.probed: dict[Prefix, Counts] = {}
        for node in nodes:
            self.probed[tuple(node["steps"])] = Counts(
                node["n_rollouts"], node["n_correct"], node["n_unparsed"], node["n_undecided"]
            )
        self.solutions = [
            (self.prefix_of[rollout["node_id"]] + tuple(rollout["steps"]), rollout) for rollout in rollouts
        ]
        self.right = RightPrefixes()
        for path, rollout in self.solutions:
            if rollout["verdict"] == "correct":
                self.right.add(path)
        self.wrong = {p for p, counts in self.probed.items() if counts.is_wrong}

    def positives(self) -> list[StepPath]:
        """Right solutions, each once."""
        found = {StepPath("positive", p, r["answer"]): None for p, r in self.solutions if r["verdict"] == "correct"}
        return list(found)

    def negatives(self) -> tuple[list[StepPath], int]:
        """Searched wrong solutions up to the first error, each once; and how many searches located none.

        A search locates none where the budget ended it, a verdict was undecided, or a right solution through the
        supposed error was found later.
        """
        found: dict[StepPath, None] = {}
        unlocated = 0
        for path, rollout in self.solutions:
            if not rollout["searched"]:
                continue
            error = first_error(path, self.right.length(path), self.wrong)
            if error is None:
                unlocated += 1
            elif error > len(path):
                found[StepPath("negative", path, rollout["answer"])] = None
            else:
                found[StepPath("negative", path[:error], None)] = None
        return list(found), unlocated

    def outcomes(self) -> list[StepPath]:
        """Whole wrong solutions, searched or not, each once."""
        found = {StepPath("outcome", p, r["answer"]): None for p, r in self.solutions if r["verdict"] == "incorrect"}
        return list(found)

    def label(self, path: StepPath) -> Row:
        """The label columns of a path: an entry for each step, and one for the answer where there is one."""
        if path.kind == "outcome":
            labels = [Label(None, None, None, "none")] * len(path.steps)
        else:
            labels = [self._label_of_state(path.steps[:length]) for length in range(1, len(path.steps) + 1)]
        if path.answer is not None:
            right = int(path.kind == "positive")
            labels.append(Label(right, 1, right, "answer"))
        return {name: [getattr(label, name) for label in labels] for name in Label._fields}

    def _label_of_state(self, prefix: Prefix) -> Label:
        hard = int(prefix in self.right)
        counts = self.probed.get(prefix)
        if counts is None or counts.n_rollouts == 0:
            return Label(None, None, hard, "implied")
        return Label(counts.n_correct, counts.n_rollouts, hard, "probed")


def gather_labels(
    config: Config, seeds: Path, shards: list[Path], out: Path, statistics: Path, extra: Sequence[Path] = ()
) -> None:
    """All shards' trees (folders of `annotate`) as one table of paths; UserError where two shards hold one problem.

    extra: further tables of paths (of `read-steps`).
    """
    sources = {problem.problem_id: problem.source for problem in read_problems(seeds)}
    status = tables.read_rows([shard / "status.parquet" for shard in shards], tables.STATUS)
    twice = [name for name, times in Counter(row["problem_id"] for row in status).items() if times > 1]
    if twice:
        raise UserError(
            f"problem {sorted(twice)[0]!r} is in two of {', '.join(map(str, shards))}: delete the stale one"
        )
    unknown = sorted({row["problem_id"] for row in status} - set(sources))
    if unknown:
        raise UserError(f"problem {unknown[0]!r} was annotated but is not in {seeds}: delete the annotation, run again")
    nodes = _by_problem(tables.read_rows([shard / "nodes.parquet" for shard in shards], tables.NODES))
    rollouts = _by_problem(tables.read_rows([shard / "rollouts.parquet" for shard in shards], tables.ROLLOUTS))
    rows: list[Row] = []
    unlocated = 0
    for name in sorted(nodes):
        evidence = Evidence(nodes[name], rollouts[name])
        negatives, without_error = evidence.negatives()
        unlocated += without_error
        paths = choose(name, evidence.positives(), negatives, evidence.outcomes(), config.labels)
        split = "dev" if in_dev(config.seed, name, config.labels.dev_share) else "train"
        common = {"problem_id": name, "source": sources[name], "split": split}
        rows += [
            {"path_id": path_id(name, path), **common, **vars(path), "steps": list(path.steps), **evidence.label(path)}
            for path in paths
        ]
    more = tables.read_rows(extra, tables.PATHS)
    tables.write(out, sorted(rows + more, key=lambda row: (row["problem_id"], row["path_id"])), tables.PATHS)
    found = summarise(rows, status, list(chain(*nodes.values())), unlocated)
    if more:
        found["extra_paths_by_source"] = _counts(row["source"] for row in more)
    tables.write_json(statistics, found)
    say(
        f"labels: {len(rows)} paths of {len({row['problem_id'] for row in rows})} problems from {len(status)} trees"
        + (f", and {len(more)} of {', '.join(config.labels.extra)}" if more else "")
    )


def _by_problem(rows: list[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["problem_id"]].append(row)
    return grouped


def path_id(problem_id: str, path: StepPath) -> str:
    """A stable hash of the path."""
    parts = [problem_id, path.kind, *path.steps, "\x1e", path.answer or ""]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def in_dev(seed: int, problem_id: str, share: float) -> bool:
    """Is the problem held out? By a hash, so that all its paths fall on one side, whatever else there is."""
    digest = hashlib.sha256(f"{seed}\x1fsplit\x1f{problem_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def choose(
    problem_id: str,
    positives: list[StepPath],
    negatives: list[StepPath],
    outcomes: list[StepPath],
    settings: Labels,
) -> list[StepPath]:
    """At most max_positive_ratio positive paths for each negative one, and max_paths_per_problem in all.

    Outcome paths bring the wrong answers up to max_outcome_ratio for each right one. The choice is by hash, and takes
    texts that differ by more than case and spaces first. Under the limit on all paths the kinds keep their shares as
    far as they can: they are taken in turn.
    """
    positives, negatives = _mixed(problem_id, positives), _mixed(problem_id, negatives)
    if settings.max_positive_ratio is not None:
        positives = positives[: int(settings.max_positive_ratio * len(negatives) + 1e-9)]
    answered = {(path.steps, path.answer) for path in negatives}
    wrong_answers = sum(path.answer is not None for path in negatives)
    room = max(0, int(settings.max_outcome_ratio * len(positives) + 1e-9) - wrong_answers)
    outcomes = [path for path in _mixed(problem_id, outcomes) if (path.steps, path.answer) not in answered][:room]
    turns = [path for turn in zip_longest(negatives, positives, outcomes) for path in turn if path is not None]
    return turns[: settings.max_paths_per_problem]


def _mixed(problem_id: str, paths: list[StepPath]) -> list[StepPath]:
    """In the order of their hashes, paths with a text like one before last."""
    seen: Counter[str] = Counter()
    ranked = []
    for path in sorted(paths, key=lambda path: path_id(problem_id, path)):
        text = " ".join("\n".join((*path.steps, path.answer or "")).casefold().split())
        ranked.append((seen[text], path))
        seen[text] += 1
    return [path for _, path in sorted(ranked, key=lambda pair: pair[0])]


def summarise(rows: list[Row], status: list[Row], nodes: list[Row], unlocated: int) -> Row:
    """The statistics of a run's labels: what came of the problems, what it cost, and what the paths hold."""
    values = [node["mc"] for node in nodes if node["mc"] is not None]
    histogram = Counter(min(int(value * _BINS), _BINS - 1) for value in values)
    hard = [label for row in rows for label in row["hard"] if label is not None]
    return {
        "problems": len(status),
        "problems_with_paths": len({row["problem_id"] for row in rows}),
        "statuses": _counts(f"{row['status']}: {row['reason']}" for row in status),
        "searches": sum(row["n_searches"] for row in status),
        "searches_without_located_error": unlocated,
        "rollouts": sum(row["n_rollouts"] for row in status),
        "tokens": sum(row["n_tokens"] for row in status),
        "nodes": len(nodes),
        "undecided_rollouts": sum(node["n_undecided"] for node in nodes),
        "unparsed_rollouts": sum(node["n_unparsed"] for node in nodes),
        "mc_histogram": [
            {"from": place / _BINS, "to": (place + 1) / _BINS, "nodes": histogram[place]} for place in range(_BINS)
        ],
        "paths": len(rows),
        "paths_by_split": _counts(row["split"] for row in rows),
        "paths_by_kind": _counts(row["kind"] for row in rows),
        "paths_by_split_and_kind": _counts(f"{row['split']}/{row['kind']}" for row in rows),
        "mean_steps": sum(len(row["steps"]) for row in rows) / len(rows) if rows else None,
        "markers": sum(len(row["hard"]) for row in rows),
        "markers_by_label_source": _counts(source for row in rows for source in row["label_source"]),
        "markers_with_soft_label": sum(n is not None for row in rows for n in row["n_rollouts"]),
        "hard_positive_share": sum(hard) / len(hard) if hard else None,
    }


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
