"""The training loop that the policy and the PRM share, from the last checkpoint on. In: a TrainJob. Out: a model."""

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmprm.model import folders
from mmprm.model.hf_env import prepare
from mmprm.runtime import disk
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress
from mmprm.training import checkpoints
from mmprm.training.example_store import digests
from mmprm.training.examples import digest, digest_of_release_before
from mmprm.training.job import TrainJob, training_arguments
from mmprm.training.trainer import make_trainer
from mmprm.training.update_plan import examples_by_update, update_plan


@dataclass(frozen=True)
class TrainResult:
    """What a training reports. `loss` is the mean over the last tenth of the updates; `seconds` are this process's."""

    steps: int
    loss: float
    seconds: float
    resumed_from: int
    history: list[dict[str, float]]
    held_out: list[dict[str, float]]  # the loss on held-out problems at each checkpoint


def fit(job: TrainJob, out: Path) -> TrainResult:
    """Train from job.start, or the job's last complete checkpoint, and save model and processor to `out`.

    Raises UserError if the loss is not finite, after writing the problems of that micro-batch to work/nan_batch.json.
    """
    prepare()
    started = time.monotonic()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if job.training.batch_size % processes:
        raise UserError(f"training.batch_size: {job.training.batch_size} is not a multiple of {processes} processes")
    plan, n_parts = update_plan(job.examples, job.training, processes, job.seed, job.trees, job.packed_tokens)
    updates = math.ceil(len(plan) / n_parts)
    # Before the model: ZeRO-3 shards the weights while they are loaded, and learns that from these arguments.
    arguments = training_arguments(job, updates, n_parts // processes)
    settings = job.training.model_dump_json(exclude={"save_every", "report_to", "gpus", "threads", "loader_workers"})
    start, by_update = folders.fingerprint(job.start), examples_by_update(plan, n_parts)

    def identity(data: str) -> list[str]:
        return [start, data, job.loss, settings, str(job.seed)] + ["trees"] * job.trees

    ours = identity(digest(digests(job.examples), by_update))
    checkpoint = checkpoints.last_complete(
        Path(arguments.output_dir),
        ours,
        arguments,
        lambda: identity(digest_of_release_before(job.examples, by_update)),
    )
    folder = checkpoints.readable(checkpoint, arguments) if checkpoint else None
    processor = folders.load_processor(job.start)
    with Progress(job.title, updates, "updates") as progress:
        trainer = make_trainer(job, arguments, plan, processor, progress)
        if checkpoint and trainer.is_world_process_zero():
            changed = f": {checkpoint.processes} processes before, {processes} now"
            changed *= checkpoint.processes != processes
            log.info(f"{job.title}: resuming after update {checkpoint.update} of {updates}{changed}")
        if checkpoint and folder != checkpoint.folder:
            trainer.add_callback(checkpoints.repair_optimizer())
        with disk.filling(job.work / "checkpoints"):
            trainer.train(resume_from_checkpoint=str(folder) if folder else None)

    with disk.filling(out):
        _export(trainer, job, out)
        if trainer.is_world_process_zero():
            (out / "training_args.bin").unlink(missing_ok=True)  # a pickle of this machine's paths
            processor.save_pretrained(out)
    entries = trainer.state.log_history
    history = [{key: row[key] for key in ("step", "loss", "learning_rate")} for row in entries if "loss" in row]
    held_out = [{"step": row["step"], "loss": row["eval_loss"]} for row in entries if "eval_loss" in row]
    last = [row["loss"] for row in history[-max(1, len(history) // 10) :]]
    resumed = checkpoint.update if checkpoint else 0
    return TrainResult(updates, sum(last) / len(last), time.monotonic() - started, resumed, history, held_out)


def _export(trainer: Any, job: TrainJob, out: Path) -> None:
    """Save the trained weights, or those of the best checkpoint, as a plain model."""
    if job.training.lora:
        # The trainer then holds, and saves, a plain model.
        trainer.model = trainer.model_wrapped = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
    if job.training.precision == "bf16" and not job.training.deepspeed:
        import torch

        trainer.model.to(torch.bfloat16)
    best = trainer.state.best_model_checkpoint if job.keeps_best else None
    if job.training.deepspeed and job.training.lora:
        if trainer.is_world_process_zero():  # Trainer would ask DeepSpeed, which still holds the adapters
            trainer.model.save_pretrained(out)
    elif job.training.deepspeed and best:
        # ZeRO could load it into its shards only if as many processes had written it as there are now.
        if trainer.is_world_process_zero():
            checkpoints.copy_model(Path(best), out)
    else:
        trainer.save_model(str(out))
