"""The training loop that the policy and the PRM share, from the last checkpoint on. In: a Job. Out: a model folder."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmprm.model import folders
from mmprm.model.hf_env import prepare
from mmprm.runtime.errors import UserError
from mmprm.training import adapters, checkpoints, data, order
from mmprm.training.arguments import training_arguments
from mmprm.training.job import TrainJob, keeps_best
from mmprm.training.progress import quiet
from mmprm.training.trainer import make_trainer


@dataclass(frozen=True)
class TrainResult:
    """What became of it. `loss` is the mean of the last tenth of the updates; `seconds` are this process's."""

    steps: int
    loss: float
    seconds: float
    resumed_from: int
    history: list[dict[str, float]]
    held_out: list[dict[str, float]]  # the loss on held-out problems at each checkpoint


def fit(job: TrainJob, out: Path) -> TrainResult:
    """Train from job.start (or the last whole checkpoint of the very same job), and save model and processor to `out`.

    Raises UserError when the loss is not finite, after writing the problems of that micro-batch to work/nan_batch.json.
    """
    prepare()
    quiet()
    begun = time.monotonic()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if job.training.batch_size % processes:
        raise UserError(f"training.batch_size: {job.training.batch_size} is no multiple of {processes} processes")
    how = (job.training, processes, job.seed, job.trees, job.packed_tokens)
    plan, micro_batches = order.update_plan(job.examples, *how)
    updates = math.ceil(len(plan) / micro_batches)
    # Before the model: ZeRO-3 shards the weights while they load, and learns that from these arguments.
    arguments = training_arguments(job, updates, micro_batches // processes)
    # save_every decides nothing, nor do the number of GPUs and of processes: an update is over the same examples.
    settings = job.training.model_dump_json(exclude={"save_every", "report_to", "gpus"})
    content = data.digest(job.examples, order.of_updates(plan, micro_batches))
    same = [folders.fingerprint(job.start), content, job.loss, settings, str(job.seed)]
    same += ["trees"] if job.trees else []
    checkpoint = checkpoints.last_whole(Path(arguments.output_dir), same, arguments)
    folder = checkpoints.readable(checkpoint, arguments) if checkpoint else None
    processor = folders.load_processor(job.start)
    trainer = make_trainer(job, arguments, plan, processor)
    if checkpoint and trainer.is_world_process_zero():
        others = f": {checkpoint.processes} processes before, {processes} now"
        trainer.report.say(
            f"resuming after update {checkpoint.update} of {updates}" + others * (checkpoint.processes != processes)
        )
    if checkpoint and folder != checkpoint.folder:
        trainer.add_callback(checkpoints.mend_optimizer())
    trainer.train(resume_from_checkpoint=str(folder) if folder else None)

    _export(trainer, job, out)
    history = [
        {"step": row["step"], "loss": row["loss"], "learning_rate": row["learning_rate"]}
        for row in trainer.state.log_history
        if "loss" in row
    ]
    if trainer.is_world_process_zero():
        (out / "training_args.bin").unlink(missing_ok=True)  # a pickle of this machine's paths
        processor.save_pretrained(out)
    resumed = checkpoint.update if checkpoint else 0
    last = [row["loss"] for row in history[-max(1, len(history) // 10) :]]
    held_out = [
        {"step": row["step"], "loss": row["eval_loss"]} for row in trainer.state.log_history if "eval_loss" in row
    ]
    return TrainResult(updates, sum(last) / len(last), time.monotonic() - begun, resumed, history, held_out)


def _export(trainer: Any, job: TrainJob, out: Path) -> None:
    """Save the trained weights, or those of the best checkpoint, as a plain model."""
    if job.training.lora:
        adapters.merge(trainer)
    if job.training.precision == "bf16" and not job.training.deepspeed:
        import torch

        trainer.model.to(torch.bfloat16)
    best = trainer.state.best_model_checkpoint if keeps_best(job) else None
    if job.training.deepspeed and job.training.lora:
        if trainer.is_world_process_zero():  # not by Trainer, which asks DeepSpeed: that still holds the adapters
            trainer.model.save_pretrained(out)
    elif job.training.deepspeed and best:
        # To be loaded into ZeRO's shards, it would have to be written by as many processes as there are now.
        if trainer.is_world_process_zero():
            checkpoints.copy_model(Path(best), out)
    else:
        trainer.save_model(str(out))
