"""A store that notes which examples each process of a training reads; a module that the processes can import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmprm.training.example_store import StoredExamples


class NotedExamples(StoredExamples):
    """Writes each index that is read to a file of its rank."""

    def __getitem__(self, index: Any) -> Any:
        with _file(self.folder, os.environ.get("RANK", "")).open("a") as file:
            file.write(f"{index}\n")
        return super().__getitem__(index)


def reads(folder: Path, rank: str) -> list[int]:
    """The indices that a rank has read of the store in `folder`, in order."""
    return [int(line) for line in _file(folder, rank).read_text().split()]


def _file(folder: Path, rank: str) -> Path:
    return folder.parent / f"reads-{rank}"
