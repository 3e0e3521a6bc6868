"""Trees into labelled step paths. In: the annotation of all shards. Out: tables.PATHS, and statistics as JSON.

`evidence` says what paths and labels there are, `selection` which are kept, `softening` what their soft labels are.
What the switches of `labels` take away or change, they do to the split train alone: held-out paths stay as they are,
so that PRMs of different settings are measured on the same labels.

Paths of `labels.extra` are put beside the run's own, for training; statistics and held-out problems stay the run's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from mmprm import tables
from mmprm.annotation.progress import say
from mmprm.config import Config, Labels
from mmprm.errors import UserError
from mmprm.labels.evidence import Evidence, Row
from mmprm.labels.selection import choose, in_dev, most_informative, path_id
from mmprm.labels.softening import BELOW_MINIMUM, REWEIGHTED, TOLERATED, Changes, soft_labels
from mmprm.problem import read_problems

_BINS = 10
_POOLED_MORE, _POOLED_ALONE = "markers with more rollouts by pooling", "markers with rollouts by pooling alone"
_UNSURE_PROBLEMS, _UNSURE_PATHS = "problems below min_self_confidence", "paths of these problems"
_UNINFORMATIVE = "paths beyond keep_ratio"


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
    changes = _changes(config.labels)
    for name in sorted(nodes):
        common = {"problem_id": name, "source": sources[name]}
        of_problem, without_error = problem_rows(config, common, nodes[name], rollouts[name], changes)
        rows += of_problem
        unlocated += without_error
    if config.labels.keep_ratio is not None:
        train = [row for row in rows if row["split"] == "train"]
        kept = most_informative(train, config.labels.keep_ratio, config.labels.bis_smoothing)
        changes[_UNINFORMATIVE] += len(train) - len(kept)
        rows = [row for row in rows if row["split"] == "dev"] + kept
    more = tables.read_rows(extra, tables.PATHS)
    tables.write(out, sorted(rows + more, key=lambda row: (row["problem_id"], row["path_id"])), tables.PATHS)
    found = summarise(rows, status, list(chain(*nodes.values())), unlocated) | {"switches": dict(changes)}
    if more:
        found["extra_paths_by_source"] = _counts(row["source"] for row in more)
    tables.write_json(statistics, found)
    say(
        f"labels: {len(rows)} paths of {len({row['problem_id'] for row in rows})} problems from {len(status)} trees"
        + (f", and {len(more)} of {', '.join(config.labels.extra)}" if more else "")
    )


def problem_rows(
    config: Config, common: Row, nodes: list[Row], rollouts: list[Row], changes: Changes
) -> tuple[list[Row], int]:
    """The rows of tables.PATHS of one problem, and how many of its searches located no error.

    common: its problem_id and source; `changes` counts what the switches do.
    """
    name = common["problem_id"]
    split = "dev" if in_dev(config.seed, name, config.labels.dev_share) else "train"
    switches = config.labels if split == "train" else Labels()
    evidence = Evidence(nodes, rollouts, switches.pooled_counts)
    negatives, unlocated = evidence.negatives()
    paths = choose(name, evidence.positives(), negatives, evidence.outcomes(), config.labels)
    confidence = evidence.self_confidence
    if (confidence or 0) < switches.min_self_confidence:
        changes[_UNSURE_PROBLEMS] += 1
        changes[_UNSURE_PATHS] += len(paths)
        return [], unlocated
    rows = []
    for path in paths:
        labels = evidence.label(path)
        soft = soft_labels(path.kind, labels, confidence, switches, changes)
        row = {"path_id": path_id(name, path), **common, "split": split, **vars(path), "steps": list(path.steps)}
        rows.append(row | labels | {"soft": soft})
        if switches.pooled_counts:
            _count_pooled(evidence, path.steps, labels, changes)
    return rows, unlocated


def _changes(settings: Labels) -> Changes:
    """A count, 0 as yet, for what each switch that is on may take away or change."""
    counted = {
        _POOLED_MORE: settings.pooled_counts,
        _POOLED_ALONE: settings.pooled_counts,
        BELOW_MINIMUM: settings.min_rollouts > 1,
        _UNSURE_PROBLEMS: settings.min_self_confidence > 0,
        _UNSURE_PATHS: settings.min_self_confidence > 0,
        TOLERATED: settings.tolerance is not None,
        REWEIGHTED: settings.reweight,
        _UNINFORMATIVE: settings.keep_ratio is not None,
    }
    return Counter({name: 0 for name, on in counted.items() if on})


def _count_pooled(evidence: Evidence, steps: tuple[str, ...], labels: Row, changes: Changes) -> None:
    for place, (n, source) in enumerate(zip(labels["n_rollouts"], labels["label_source"], strict=True)):
        changes[_POOLED_ALONE] += source == "pooled"
        changes[_POOLED_MORE] += source == "probed" and n > evidence.probed[steps[: place + 1]].n_rollouts


def _by_problem(rows: list[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["problem_id"]].append(row)
    return grouped


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
        "markers_with_soft_label": sum(value is not None for row in rows for value in row["soft"]),
        "hard_positive_share": sum(hard) / len(hard) if hard else None,
    }


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
