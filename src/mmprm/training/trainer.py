"""Hugging Face's Trainer for a job: model, micro-batches, loss, and what it does besides. In: a Job. Out: a Trainer."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmprm.data import tables
from mmprm.model import folders
from mmprm.model.step_text import MARKER, NO, YES, control_ids
from mmprm.prefix_trees import attention, packing
from mmprm.runtime.errors import UserError
from mmprm.training import adapters, checkpoints, data
from mmprm.training.job import TrainJob, held_out_batches, keeps_best
from mmprm.training.losses import counts_loss, marker_loss, token_loss
from mmprm.training.packed_batches import PackedCollator
from mmprm.training.progress import Progress
from mmprm.training.store import ExampleIndex
from mmprm.training.tree_batches import TreeCollator

_VISION = ("vision_tower", "visual", "vision_model", "vision_encoder")


def freeze_vision(model: Any) -> None:
    """Switch off the gradients of the vision encoder; the projector after it goes on learning."""
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in _VISION:
            module.requires_grad_(False)
            return
    raise UserError(f"{type(model).__name__} has no vision encoder by a known name: set training.freeze_vision: false")


def _collator(job: TrainJob, processor: Any, model: Any) -> Callable[..., dict[str, Any]]:
    if job.trees:
        return TreeCollator(processor, model, folders.device())
    if job.packed_tokens:
        return PackedCollator(processor, model, folders.device())
    return data.Collator(processor, shift=1 if job.loss == "tokens" else 0)


def _stop_unless_finite(job: TrainJob, loss: float, update: int, batch: Sequence[data.Example]) -> None:
    """UserError where the loss is no number, after writing the batch's problems to work/nan_batch.json."""
    if math.isfinite(loss):
        return
    path = job.work / "nan_batch.json"
    tables.write_json(path, {"step": update, "loss": str(loss), "problem_ids": [row.problem_id for row in batch]})
    raise UserError(
        f"{job.title}: the loss is {loss} at update {update}; the problems of that batch are in {path}. Lower the "
        "learning rate, or look at these rows"
    )


def make_trainer(job: TrainJob, arguments: Any, plan: list[list[int]], processor: Any) -> Any:
    """The Trainer of a job, with its model loaded."""
    from transformers import Trainer, set_seed
    from transformers.trainer_callback import PrinterCallback

    set_seed(
        job.seed
    )  # Trainer seeds when it is made: what is drawn for the model before, as adapters are, hangs on it too
    # DeepSpeed keeps the float32 master weights itself; without it the weights are the master copy.
    sharded_bf16 = job.training.deepspeed and job.training.precision == "bf16"
    model = folders.load_model(job.start, "bfloat16" if sharded_bf16 else "float32")
    if job.trees or job.packed_tokens:
        if not packing.packs(model):
            key, instead = ("prm.packing: trees", "paths") if job.trees else ("policy.packed_tokens", "null")
            raise UserError(
                f"{key} cannot be had with a {type(model).__name__}: how it counts positions is not known here, or a "
                f"layer sees only a window; set it to {instead}"
            )
        attention.install(model)
    if job.training.freeze_vision:
        freeze_vision(model)
    if job.training.lora:
        model = adapters.add(model, processor.tokenizer, job.training.lora)
    ids = control_ids(processor.tokenizer)
    report = Progress(job.title)
    collator = _collator(job, processor, model)

    loss_of: Callable[..., Any] = {
        "tokens": token_loss,
        "markers": marker_loss(ids[NO], ids[YES]),
        "counts": counts_loss(ids[NO], ids[YES], ids[MARKER]),
    }[job.loss]
    n_held_out = max(1, sum(ExampleIndex.of(job.held_out).n_labels))

    def taken(inputs: Any) -> tuple[list[int], Callable[..., Any]]:
        """Takes out of a batch what is not the model's: its examples' indices; the loss, with the trials it needs."""
        rows, trials = inputs.pop("examples").tolist(), inputs.pop("trials", None)
        return rows, loss_of if trials is None else functools.partial(loss_of, trials=trials)

    class _Trainer(Trainer):
        """Trainer that stops at a loss that is not finite, resumes from the weights that were saved, and judges by
        the mean over all held-out labels."""

        control: Any  # Trainer's: what is to be done after this step

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            rows, self.compute_loss_func = taken(inputs)
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            _stop_unless_finite(
                job, float(loss.detach()), self.state.global_step + 1, [job.examples[row] for row in rows]
            )
            return loss

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            # Trainer puts the file's tensors in by name, and only warns of names that it does not know. In some
            # families they differ from the model's: it would go on from other weights. from_pretrained maps them.
            if job.training.lora:
                super()._load_from_checkpoint(resume_from_checkpoint, model)
                return
            saved = folders.load_model(Path(resume_from_checkpoint), "auto")
            self.model.load_state_dict(saved.state_dict())

        def _load_best_model(self) -> None:
            if not self.is_deepspeed_enabled or job.training.lora:  # else loop.fit copies its files
                self._load_from_checkpoint(self.state.best_model_checkpoint)

        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            import torch

            # Every process reads all of it: held-out problems are few, and ZeRO-3 needs all processes in each pass.
            self.model_wrapped.eval()
            total = 0.0
            with torch.no_grad():
                for item in held_out_batches(job):
                    inputs = self._prepare_inputs(collator([item]))
                    _, loss_of_batch = taken(inputs)
                    labels = inputs.pop("labels")
                    loss = float(loss_of_batch(self.model_wrapped(**inputs), labels, num_items_in_batch=n_held_out))
                    _stop_unless_finite(job, loss, self.state.global_step, [example for _, example in item])
                    total += loss
            self.model_wrapped.train()
            metrics = {"eval_loss": total}
            self.log(dict(metrics))
            # What Trainer's own evaluate ends with; without it the last update would be judged twice.
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
            return metrics

    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=data.MicroBatches(job.examples, plan),
        data_collator=collator,
        compute_loss_func=loss_of,
        eval_dataset=job.held_out if keeps_best(job) else None,
        callbacks=[report.callback(), checkpoints.mark_complete()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.report = report
    return trainer
