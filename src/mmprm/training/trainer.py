"""Hugging Face's Trainer for a job: model, micro-batches, loss and callbacks. In: a TrainJob. Out: a Trainer."""

import functools
import math
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmprm.config.training import Lora
from mmprm.data import tables
from mmprm.model import folders
from mmprm.model.output_rows import train_exactly
from mmprm.model.step_text import MARKER, NO, TAGS, YES, control_ids, token_id
from mmprm.prefix_trees import attention, packing
from mmprm.runtime.errors import UserError
from mmprm.runtime.progress import Progress, duration
from mmprm.training import checkpoints
from mmprm.training.batches import MicroBatches, PackedCollator, PaddedCollator, TreeCollator
from mmprm.training.example_store import ExampleIndex
from mmprm.training.examples import Example
from mmprm.training.job import TrainJob
from mmprm.training.losses import counts_loss, marker_loss, token_loss
from mmprm.training.reading import load_in_turn

_VISION = ("vision_tower", "visual", "vision_model", "vision_encoder")
_LAYERS = re.compile(r"(^|\.)(language_model|text_model|model)\..*\b(q|k|v|o|qkv|gate|up|down|gate_up)_proj$")


def make_trainer(
    job: TrainJob, arguments: Any, plan: Sequence[Sequence[int]], processor: Any, progress: Progress
) -> Any:
    """Load the job's model, and return its Trainer. `plan`: the micro-batches, see `update_plan`."""
    from transformers import set_seed
    from transformers.trainer_callback import PrinterCallback

    set_seed(job.seed)  # Trainer seeds itself only when it is constructed, after adapters have been drawn
    model = _load_model(job, processor.tokenizer)
    loss, collate = _loss_and_collator(job, processor, model)
    if job.loss != "tokens" and job.training.precision == "bf16":
        train_exactly(model, _marker_tokens(job, processor.tokenizer))
    trainer = _trainer_class(job, loss, collate)(
        model=model,
        args=arguments,
        train_dataset=MicroBatches(job.examples, plan),
        data_collator=collate,
        compute_loss_func=loss,
        eval_dataset=job.held_out if job.keeps_best else None,
        callbacks=[_report_updates(progress), checkpoints.mark_complete()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _report_updates(progress: Progress) -> Any:
    """Return the Trainer callback that reports loss, rate and time left."""
    from transformers import TrainerCallback

    class _Report(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.started, self.first = time.monotonic(), state.global_step

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if state.is_world_process_zero and "loss" in (logs or {}):
                rate = (state.global_step - self.first) / max(time.monotonic() - self.started, 1e-9)
                left = duration((state.max_steps - state.global_step) / rate) if rate else "unknown time"
                progress.update(state.global_step, f"loss {logs['loss']:.4f}, {rate:.2f} updates/s, {left} left")

    return _Report()


def _load_model(job: TrainJob, tokenizer: Any) -> Any:
    """Load the model, with its attention, frozen parts and adapters set up as the job requires."""
    # DeepSpeed keeps the float32 master weights itself; without it the weights are the master copy.
    sharded_bf16 = job.training.deepspeed and job.training.precision == "bf16"
    model = load_in_turn(job.start, "bfloat16" if sharded_bf16 else "float32", job.training.deepspeed)
    if job.trees or job.packed_tokens:
        if not packing.supports(model):
            key, instead = ("prm.packing: trees", "paths") if job.trees else ("policy.packed_tokens", "null")
            why = "unknown position scheme, or a layer with a sliding window"
            raise UserError(f"{key} is not supported for {type(model).__name__}: {why}; set it to {instead}")
        attention.install(model)
    if job.training.freeze_vision and folders.reads_images(job.start):
        freeze_vision(model)
    return add_adapters(model, tokenizer, job.training.lora) if job.training.lora else model


def add_adapters(model: Any, tokenizer: Any, lora: Lora) -> Any:
    """Return the model with LoRA on every matrix of the language model; only that and the tags' embeddings are trained.

    The tags are new to a base model: with adapters alone their embeddings would stay at their initial values, and so
    would their rows of an output layer that is not tied to the embeddings. Raises UserError if no matrix of the
    language model has a known name.
    """
    from peft import LoraConfig, get_peft_model

    names = [name for name, _ in model.named_modules()]
    matrices = [name for name in names if _LAYERS.search(name) and not re.search("vision|visual", name)]
    if not matrices:
        raise UserError(f"{type(model).__name__}: no matrix of its language model has a known name; set lora to null")
    tags = [token_id(tokenizer, tag) for tag in TAGS]
    head = model.get_output_embeddings()
    untied = head is not None and head.weight is not model.get_input_embeddings().weight
    trained = ["embed_tokens", *(name for name, module in model.named_modules() if untied and module is head)]
    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=matrices,
        trainable_token_indices=dict.fromkeys(trained, tags),
    )
    return get_peft_model(model, settings)


def freeze_vision(model: Any) -> None:
    """Switch off the gradients of the vision encoder; the projector after it is still trained."""
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in _VISION:
            module.requires_grad_(False)
            return
    raise UserError(f"{type(model).__name__} has no vision encoder of a known name: set training.freeze_vision: false")


def _loss_and_collator(job: TrainJob, processor: Any, model: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    loss: Callable[..., Any] = token_loss
    if job.loss != "tokens":
        loss = (marker_loss if job.loss == "markers" else counts_loss)(*_marker_tokens(job, processor.tokenizer))
    if job.trees:
        return loss, TreeCollator(processor, model, folders.device())
    if job.packed_tokens:
        return loss, PackedCollator(processor, model, folders.device())
    return loss, PaddedCollator(processor, shift=1 if job.loss == "tokens" else 0)


def _marker_tokens(job: TrainJob, tokenizer: Any) -> list[int]:
    """Return the tokens whose logits a PRM's loss reads at a marker: No, Yes, and for counts the marker itself."""
    ids = control_ids(tokenizer)
    return [ids[NO], ids[YES], *([ids[MARKER]] if job.loss == "counts" else [])]


def _require_finite(job: TrainJob, loss: float, update: int, examples: Sequence[Example], rows: list[int]) -> None:
    """Raise UserError if the loss is not finite, after writing the problems of the rows to work/nan_batch.json."""
    if math.isfinite(loss):
        return
    path = job.work / "nan_batch.json"
    problem_ids = [examples[row].problem_id for row in rows]
    tables.write_json(path, {"step": update, "loss": str(loss), "problem_ids": problem_ids})
    raise UserError(
        f"{job.title}: the loss is {loss} at update {update}; the problems of that batch are in {path}. Lower the "
        "learning rate, or inspect these rows"
    )


def _trainer_class(job: TrainJob, loss: Callable[..., Any], collate: Callable[..., dict[str, Any]]) -> Any:
    """Make the subclass of Trainer (in a function, as transformers is imported late)."""
    from transformers import Trainer

    n_held_out = max(1, sum(ExampleIndex.of(job.held_out).n_labels))

    def split_batch(inputs: Any) -> tuple[list[int], Callable[..., Any]]:
        """Take out what is not the model's input: return the examples' indices, and the loss with its trials."""
        rows, trials = inputs.pop("examples").tolist(), inputs.pop("trials", None)
        return rows, loss if trials is None else functools.partial(loss, trials=trials)

    class _Trainer(Trainer):  # type: ignore[misc]
        """Trainer that requires a finite loss, resumes from the saved weights, and averages over held-out labels."""

        control: Any  # Trainer's own: what to do after this step

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            rows, self.compute_loss_func = split_batch(inputs)
            value = super().compute_loss(model, inputs, *args, **kwargs)
            update = self.state.global_step + 1
            _require_finite(job, float(value.detach()), update, job.examples, rows)
            return value

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            # Trainer loads a file's tensors by name, and only warns about unknown names. In some model families they
            # differ from the model's, and it would continue from other weights; from_pretrained maps them.
            if job.training.lora:
                super()._load_from_checkpoint(resume_from_checkpoint, model)
            else:
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
                for batch in job.held_out_batches():
                    inputs = self._prepare_inputs(collate([batch]))
                    rows, batch_loss = split_batch(inputs)
                    labels = inputs.pop("labels")
                    value = float(batch_loss(self.model_wrapped(**inputs), labels, num_items_in_batch=n_held_out))
                    _require_finite(job, value, self.state.global_step, job.held_out, rows)
                    total += value
            self.model_wrapped.train()
            metrics = {"eval_loss": total}
            self.log(dict(metrics))
            # Trainer's own evaluate ends like this; without it the last update would be evaluated twice.
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
            return metrics

    return _Trainer
