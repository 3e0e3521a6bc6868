"""The configuration of a training run, of the policy or of a PRM. In and out: pydantic models.

Part of `config`, which is the one place that loads them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mmprm.config.section import Section, Share

Packing = Literal["paths", "trees"]


class Lora(Section):
    """Low-rank adapters in the language model's matrices; they are merged into the weights on export."""

    rank: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0, description="an adapter's output is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1)


class Training(Section):
    """One training run, of the policy or of a PRM."""

    learning_rate: float = Field(gt=0)
    batch_size: int = Field(128, ge=1, description="sequences an update, over all devices")
    batch_labels: int | None = Field(
        None, ge=1, description="labelled steps (of a PRM) or tokens (of the policy) an update, in place of batch_size"
    )
    micro_batch_size: int = Field(8, ge=1, description="sequences a forward pass on one device")
    epochs: float = Field(1, gt=0)
    max_steps: int | None = Field(None, ge=1, description="stop after this many updates")
    weight_decay: float = Field(0.05, ge=0)
    warmup_share: Share = 0.03
    max_grad_norm: float = Field(1.0, gt=0)
    max_length: int = Field(
        8192, ge=16, description="tokens; longer solutions are cut at a step, longer prompts refused"
    )
    freeze_vision: bool = True
    precision: Literal["fp32", "bf16"] = "bf16"
    gradient_checkpointing: bool = False
    save_every: int = Field(200, ge=1, description="updates between checkpoints")
    deepspeed: Literal["zero1", "zero2", "zero3"] | None = Field(
        None, description="launch through torchrun + DeepSpeed"
    )
    gpus: int = Field(
        1, ge=0, description="GPUs on one machine that a training waits for; more than one need deepspeed. No result"
    )
    lora: Lora | None = Field(None, description="train adapters alone; null trains all weights")
    keep_best: bool = Field(
        False, description="of a PRM: export the checkpoint with the lowest loss on held-out problems, not the last"
    )
    report_to: list[str] = Field([], description="trackers as Trainer names them, such as tensorboard")

    @model_validator(mode="after")
    def _parts_go_together(self) -> Training:
        if self.gpus > 1 and not self.deepspeed:
            raise ValueError("gpus: more than one need deepspeed: zero1, zero2 or zero3; set it, or gpus to 1")
        if self.lora and self.deepspeed == "zero3":
            raise ValueError("lora: adapters cannot be merged from ZeRO-3's shards; set deepspeed to zero2 or zero1")
        if self.lora and not self.freeze_vision:
            raise ValueError(
                "lora: adapters stand in the language model alone; set freeze_vision to true, or lora to null"
            )
        return self
