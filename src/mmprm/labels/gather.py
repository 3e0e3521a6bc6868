"""Trees into labelled step paths. In: the annotation of all shards. Out: schemas.PATHS, and statistics as JSON.

`evidence` says what paths and labels there are, `cleaning` which are chosen and what the soft labels are. A
shard's tables hold a problem's rows side by side, the problems of both in the same order, so that a shard is never in
memory as a whole; the rollouts' texts, which are most of an annotation, are not read.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mmprm.config import Config
from mmprm.config.labels import LabelSet
from mmprm.data import schemas, tables
from mmprm.data.sorted_spill import SortedSpill
from mmprm.labels.cleaning import Cleaning, choose, in_dev, path_id
from mmprm.labels.evidence import Row
from mmprm.labels.statistics import Statistics, ordered
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress

NODE_COLUMNS = ("problem_id", "node_id", "steps", "n_rollouts", "n_correct", "n_unparsed", "n_undecided", "mc")
ROLLOUT_COLUMNS = ("problem_id", "node_id", "steps", "answer", "verdict", "searched")


def gather_labels(
    config: Config,
    seeds: Path,
    shards: list[Path],
    out: Path,
    statistics: Path,
    cleaning: Cleaning,
    extra: Sequence[Path] = (),
) -> None:
    """Write all shards' trees (folders of `annotate`) as one table of paths.

    cleaning: with the settings of the label set that is made; extra: further tables of paths (of `read-steps`). One
    tree is in memory at a time, and about 500 bytes a problem; paths wait beside `out` (in a file without a name) until
    all are there. Raises UserError where two shards hold one problem.
    """
    sources = sources_of(seeds)
    check_problems(shards, sources, seeds)
    counts = Statistics()
    with (
        SortedSpill(out.parent, schemas.PATHS) as paths,
        SortedSpill(out.parent, schemas.PATHS) as extra_paths,
        Progress("labels", len(sources), "problems") as bar,
    ):
        for shard in shards:
            for part in tables.batches(shard / "status.parquet", schemas.STATUS):
                counts.add_status(part)
        for done, (name, nodes, rollouts) in enumerate(trees(shards)):
            rows, unlocated = problem_rows(config, cleaning, name, sources[name], nodes, rollouts)
            counts.add_nodes(nodes, unlocated)
            paths.add(name, rows)
            bar.update(done)
        extra_counts = _add_extra(extra_paths, extra)
        tables.write_parts(out, _gathered(paths, extra_paths, cleaning, counts), schemas.PATHS)
    value = counts.value() | {"switches": dict(cleaning.changes)}
    if not value["paths"] and not extra_counts:
        out.unlink()
        raise UserError(
            f"labels: {value['problems']} trees give no path, so there is nothing to train on: {_why_none(value)}"
        )
    if extra_counts:
        value["extra_paths_by_source"] = ordered(extra_counts)
    tables.write_json(statistics, value)
    log.info(
        f"labels: {value['paths']} paths of {value['problems_with_paths']} problems from {value['problems']} trees"
        + (f", and {extra_counts.total()} of {', '.join(config.labels.extra)}" if extra_counts else "")
    )


def _why_none(value: Row) -> str:
    """Say what to change where no tree gives a path."""
    if not value["problems"]:
        return "there are no trees (the seeds are none, or all were skipped or failed: see annotation/*/status.parquet)"
    return (
        "raise annotation.max_searches or annotation.k, so that searches find first errors, or loosen labels "
        "(max_positive_ratio, max_outcome_ratio, min_rollouts, min_self_confidence, keep_ratio)"
    )


def _add_extra(extra_paths: SortedSpill, extra: Sequence[Path]) -> Counter[str]:
    """Add the rows of further tables; return how many there are of each source."""
    counts: Counter[str] = Counter()
    for path in extra:
        for part in tables.batches(path, schemas.PATHS):
            counts.update(part["source"].to_pylist())
            names = part["problem_id"]
            for name in dict.fromkeys(names.to_pylist()):
                extra_paths.add_table(name, part.filter(pc.equal(names, name)))
    return counts


def _gathered(
    paths: SortedSpill, extra_paths: SortedSpill, cleaning: Cleaning, counts: Statistics
) -> Iterator[pa.Table]:
    """Yield the paths of all problems in the order of the table; the run's own are cleaned and counted."""
    for name in sorted({*paths.names, *extra_paths.names}):
        part = cleaning.select(paths.table(name))
        counts.add_paths(part)
        yield pa.concat_tables([part, extra_paths.table(name)]).sort_by("path_id") if name in extra_paths else part


def problem_rows(
    config: Config, cleaning: Cleaning, name: str, source: str, nodes: list[Row], rollouts: list[Row]
) -> tuple[list[Row], int]:
    """Make the rows of schemas.PATHS of one problem, and count its searches that located no error.

    cleaning: of the split train; held-out problems have the labels of the run, without cleaning.
    """
    split = "dev" if in_dev(config.seed, name, config.labels.dev_share) else "train"
    rules, limits = (cleaning, cleaning.settings) if split == "train" else (Cleaning(LabelSet()), config.labels)
    evidence = rules.evidence(nodes, rollouts)
    negatives, unlocated = evidence.negatives()
    dense = evidence.is_dense if config.annotation.dense_solutions else lambda path: False
    paths = choose(name, evidence.positives(), negatives, evidence.outcomes(), limits, dense)
    rows = []
    for path in paths if rules.keeps_problem(evidence, paths) else []:
        labels = evidence.label(path)
        soft = rules.soft_labels(evidence, path, labels)
        row = {"path_id": path_id(name, path), "problem_id": name, "source": source, "split": split}
        rows.append(row | vars(path) | {"steps": list(path.steps), **labels, "soft": soft})
        rules.see(rows[-1])
    return sorted(rows, key=itemgetter("path_id")), unlocated


def trees(
    shards: Sequence[Path], nodes: Sequence[str] = NODE_COLUMNS, rollouts: Sequence[str] = ROLLOUT_COLUMNS
) -> Iterator[tuple[str, list[Row], list[Row]]]:
    """Yield (problem id, its rows of schemas.NODES and of schemas.ROLLOUTS) of each tree, shard by shard.

    nodes, rollouts: the columns to read. A problem without nodes is left out. Raises UserError where a problem has two
    trees, or the rollouts' problems have another order than the nodes'.
    """
    advice = "delete the stale annotation and run again"
    found = (tree for shard in shards for tree in _trees(shard, nodes, rollouts))
    return tables.unique(found, "the tree of problem", shards, advice, key=itemgetter(0))


def _trees(
    shard: Path, node_columns: Sequence[str], rollout_columns: Sequence[str]
) -> Iterator[tuple[str, list[Row], list[Row]]]:
    rollouts = _problems(shard / "rollouts.parquet", schemas.ROLLOUTS, rollout_columns)
    following = next(rollouts, None)
    for name, nodes in _problems(shard / "nodes.parquet", schemas.NODES, node_columns):
        drawn: list[Row] = []
        if following is not None and following[0] == name:
            drawn, following = following[1], next(rollouts, None)
        yield name, nodes, drawn
    if following is not None:
        raise UserError(
            f"{shard}: rollouts.parquet has problem {following[0]!r} where nodes.parquet does not; the two are not "
            "of one annotation: delete the folder and run again"
        )


def _problems(path: Path, schema: pa.Schema, columns: Sequence[str]) -> Iterator[tuple[str, list[Row]]]:
    """Yield the rows of each problem, problems in the table's order."""
    rows = (row for part in tables.batches(path, schema, columns) for row in part.to_pylist())
    return ((name, list(group)) for name, group in groupby(rows, key=itemgetter("problem_id")))


def sources_of(seeds: Path) -> dict[str, str]:
    """Read the source of each problem of a problem table, without its images."""
    sources: dict[str, str] = {}
    for part in tables.batches(seeds, schemas.PROBLEMS, ("problem_id", "source"), rows=65536):
        sources.update(zip(part["problem_id"].to_pylist(), part["source"].to_pylist(), strict=True))
    return sources


def check_problems(shards: Sequence[Path], sources: dict[str, str], seeds: Path) -> None:
    """Raise UserError where a problem is in two shards, or is not among the seeds."""
    problems = (
        (shard, name)
        for shard in shards
        for part in tables.batches(shard / "status.parquet", schemas.STATUS, ("problem_id",), rows=65536)
        for name in part["problem_id"].to_pylist()
    )
    for shard, name in tables.unique(problems, "problem", shards, "delete the stale one", key=itemgetter(1)):
        if name not in sources:
            raise UserError(
                f"problem {name!r} of {shard} was annotated but is not in {seeds}: delete the annotation, run again"
            )
