"""Reads a run's folder for the report. In: results/<run>. Out: plain values; None or nothing where a part is missing.

A file that exists and cannot be read raises UserError.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mmprm.config import Config
from mmprm.data import schemas, shards, tables
from mmprm.runtime.errors import UserError

Row = dict[str, Any]


def read_json(path: Path) -> Any:
    """Return the value of a JSON file, or None where there is none; UserError where it is damaged."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); delete it and run again") from error


def shard_names(config: Config, results: Path, stage: str) -> list[str]:
    """Return the names of a stage's shards in the run's folder; stage: a key of `shards`."""
    count = shards.stage_count(stage, getattr(config.shards, stage), str(results), config.benchmarks)
    return shards.names(count)


def existing(paths: Iterable[Path]) -> list[Path]:
    """Return those of the paths that are files."""
    return [path for path in paths if path.is_file()]


def annotation_files(config: Config, results: Path, name: str) -> list[Path]:
    """Return the existing tables of all annotation shards; name: nodes, rollouts or status."""
    names = shard_names(config, results, "annotation")
    return existing(results / "annotation" / shard / f"{name}.parquet" for shard in names)


def sources(config: Config, results: Path) -> list[Row]:
    """Return for each source its kind, how many problems it gave, how many rows were refused, and for what reasons."""
    rows = []
    for name, source in config.sources.items():
        table = results / "problems" / f"{name}.parquet"
        refused = tables.read_rows(existing([table.with_suffix(".refused.parquet")]), schemas.REFUSED)
        examples = {row["reason"]: row for row in reversed(refused)}
        rows.append(
            {
                "name": name,
                "kind": source.kind,
                "about": source.about,
                "problems": pq.read_metadata(table).num_rows if table.is_file() else None,
                "refused": len(refused),
                "reasons": [
                    {"reason": reason, "count": count, "example": examples[reason]}
                    for reason, count in Counter(row["reason"] for row in refused).most_common()
                ],
            }
        )
    return rows


def decisions(results: Path) -> list[Row]:
    """Return the seed decisions, a row for each problem."""
    return tables.read_rows(existing([results / "seeds" / "decisions.parquet"]), schemas.SEED_DECISIONS)
