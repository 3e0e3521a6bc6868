"""The description of a training run, and its settings as Trainer's and DeepSpeed's arguments."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmprm.config.training import Training
from mmprm.model import folders
from mmprm.training.example_store import ExampleIndex
from mmprm.training.examples import Example


@dataclass(frozen=True)
class TrainJob:
    """One training run; it can be pickled for other processes to run."""

    title: str
    start: Path  # the model folder to start from
    examples: Sequence[Example]
    loss: Literal["tokens", "markers", "counts"]
    training: Training
    seed: int
    work: Path  # checkpoints go to work/checkpoints
    trees: bool = False  # lay a problem's examples out as one prefix tree; only for a loss at markers
    held_out: Sequence[Example] = ()  # what training.keep_best compares checkpoints on
    packed_tokens: int | None = None  # pack examples one after another up to this many tokens; None: padded, or trees

    @property
    def keeps_best(self) -> bool:
        """Whether the best checkpoint is exported, not the last: requested, and there are held-out examples."""
        return self.training.keep_best and bool(self.held_out)

    def held_out_batches(self) -> Iterator[list[tuple[int, Example]]]:
        """Yield the held-out examples with their indices in micro-batches, ordered by problem."""
        problem_ids = ExampleIndex.of(self.held_out).problem_ids
        order = sorted(range(len(problem_ids)), key=lambda index: (problem_ids[index], index))
        size = self.training.micro_batch_size
        for start in range(0, len(order), size):
            yield [(index, self.held_out[index]) for index in order[start : start + size]]


def training_arguments(job: TrainJob, updates: int, accumulation: int) -> Any:
    """Return Trainer's arguments. A dataset item is a micro-batch already, hence a batch size of 1."""
    from transformers import TrainingArguments

    training = job.training
    on_cpu = folders.device() == "cpu"
    if training.deepspeed and on_cpu:
        import deepspeed

        # Else its first start compiles, for minutes, an all-reduce that inference alone calls.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        if training.deepspeed == "zero3":
            deepspeed.init_distributed(dist_backend="gloo")
    if "tensorboard" in training.report_to:  # the default is below the checkpoints, which are deleted at the end
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(job.work / "tensorboard"))
    evaluation: dict[str, Any] = {}
    if job.keeps_best:
        evaluation = {"eval_strategy": "steps", "eval_steps": training.save_every, "load_best_model_at_end": True}
        evaluation |= {"metric_for_best_model": "eval_loss", "greater_is_better": False}
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
        report_to=list(training.report_to) or "none",
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        dataloader_pin_memory=not on_cpu,
        dataloader_num_workers=_loader_workers(training, on_cpu),
        use_cpu=on_cpu,
        seed=job.seed,
        deepspeed=deepspeed_settings(training) if training.deepspeed else None,
        **evaluation,
    )
    if not training.deepspeed and arguments.n_gpu > 1:
        arguments._n_gpu = 1  # DataParallel would split our micro-batches; several devices need DeepSpeed
    return arguments


def _loader_workers(training: Training, on_cpu: bool) -> int:
    """Return how many processes make batches ahead of this one; on the CPU they would take its cores."""
    if training.loader_workers is not None:
        return training.loader_workers
    here = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return 0 if on_cpu else min(4, len(os.sched_getaffinity(0)) // here)


def deepspeed_settings(training: Training) -> dict[str, Any]:
    """Return DeepSpeed's JSON. It names no optimizer: Trainer's AdamW is sharded as is, and nothing is compiled."""
    return {
        "zero_optimization": {
            "stage": int(str(training.deepspeed)[-1]),
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "bf16": {"enabled": training.precision == "bf16"},
        # DeepSpeed sums an update's micro-batches in the gradients' own precision unless it is told another.
        "data_types": {"grad_accum_dtype": "fp32"},
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
    }
