"""Reads a run's folder for the report. In: results/<run>. Out: plain values; None or nothing where a part is missing.

A file that exists and cannot be read raises UserError.
"""

import csv
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

# The rules in the order in which they work.
STAGES = (
    *("intake", "read_steps", "train_policy", "sample_seeds", "select_seeds", "annotate", "gather_labels"),
    *("gather_label_set", "judge_labels", "measure_labels", "train_prm", "evaluate_prm", "sample_candidates"),
    *(
        "gather_candidates",
        "score_candidates",
        "measure",
        "measure_trainings",
        "summarise",
        "score_steps",
        "measure_steps",
    ),
)


def read_json(path: Path, kind: type = dict) -> Any:
    """Return the value of a JSON file, or None where there is none; UserError where it is damaged or no `kind`."""
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); delete it and run again") from error
    if not isinstance(value, kind):
        raise UserError(f"{path}: a {type(value).__name__}, not what the stage writes; delete it and run again")
    return value


def shard_names(config: Config, results: Path, stage: str) -> list[str]:
    """Return the names of a stage's shards in the run's folder; stage: a key of `shards`."""
    count = shards.stage_count(stage, getattr(config.shards, stage), str(results), config.tests)
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


def costs_by_rule(config: Config, folder: Path) -> list[Row]:
    """Return for each rule {stage, jobs, seconds, memory_mb, used_<key> for each sum of its usage files}."""
    rows: dict[str, Row] = {}
    timings = folder / "benchmarks"
    for path in sorted(timings.rglob("*.tsv")):
        stage = path.relative_to(timings).parts[0].removesuffix(".tsv")
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file, delimiter="\t"):
                row = rows.setdefault(stage, {"stage": stage, "jobs": 0, "seconds": 0.0, "memory_mb": None})
                row["jobs"] += 1
                row["seconds"] += _number(line.get("s")) or 0.0
                memory = _number(line.get("max_rss"))
                if memory is not None:
                    row["memory_mb"] = max(memory, row["memory_mb"] or 0.0)
    for stage, path in _usage_files(config, folder):
        usage = read_json(path)
        if usage is not None:
            row = rows.setdefault(stage, {"stage": stage, "jobs": None, "seconds": None, "memory_mb": None})
            for key, value in usage.items():
                if isinstance(value, int | float):
                    row[f"used_{key}"] = row.get(f"used_{key}", 0) + value
    order = {stage: rank for rank, stage in enumerate(STAGES)}
    return sorted(rows.values(), key=lambda row: (order.get(row["stage"], len(order)), row["stage"]))


def _usage_files(config: Config, folder: Path) -> Iterable[tuple[str, Path]]:
    for name in shard_names(config, folder, "seeds"):
        yield "sample_seeds", folder / "seeds" / name / "rollouts.parquet.usage.json"
    for name in shard_names(config, folder, "annotation"):
        yield "annotate", folder / "annotation" / name / "usage.json"
    for benchmark in config.benchmarks:
        for name in shard_names(config, folder, "bench"):
            yield "sample_candidates", folder / "bench" / benchmark / "shards" / f"{name}.parquet.usage.json"
        for variant in config.prm.models:
            yield "score_candidates", folder / "bench" / benchmark / variant / "scores.parquet.usage.json"
    for benchmark in config.step_benchmarks:
        for variant in config.prm.models:
            yield "score_steps", folder / "steps" / benchmark / variant / "scores.parquet.usage.json"


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:  # Snakemake writes "-" or "NA" where it could not measure
        return None
