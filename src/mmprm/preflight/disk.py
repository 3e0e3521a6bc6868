"""What results take on disk: tables, models, and what trainings keep while they run. In: settings. Out: bytes."""

from collections.abc import Iterator
from pathlib import Path

from mmprm.config import Config
from mmprm.config.data_files import DataFiles
from mmprm.config.sources import MiniSource
from mmprm.preflight.findings import Finding, found
from mmprm.preflight.jobs import TrainingJob, trainings
from mmprm.preflight.machine import Machine
from mmprm.preflight.memory import GIB, trainable
from mmprm.preflight.rows import count_rows
from mmprm.preflight.shape import BaseShape

_TEXT = 2_000  # bytes of a row beside its images
_STORE = 1.05  # of a store of examples, beside the table that it is made from (`python -m perf.store`: 795 GB to 770)
_WHILE = ("checkpoints", "examples")  # what a training deletes at its end


def disk_needs(config: Config, shape: BaseShape, results: Path | None = None) -> dict[str, float]:
    """Return the bytes that tables, models, and examples and checkpoints of each training take at their peak.

    results: the run's folder, whose finished tables are measured. A source of unknown size counts as nothing.
    """
    pictured = shape.vision > 0
    tables = {name: table_bytes(config, name, pictured, results) or 0.0 for name in config.sources}
    needs = {"problems": sum(tables.values())}
    stores = {
        "policy": _STORE * sum(tables.get(name, 0.0) for name in config.policy.sources),
        "prm": _STORE * sum(tables.get(name, 0.0) for name in config.seeds.sources),
    }
    for job in trainings(config):
        needs[job.stage] = needs.get(job.stage, 0.0) + job.times * shape.stored_bytes  # what it exports
    for job in trainings(config):
        peak = checkpoint_bytes(shape, job) * 3 + shape.stored_bytes  # two are kept while one is written; the start
        needs[f"{job.stage}: checkpoints"] = max(needs.get(f"{job.stage}: checkpoints", 0.0), peak)
        needs[f"{job.stage}: examples"] = stores[job.stage]
    return needs


def table_bytes(config: Config, name: str, pictured: bool, results: Path | None = None) -> float | None:
    """Return the bytes of a source's problem table; None where its rows are not known.

    Those of the finished table, or of files that hold their images; else by `expected.image_bytes`, at most.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = None if results is None else results / "problems" / f"{name}.parquet"
    if table is not None and table.is_file():
        return float(table.stat().st_size)
    source = config.sources[name]
    rows = count_rows(config, name, results)
    if rows is None:
        return None
    if isinstance(source, MiniSource):
        return float(rows * _TEXT)
    if isinstance(source, DataFiles):
        files = source.local_files()
        try:
            parts = [pq.ParquetFile(file) for file in files if file.suffix in (".parquet", ".pq")]
        except (pa.ArrowException, OSError):
            parts = []
        if parts and len(parts) == len(files) and all("binary" in str(part.schema_arrow) for part in parts):
            held = sum(part.metadata.num_rows for part in parts)
            return float(sum(file.stat().st_size for file in files) * min(1.0, rows / max(1, held)))
    images = config.expected.images * config.expected.image_bytes[1] if pictured else 0.0
    return rows * (_TEXT + images)


def checkpoint_bytes(shape: BaseShape, job: TrainingJob) -> float:
    """Return the bytes of a training's checkpoint: weights, or adapters, and AdamW's moments with the float32 copy."""
    training, changed = job.training, trainable(shape, job.training)
    weight = 2 if training.precision == "bf16" and training.deepspeed else 4
    saved = weight * (changed if training.lora else shape.parameters)
    # DeepSpeed writes what is trained twice: for Trainer, and beside AdamW's moments and the float32 copy.
    return 2 * saved + 12 * changed if training.deepspeed else saved + 8 * changed


def too_little_disk(config: Config, shape: BaseShape, machine: Machine) -> Iterator[Finding]:
    """Yield the finding that the disk does not hold what the results take."""
    if machine.disk is None:
        return
    place = Path("results", config.run)
    needs = disk_needs(config, shape, place)
    total = sum(value for name, value in needs.items() if not name.endswith(_WHILE))
    # One training at a time: what it keeps while it runs is deleted at its end.
    stages = {name.partition(":")[0] for name in needs if name.endswith(_WHILE)}
    total += max((sum(needs[f"{stage}: {kind}"] for kind in _WHILE) for stage in stages), default=0)
    if total > machine.disk:
        text = (
            f"problem tables, models, examples and checkpoints take up to {total / GIB:.0f} GiB, {place} has "
            f"{machine.disk / GIB:.0f} free; make results a link to a larger disk, train adapters (lora), whose "
            "checkpoints are small, or set expected.image_bytes, if your images are smaller"
        )
        yield found("hardware.disk_gib", text, "policy", "prm")
