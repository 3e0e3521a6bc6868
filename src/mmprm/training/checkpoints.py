"""Which checkpoint a training goes on from. In: the folder of checkpoints. Out: the last whole one of the same job.

Trainer writes into a checkpoint's final name, so a kill leaves a folder that looks like one. Here a checkpoint is whole
when the list of its files, written last, matches them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm import tables

_COMPLETE = "complete.json"


def last_whole(folder: Path, same: Sequence[str], arguments: Any) -> Path | None:
    """The last whole checkpoint in `folder`, or None. Half-written ones, and those of another job, are deleted.

    same: all that makes it the same job (start, data, order, settings, seed, processes). arguments: TrainingArguments;
    the first process cleans up while the others wait.
    """
    if arguments.process_index == 0:
        key = {"job": hashlib.sha256("\x1f".join(same).encode()).hexdigest()}
        if _read(folder / "job.json") != key:
            shutil.rmtree(folder, ignore_errors=True)
            tables.write_json(folder / "job.json", key)
        for checkpoint in folder.glob("checkpoint-*"):
            if _read(checkpoint / _COMPLETE) != _sizes(checkpoint):
                shutil.rmtree(checkpoint)
    arguments.distributed_state.wait_for_everyone()
    return max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), default=None)


def mark_complete() -> Any:
    """A Trainer callback that lists a checkpoint's files in it, once all processes have written theirs."""
    from accelerate import PartialState
    from transformers import TrainerCallback

    class _MarkComplete(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            PartialState().wait_for_everyone()
            if state.is_world_process_zero:
                folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
                tables.write_json(folder / _COMPLETE, _sizes(folder))

    return _MarkComplete()


def _sizes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _COMPLETE and not path.name.startswith(".")
    }


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return None
