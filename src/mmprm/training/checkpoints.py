"""Which checkpoint a training resumes from. In: the folder of checkpoints. Out: the last complete one of the same job.

A kill may leave a folder that looks like a checkpoint: one is complete if the list of its files, written last, matches
them. DeepSpeed keeps each process's share of the optimizer in a file;
another number of processes needs a universal checkpoint (arXiv 2406.18820).
"""

import copy
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmprm.data import tables
from mmprm.runtime.errors import UserError

_COMPLETE = "complete.json"
_RESHAPED = "reshaped"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: after which update, and how many processes wrote it."""

    folder: Path
    update: int
    processes: int


def last_complete(
    folder: Path, identity: Sequence[str], arguments: Any, before: Callable[[], Sequence[str]] | None = None
) -> Checkpoint | None:
    """Return the last complete checkpoint in `folder`, or None; delete incomplete ones, and those of another job.

    identity: everything that makes it the same job (start, data, order, settings, seed; not the number of processes).
    before: computes the same as the release before did, asked only of checkpoints that are not known by `identity`.
    arguments: TrainingArguments; the first process cleans up, and broadcasts the result to the others, which wait.
    """
    from accelerate.utils import broadcast_object_list

    result: list[Checkpoint | None] = [None]
    if arguments.process_index == 0:
        key, found = _key(identity), _read(folder / "job.json")
        if found != key:
            if before is None or found is None or found != _key(before()):
                shutil.rmtree(folder, ignore_errors=True)
            tables.write_json(folder / "job.json", key)
        for path in folder.glob("checkpoint-*"):
            contents = _read(path / _COMPLETE) or {}
            if contents.get("files") != _sizes(path):
                shutil.rmtree(path)
                continue
            update = int(path.name.split("-")[1])
            if result[0] is None or update > result[0].update:
                result = [Checkpoint(path, update, contents["processes"])]
    # Not looked up by each process: on several nodes some may see an older state of a shared folder.
    return broadcast_object_list(result)[0] if arguments.world_size > 1 else result[0]


def _key(identity: Sequence[str]) -> dict[str, str]:
    return {"job": hashlib.sha256("\x1f".join(identity).encode()).hexdigest()}


def readable(checkpoint: Checkpoint, arguments: Any) -> Path:
    """Return a folder that as many processes can resume from as there are now; `arguments` change if it is new."""
    if checkpoint.processes == arguments.world_size:
        return checkpoint.folder
    target = checkpoint.folder.parent / _RESHAPED / checkpoint.folder.name
    if arguments.process_index == 0:
        _reshape(checkpoint, target)
    arguments.distributed_state.wait_for_everyone()
    for settings in (arguments.hf_deepspeed_config.config, arguments.deepspeed_plugin.deepspeed_config):
        settings["checkpoint"] = {"load_universal": True}
    return target


def _reshape(checkpoint: Checkpoint, target: Path) -> None:
    shutil.rmtree(target.parent, ignore_errors=True)
    target.mkdir(parents=True)
    tag = (checkpoint.folder / "latest").read_text(encoding="utf-8").strip()
    for name in ("trainer_state.json", "scheduler.pt"):
        shutil.copy(checkpoint.folder / name, target)
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    command += ["--input_folder", str(checkpoint.folder / tag), "--output_folder", str(target / tag)]
    command += ["--num_extract_workers", "1", "--num_merge_workers", "1"]
    done = subprocess.run(
        command, encoding="utf-8", errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        raise UserError(
            f"{checkpoint.folder} was written by {checkpoint.processes} processes, and DeepSpeed cannot convert it for "
            f"another number: resume with {checkpoint.processes}, or delete it. DeepSpeed's output:\n{done.stdout}"
        )


def repair_optimizer() -> Any:
    """Return a Trainer callback for a training that resumes from a universal checkpoint.

    DeepSpeed 0.19 reads two things wrongly under ZeRO-3: all groups of parameters get the settings of the first, so
    that norms and biases would get the matrices' weight decay; and all share one step counter, which each would raise.
    """
    from transformers import TrainerCallback

    class _RepairOptimizer(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            optimizer = kwargs["optimizer"]
            for group in optimizer.param_groups[1:]:  # Trainer's second group is that of norms and biases
                group["weight_decay"] = 0.0
            for moments in optimizer.state.values():
                moments["step"] = copy.deepcopy(moments["step"])

    return _RepairOptimizer()


def copy_model(folder: Path, out: Path) -> None:
    """Copy the model that a checkpoint holds beside its training state."""
    for pattern in ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json"):
        for file in folder.glob(pattern):
            shutil.copy(file, out)


def mark_complete() -> Any:
    """Return a Trainer callback that lists a checkpoint's files in it, once all processes have written theirs."""
    from accelerate import PartialState
    from transformers import TrainerCallback

    class _MarkComplete(TrainerCallback):  # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            PartialState().wait_for_everyone()
            if state.is_world_process_zero:
                folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
                tables.write_json(folder / _COMPLETE, {"processes": args.world_size, "files": _sizes(folder)})
                shutil.rmtree(folder.parent / _RESHAPED, ignore_errors=True)  # no longer needed

    return _MarkComplete()


def _sizes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _COMPLETE and not path.name.startswith(".")
    }


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
