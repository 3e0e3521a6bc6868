"""Trees into labelled step paths. In: the annotation of all shards. Out: schemas.PATHS, and statistics as JSON.

`evidence` says what paths and labels there are, `selection` which are kept, `softening` what their soft labels are.
What the switches of `labels` take away or change, they do to the split train alone: held-out paths stay as they are,
so that PRMs of different settings are measured on the same labels.

Paths of `labels.extra` are put beside the run's own, for training; statistics and held-out problems stay the run's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mmprm.config import Config
from mmprm.config.labels import LabelSet
from mmprm.data import schemas, tables
from mmprm.data.sorted_spill import SortedSpill
from mmprm.labels.evidence import Evidence, Row
from mmprm.labels.selection import Informative, choose, in_dev, path_id
from mmprm.labels.soft_labels import BELOW_MINIMUM, REWEIGHTED, TOLERATED, Changes, soft_labels
from mmprm.labels.statistics import Statistics, ordered
from mmprm.labels.tree_tables import check_problems, sources_of, trees
from mmprm.runtime.progress import Bar, say

_POOLED_MORE, _POOLED_ALONE = "markers with more rollouts by pooling", "markers with rollouts by pooling alone"
_UNSURE_PROBLEMS, _UNSURE_PATHS = "problems below min_self_confidence", "paths of these problems"
_UNINFORMATIVE = "paths beyond keep_ratio"


def gather_labels(
    config: Config,
    seeds: Path,
    shards: list[Path],
    out: Path,
    statistics: Path,
    extra: Sequence[Path] = (),
    label_set: str | None = None,
) -> None:
    """All shards' trees (folders of `annotate`) as one table of paths; UserError where two shards hold one problem.

    extra: further tables of paths (of `read-steps`); label_set: a key of labels.sets, None for the run's own. One tree
    is in memory at a time, and about 500 bytes a problem; paths wait beside `out` (in a file without a name) until
    all are there.
    """
    sources = sources_of(seeds)
    check_problems(shards, sources, seeds)
    settings = config.labels.of(label_set)
    found, changes = Statistics(), _changes(settings)
    best = None if settings.keep_ratio is None else Informative(settings.keep_ratio, settings.bis_smoothing)
    seen: set[str] = set()
    with (
        SortedSpill(out.parent, schemas.PATHS) as spool,
        SortedSpill(out.parent, schemas.PATHS) as more,
        Bar("labels", len(sources), "problems") as bar,
    ):
        for shard in shards:
            for part in tables.batches(shard / "status.parquet", schemas.STATUS):
                found.add_status(part)
        for done, (name, nodes, rollouts) in enumerate(trees(shards)):
            seen.add(name)
            common = {"problem_id": name, "source": sources[name]}
            rows, unlocated = problem_rows(config, settings, common, nodes, rollouts, changes)
            found.add_nodes(nodes, unlocated)
            spool.add(name, sorted(rows, key=itemgetter("path_id")))
            for row in rows:
                if best is not None and row["split"] == "train":
                    best.see(row)
            bar.update(done)
        of_sources = _take_extra(more, extra)
        tables.write_parts(out, _gathered(spool, more, best, found, changes), schemas.PATHS)
    value = found.value() | {"switches": dict(changes)}
    if of_sources:
        value["extra_paths_by_source"] = ordered(of_sources)
    tables.write_json(statistics, value)
    say(
        f"labels: {value['paths']} paths of {value['problems_with_paths']} problems from {value['problems']} trees"
        + (f", and {of_sources.total()} of {', '.join(config.labels.extra)}" if of_sources else "")
    )


def _take_extra(spool: SortedSpill, extra: Sequence[Path]) -> Counter[str]:
    """Put the rows of further tables into the spool; how many there are of each source."""
    counts: Counter[str] = Counter()
    for path in extra:
        for part in tables.batches(path, schemas.PATHS):
            counts.update(part["source"].to_pylist())
            names = part["problem_id"]
            for name in dict.fromkeys(names.to_pylist()):
                spool.add_table(name, part.filter(pc.equal(names, name)))
    return counts


def _gathered(
    spool: SortedSpill, more: SortedSpill, best: Informative | None, found: Statistics, changes: Changes
) -> Iterator[pa.Table]:
    """The paths of all problems, in the order of the table; the run's own are counted as they go by."""
    for name in sorted({*spool.names, *more.names}):
        own = spool.table(name)
        if best is not None:
            kept = [row["split"] == "dev" or best.keeps(row) for row in own.to_pylist()]
            changes[_UNINFORMATIVE] += len(kept) - sum(kept)
            own = own.filter(pa.array(kept, pa.bool_()))
        found.add_paths(own)
        yield pa.concat_tables([own, more.table(name)]).sort_by("path_id") if name in more else own


def problem_rows(
    config: Config, settings: LabelSet, common: Row, nodes: list[Row], rollouts: list[Row], changes: Changes
) -> tuple[list[Row], int]:
    """The rows of schemas.PATHS of one problem, and how many of its searches located no error.

    settings: of the split train; common: its problem_id and source; `changes` counts what the switches do.
    """
    name = common["problem_id"]
    split = "dev" if in_dev(config.seed, name, config.labels.dev_share) else "train"
    taken, switches = (settings, settings) if split == "train" else (config.labels, LabelSet())
    evidence = Evidence(nodes, rollouts, switches.pooled_counts)
    negatives, unlocated = evidence.negatives()
    paths = choose(name, evidence.positives(), negatives, evidence.outcomes(), taken)
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


def _changes(settings: LabelSet) -> Changes:
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
