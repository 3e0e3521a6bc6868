"""Statistics of a run's labels. In: parts of tables, one after another. Out: counts as JSON values.

Only counts are in memory, whatever the number of trees and paths.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Row = dict[str, Any]
_BINS = 10


@dataclass
class Statistics:
    """Counts of problems, of what their annotation cost, and of the paths and their labels."""

    sums: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    histogram: Counter[int] = field(default_factory=Counter)
    splits_and_kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    label_sources: Counter[str] = field(default_factory=Counter)

    def add_status(self, part: pa.Table) -> None:
        """Count rows of schemas.STATUS."""
        self.sums["problems"] += len(part)
        self.statuses.update(pc.binary_join_element_wise(part["status"], part["reason"], ": ").to_pylist())
        for name, column in (("searches", "n_searches"), ("rollouts", "n_rollouts"), ("tokens", "n_tokens")):
            self.sums[name] += pc.sum(part[column]).as_py() or 0

    def add_nodes(self, nodes: Iterable[Row], unlocated: int) -> None:
        """Count a tree's nodes; unlocated: how many of its searches located no error."""
        self.sums["unlocated"] += unlocated
        for node in nodes:
            self.sums["nodes"] += 1
            self.sums["undecided"] += node["n_undecided"]
            self.sums["unparsed"] += node["n_unparsed"]
            if node["mc"] is not None:
                self.histogram[min(int(node["mc"] * _BINS), _BINS - 1)] += 1

    def add_paths(self, part: pa.Table) -> None:
        """Count all paths of a problem, rows of schemas.PATHS."""
        self.sums["problems_with_paths"] += len(part) > 0
        self.sums["steps"] += pc.sum(pc.list_value_length(part["steps"])).as_py() or 0
        hard = pc.list_flatten(part["hard"])
        self.sums["markers"] += len(hard)
        self.sums["hard"] += len(hard) - hard.null_count
        self.sums["hard_right"] += pc.sum(hard).as_py() or 0
        soft = pc.list_flatten(part["soft"])
        self.sums["soft"] += len(soft) - soft.null_count
        self.splits_and_kinds.update(zip(part["split"].to_pylist(), part["kind"].to_pylist(), strict=True))
        self.label_sources.update(pc.list_flatten(part["label_source"]).to_pylist())

    def value(self) -> Row:
        """Return all counts as JSON values."""
        sums, paths = self.sums, self.splits_and_kinds.total()
        splits, kinds, both = Counter[str](), Counter[str](), Counter[str]()
        for (split, kind), times in self.splits_and_kinds.items():
            splits[split] += times
            kinds[kind] += times
            both[f"{split}/{kind}"] += times
        return {
            "problems": sums["problems"],
            "problems_with_paths": sums["problems_with_paths"],
            "statuses": ordered(self.statuses),
            "searches": sums["searches"],
            "searches_without_located_error": sums["unlocated"],
            "rollouts": sums["rollouts"],
            "tokens": sums["tokens"],
            "nodes": sums["nodes"],
            "undecided_rollouts": sums["undecided"],
            "unparsed_rollouts": sums["unparsed"],
            "mc_histogram": [
                {"from": bin / _BINS, "to": (bin + 1) / _BINS, "nodes": self.histogram[bin]} for bin in range(_BINS)
            ],
            "paths": paths,
            "paths_by_split": ordered(splits),
            "paths_by_kind": ordered(kinds),
            "paths_by_split_and_kind": ordered(both),
            "mean_steps": sums["steps"] / paths if paths else None,
            "markers": sums["markers"],
            "markers_by_label_source": ordered(self.label_sources),
            "markers_with_soft_label": sums["soft"],
            "hard_positive_share": sums["hard_right"] / sums["hard"] if sums["hard"] else None,
        }


def ordered(counts: Counter[str]) -> dict[str, int]:
    """Sort counts by name."""
    return dict(sorted(counts.items()))
