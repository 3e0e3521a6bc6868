"""How many problems a source will have. In: the configuration. Out: a number, by what is fast to know; or None."""

from pathlib import Path

from mmprm.config import Config
from mmprm.config.data_files import DataFiles
from mmprm.config.sources import MiniSource


def count_rows(config: Config, name: str, results: Path | None = None) -> int | None:
    """Return the rows of a source: of its finished table, its parquet files, or as `expected.rows` says; else None.

    results: the run's folder, whose problem tables are used where they are made. A derived source has at most the rows
    of those that it is made from.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = config.sources[name]
    if isinstance(source, MiniSource):
        return source.size
    table = None if results is None else results / "problems" / f"{name}.parquet"
    if table is not None and table.is_file():
        try:
            return int(pq.read_metadata(table).num_rows)
        except (pa.ArrowException, OSError):
            return None
    if not isinstance(source, DataFiles):
        parents = [count_rows(config, parent, results) for parent in source.sources]
        total = None if None in parents else sum(count or 0 for count in parents)
        size = getattr(source, "size", None)
        return min(total, size) if size and total is not None else total
    counted = config.expected.rows.get(name)
    files = source.local_files()
    if files and all(file.is_file() and file.suffix in (".parquet", ".pq") for file in files):
        try:
            counted = sum(int(pq.read_metadata(file).num_rows) for file in files)
        except (pa.ArrowException, OSError):
            return counted
    return counted if counted is None or source.limit is None else min(counted, source.limit)
