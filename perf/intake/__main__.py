"""How fast intake and curation are, what memory they need, and which of the planted faults they find.

In: a number of rows. Out: one JSON line: rows a second and the peak memory of each stage (that of all its processes
together), and for each rule its recall (of the planted faults, by kind) and precision (of what it refused; a refused
row that was planted for another rule counts against it). The pool is made by `planted.py` and goes through
`mmprm intake` and `mmprm curate` as a run's does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.config import load
from mmprm.config.derived import CurationRules
from mmprm.data import schemas, tables
from mmprm.runtime.errors import UserError
from mmprm.runtime.progress import Progress
from perf.common import finish, machine, say, user_errors
from perf.intake.planted import FAULTS, HARD, rows, tested_rows

_ROW = pa.schema(
    [
        ("id", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    ]
)
_CHUNK = 256


def write_pool(folder: Path, seed: int, size: int, tested: int) -> list[str]:
    """Write the pool and the benchmark as tables, and return the planned kind of each row of the pool."""
    planned: list[str] = []

    def reported(bar: Progress) -> Iterator[dict[str, Any]]:
        for row, what in rows(seed, size, tested):
            planned.append(what)
            bar.update(len(planned))
            yield row

    with Progress("timing: rows made", size, "rows") as bar:
        tables.write(folder / "pool_rows.parquet", reported(bar), _ROW, group=_CHUNK)
    tables.write(folder / "tested_rows.parquet", tested_rows(seed, tested), _ROW, group=_CHUNK)
    return planned


def configure(folder: Path, workers: int) -> None:
    """Write a run's configuration whose seeds are the pool, curated by every rule, those off by default too."""
    every_rule = dict.fromkeys(CurationRules.model_fields, True)
    config = load(
        {
            "run": "intake",
            "sources": {
                "pool": {"kind": "table", "path": str(folder / "pool_rows.parquet")},
                "tested": {"kind": "table", "path": str(folder / "tested_rows.parquet")},
                "curated": {"kind": "curated", "sources": ["pool"], "rules": every_rule},
                "drawn": {"kind": "mini", "split": "sft", "size": 1, "families": ["bars"]},
            },
            "intake": {"max_refused_share": 0.2},
            "policy": {"base": "none", "sources": ["drawn"]},
            "seeds": {"sources": ["curated"]},
            "benchmarks": {"tested": {"source": "tested"}},
            "grading": {"workers": workers},
        }
    )
    (folder / "config.json").write_text(config.model_dump_json())


def measured(*arguments: str) -> tuple[float, float]:
    """Run a verb; return its seconds and the peak memory of all its processes in MiB. UserError where it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", "from mmprm.cli import app; app()", *arguments], stdout=sys.stderr
    )
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process, peak))
    watcher.start()
    status = process.wait()
    watcher.join()
    if status:
        raise UserError(f"mmprm {arguments[0]} ended with status {status}; its message stands above")
    return time.perf_counter() - start, peak[0]


def _watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], _memory(process.pid) / 2**10)
        time.sleep(0.1)


def _memory(root: int) -> float:
    """Return the KiB of a process and all its descendants; shared pages are counted once (PSS)."""
    total, left = 0.0, [root]
    while left:
        pid = left.pop()
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
            total += float(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1])
            for task in Path(f"/proc/{pid}/task").iterdir():
                left += [int(child) for child in (task / "children").read_text(encoding="utf-8").split()]
        except (OSError, StopIteration):
            continue  # it has ended
    return total


def judged(folder: Path, planned: Sequence[str]) -> dict[str, Any]:
    """Return recall and precision of each rule, and the share of hard negatives that were refused."""
    outcomes = {row["problem_id"]: "intake" for row in _read(folder / "pool.refused.parquet")}
    outcomes |= {row["problem_id"]: row["reason"] for row in _read(folder / "curated.refused.parquet")}
    ends = [outcomes.get(f"pool/{number:07d}", "kept") for number in range(len(planned))]
    rules: dict[str, Any] = {}
    for rule in dict.fromkeys(rule for _, rule in FAULTS.values()):
        kinds = [kind for kind, (_, owner) in FAULTS.items() if owner == rule]
        caught = Counter(what for what, end in zip(planned, ends, strict=True) if end == rule)
        by_kind = Counter(planned)
        hits, planted = (sum(counts[kind] for kind in kinds) for counts in (caught, by_kind))
        rules[rule] = {
            "planted": planted,
            "recall": _share(hits, planted),
            "precision": _share(hits, caught.total()),
            "recall_by_kind": {kind: _share(caught[kind], by_kind[kind]) for kind in kinds},
        }
    pairs = Counter(zip(planned, ends, strict=True))
    lost = {kind: _share(sum(pairs[kind, end] for end in set(ends) - {"kept"}), planned.count(kind)) for kind in HARD}
    wrongly = {f"{what} -> {end}": times for (what, end), times in sorted(pairs.items()) if not _right(what, end)}
    return {"rules": rules, "hard_negatives_refused": lost, "not_as_planned": wrongly}


def _right(what: str, end: str) -> bool:
    return end == (FAULTS[what][1] if what in FAULTS else "kept")


def _share(part: int, total: int) -> float | None:
    return round(part / total, 4) if total else None


def _read(path: Path) -> list[Mapping[str, Any]]:
    return list(tables.read_rows(path, schemas.REFUSED))


def run(folder: Path, size: int, tested: int, seed: int, workers: int) -> dict[str, Any]:
    """Make the pool, run intake and curation over it, and return the result."""
    planned = write_pool(folder, seed, size, tested)
    configure(folder, workers)
    result: dict[str, Any] = {"machine": machine(), "rows": size, "benchmark_problems": tested, "workers": workers}
    common = ("--config", str(folder / "config.json"))
    stages: dict[str, tuple[str, ...]] = {
        "benchmark": ("intake", *common, *_source(folder, "tested")),
        "intake": ("intake", *common, *_source(folder, "pool")),
        "curation": ("curate", *common, *_source(folder, "curated"), *_curate(folder, workers)),
        # Once more, with the signatures at hand: what a changed setting costs.
        "curation_again": ("curate", *common, *_source(folder, "curated"), *_curate(folder, workers)),
    }
    for stage, arguments in stages.items():
        seconds, peak = measured(*arguments)
        say(f"{stage}: {seconds:.1f} s, {peak:.0f} MiB")
        if stage != "benchmark":
            result |= {f"{stage}_rows_per_second": round(size / seconds, 1), f"{stage}_peak_mib": round(peak)}
    funnel = json.loads((folder / "curated.curation.json").read_text(encoding="utf-8"))
    kept = pq.ParquetFile(folder / "curated.parquet").metadata.num_rows
    return result | {"kept": kept, "flags": funnel["flags"], **judged(folder, planned)}


def _source(folder: Path, name: str) -> tuple[str, ...]:
    places = {"out": f"{name}.parquet", "refused": f"{name}.refused.parquet"}
    return ("--source", name, *itertools.chain(*((f"--{key}", str(folder / at)) for key, at in places.items())))


def _curate(folder: Path, workers: int) -> tuple[str, ...]:
    places = {"problems": "pool.parquet", "tested": "tested.parquet", "work": "work", "test": "curated.test.parquet"}
    places |= {"funnel": "curated.curation.json"}
    return (*itertools.chain(*((f"--{k}", str(folder / v)) for k, v in places.items())), "--workers", str(workers))


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.intake", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="of the pool (100000)")
    parser.add_argument("--tested", type=int, default=2_000, help="problems of the benchmark (2000)")
    parser.add_argument("--workers", type=int, default=2, help="processes that look at pictures, and that grade (2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the tables there; default: a temporary folder")
    given = parser.parse_args(arguments)
    with user_errors("intake"), tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        result = run(folder, given.rows, given.tested, given.seed, given.workers)
    finish(result)


if __name__ == "__main__":
    main()
