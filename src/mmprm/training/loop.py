"""The training loop that the policy and the PRM share: Trainer, the two losses, checkpoints. In: a Job. Out: weights.

Both losses are means over everything that is labelled in an update, over all micro-batches and devices: not a mean of
the micro-batches' means, which would weigh a token by how few others share its micro-batch.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmprm import models, tables
from mmprm.compat import prepare
from mmprm.config import Training
from mmprm.errors import UserError
from mmprm.solution import NO, YES, control_ids
from mmprm.training import checkpoints, data, packing
from mmprm.training.progress import Progress, quiet
from mmprm.training.tree_batches import TreeCollator

_VISION = ("vision_tower", "visual", "vision_model", "vision_encoder")


@dataclass(frozen=True)
class Job:
    """One training run; it can be pickled, to be run by other processes."""

    title: str
    start: Path  # model folder that it starts from
    examples: Sequence[data.Example]
    loss: Literal["tokens", "markers"]
    training: Training
    seed: int
    work: Path  # checkpoints go to work/checkpoints
    trees: bool = False  # a problem's sequences as one prefix tree (packing); for markers alone


@dataclass(frozen=True)
class Outcome:
    """What became of it. `loss` is the mean of the last tenth of the updates; `seconds` are this process's."""

    steps: int
    loss: float
    seconds: float
    resumed_from: int
    history: list[dict[str, float]]


def token_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """Cross-entropy of the next token, summed over labelled positions, over the number of them in the whole update.

    outputs.logits: (batch, kept, vocabulary) at the positions `data.kept_positions(labels)`; labels: (batch, length).
    """
    import torch.nn.functional as F

    targets = labels[:, data.kept_positions(labels)]
    logits = outputs.logits.float().flatten(0, 1)
    total = F.cross_entropy(logits, targets.flatten(), ignore_index=int(data.IGNORE), reduction="sum")
    return total / (num_items_in_batch if num_items_in_batch is not None else (targets != data.IGNORE).sum())


def marker_loss(no: int, yes: int) -> Callable[..., Any]:
    """Cross-entropy of softmax over the logits [no, yes] at each marker against its label, P(yes), soft or hard."""

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        targets = labels[:, data.kept_positions(labels)]
        known = targets != data.IGNORE
        log_p = outputs.logits[..., [no, yes]].float().log_softmax(dim=-1)[known]
        targets = targets[known]
        total = -(targets * log_p[:, 1] + (1 - targets) * log_p[:, 0]).sum()
        return total / (num_items_in_batch if num_items_in_batch is not None else known.sum())

    return loss


def freeze_vision(model: Any) -> None:
    """Switch off the gradients of the vision encoder; the projector after it goes on learning."""
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in _VISION:
            module.requires_grad_(False)
            return
    raise UserError(f"{type(model).__name__} has no vision encoder by a known name: set training.freeze_vision: false")


def fit(job: Job, out: Path) -> Outcome:
    """Train from job.start (or the last whole checkpoint of the very same job), and save model and processor to `out`.

    Raises UserError when the loss is not finite, after writing the problems of that micro-batch to work/nan_batch.json.
    """
    prepare()
    quiet()
    begun = time.monotonic()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if job.training.batch_size % processes:
        raise UserError(f"training.batch_size: {job.training.batch_size} is no multiple of {processes} processes")
    micro_batches = data.micro_batches_an_update(job.training.batch_size, job.training.micro_batch_size, processes)
    plan = data.update_plan(
        [example.length for example in job.examples],
        job.training.batch_size,
        micro_batches,
        job.training.epochs,
        job.seed,
        job.training.max_steps,
        [example.problem_id for example in job.examples] if job.trees else None,
    )
    updates = math.ceil(len(plan) / micro_batches)
    # Before the model: ZeRO-3 shards the weights while they load, and learns that from these arguments.
    arguments = training_arguments(job, updates, micro_batches // processes)
    # save_every decides nothing; DeepSpeed cannot resume on another number of processes.
    settings = job.training.model_dump_json(exclude={"save_every"})
    content = data.digest(job.examples, plan)
    same = [models.fingerprint(job.start), content, job.loss, settings, str(job.seed), str(processes)]
    same += ["trees"] if job.trees else []
    checkpoint = checkpoints.last_whole(Path(arguments.output_dir), same, arguments)
    processor = models.load_processor(job.start)
    trainer = make_trainer(job, arguments, plan, processor)
    resumed = int(checkpoint.name.split("-")[1]) if checkpoint else 0
    if checkpoint and trainer.is_world_process_zero():
        trainer.report.say(f"resuming after update {resumed} of {updates}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    if job.training.precision == "bf16" and not job.training.deepspeed:
        import torch

        trainer.model.to(torch.bfloat16)
    trainer.save_model(str(out))
    history = [
        {"step": row["step"], "loss": row["loss"], "learning_rate": row["learning_rate"]}
        for row in trainer.state.log_history
        if "loss" in row
    ]
    if trainer.is_world_process_zero():
        (out / "training_args.bin").unlink(missing_ok=True)  # a pickle of this machine's paths
        processor.save_pretrained(out)
    last = [row["loss"] for row in history[-max(1, len(history) // 10) :]]
    return Outcome(updates, sum(last) / len(last), time.monotonic() - begun, resumed, history)


def training_arguments(job: Job, updates: int, accumulation: int) -> Any:
    """Trainer's arguments. A dataset item is a whole micro-batch already, hence a batch size of 1 an item."""
    import torch
    from transformers import TrainingArguments

    training = job.training
    on_cpu = not torch.cuda.is_available()
    if training.deepspeed == "zero3" and on_cpu:
        import deepspeed

        deepspeed.init_distributed(dist_backend="gloo")
    arguments = TrainingArguments(
        output_dir=str(job.work / "checkpoints"),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=1,  # the plan holds all epochs
        learning_rate=training.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(training.warmup_share * updates),
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        bf16=training.precision == "bf16",
        gradient_checkpointing=training.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if training.gradient_checkpointing else None,
        save_strategy="steps",
        save_steps=training.save_every,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=max(1, updates // 200),
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        dataloader_pin_memory=not on_cpu,
        use_cpu=on_cpu,
        seed=job.seed,
        deepspeed=deepspeed_settings(training) if training.deepspeed else None,
    )
    if not training.deepspeed and arguments.n_gpu > 1:
        arguments._n_gpu = 1  # DataParallel would cut our micro-batches apart; several devices go through DeepSpeed
    return arguments


def deepspeed_settings(training: Training) -> dict[str, Any]:
    """DeepSpeed's JSON. No optimizer in it: Trainer's AdamW is sharded as it is, and nothing has to be compiled."""
    return {
        "zero_optimization": {
            "stage": int(str(training.deepspeed)[-1]),
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "bf16": {"enabled": training.precision == "bf16"},
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
    }


def make_trainer(job: Job, arguments: Any, plan: list[list[int]], processor: Any) -> Any:
    """The Trainer of a job, with its model loaded."""
    from transformers import Trainer
    from transformers.trainer_callback import PrinterCallback

    # DeepSpeed keeps the float32 master weights itself; without it the weights are the master copy.
    sharded_bf16 = job.training.deepspeed and job.training.precision == "bf16"
    model = models.load_model(job.start, "bfloat16" if sharded_bf16 else "float32")
    if job.trees and not packing.packs(model):
        raise UserError(
            f"prm.packing: trees cannot be had with a {type(model).__name__}, whose positions have several "
            "dimensions; set it to paths"
        )
    if job.training.freeze_vision:
        freeze_vision(model)
    ids = control_ids(processor.tokenizer)
    report = Progress(job.title)
    collator = (
        TreeCollator(processor) if job.trees else data.Collator(processor, shift=1 if job.loss == "tokens" else 0)
    )

    class _Trainer(Trainer):
        """Trainer that stops at a loss that is not finite, and resumes from the weights that were saved."""

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            rows = inputs.pop("examples").tolist()
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            if not math.isfinite(float(loss.detach())):
                path = job.work / "nan_batch.json"
                ids = [job.examples[row].problem_id for row in rows]
                tables.write_json(path, {"step": self.state.global_step + 1, "loss": str(loss), "problem_ids": ids})
                raise UserError(
                    f"{job.title}: the loss is {float(loss.detach())} at update {self.state.global_step + 1}; the "
                    f"problems of that batch are in {path}. Lower the learning rate, or look at these rows"
                )
            return loss

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            # Trainer puts the file's tensors in by name, and only warns of names that it does not know. In some
            # families they differ from the model's: it would go on from other weights. from_pretrained maps them.
            saved = models.load_model(Path(resume_from_checkpoint), "auto")
            self.model.load_state_dict(saved.state_dict())

    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=data.MicroBatches(job.examples, plan),
        data_collator=collator,
        compute_loss_func=token_loss if job.loss == "tokens" else marker_loss(ids[NO], ids[YES]),
        callbacks=[report.callback(), checkpoints.mark_complete()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.report = report
    return trainer
