"""Hugging Face's datasets reads the table of step paths as it is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem


def test_the_table_of_paths_reads_with_datasets(
    path_row: Callable[..., dict[str, Any]], mini_problems: list[Problem], tmp_path: Path
) -> None:
    from datasets import Dataset

    rows = [path_row(problem, good) for problem in mini_problems[:2] for good in (True, False)]
    tables.write(tmp_path / "paths.parquet", rows, schemas.PATHS)
    read = Dataset.from_parquet(str(tmp_path / "paths.parquet"), cache_dir=str(tmp_path / "cache"))
    assert read.column_names == schemas.PATHS.names
    assert read.to_list() == rows
