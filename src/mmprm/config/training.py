"""Training of the policy and of PRMs, and the PRMs' variants. In: YAML values. Out: sections."""

import hashlib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from mmprm.config.external import External
from mmprm.config.section import NO_RESULT, Name, Section, Share

Packing = Literal["paths", "trees"]
_AGAIN = "@"  # no name of a user's has it: see mmprm.config.section.Name


class Lora(Section):
    """Low-rank adapters in the language model's matrices; they are merged into the weights on export."""

    rank: int = Field(16, ge=1, description="rank of each adapter")
    alpha: float = Field(32, gt=0, description="an adapter's output is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="of an adapter's inputs")


class TrainingOptions(Section):
    """Options of a training run, which a variant may override one by one."""

    learning_rate: float | None = Field(None, gt=0, description="at its peak, after the warm-up")
    batch_size: int = Field(128, ge=1, description="sequences an update, over all devices")
    batch_labels: int | None = Field(
        None, ge=1, description="labelled steps (of a PRM) or tokens (of the policy) an update, in place of batch_size"
    )
    micro_batch_size: int = Field(
        8, ge=1, description="sequences a forward pass on one device", json_schema_extra=NO_RESULT
    )
    epochs: float | None = Field(None, gt=0, description="passes over the examples")
    max_steps: int | None = Field(None, ge=1, description="stop after this many updates; null: after all epochs")
    weight_decay: float = Field(0.05, ge=0, description="of AdamW")
    warmup_share: Share = Field(0.03, description="share of the updates in which the learning rate rises from 0")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients of a larger norm are scaled down to it")
    max_length: int = Field(8192, ge=16, description="tokens; longer solutions are cut at a step, prompts refused")
    freeze_vision: bool = Field(True, description="train the language model alone")
    precision: Literal["fp32", "bf16"] = Field("bf16", description="of weights and arithmetic")
    gradient_checkpointing: bool = Field(
        False, description="recompute activations, which saves memory", json_schema_extra=NO_RESULT
    )
    save_every: int = Field(200, ge=1, description="updates between checkpoints", json_schema_extra=NO_RESULT)
    deepspeed: Literal["zero1", "zero2", "zero3"] | None = Field(
        None, description="launch through torchrun and DeepSpeed, with this ZeRO stage", json_schema_extra=NO_RESULT
    )
    gpus: int = Field(
        1,
        ge=0,
        description="GPUs on one machine that a training waits for; more than one need deepspeed",
        json_schema_extra=NO_RESULT,
    )
    threads: int = Field(8, ge=1, description="CPU threads; at most --cores of them", json_schema_extra=NO_RESULT)
    loader_workers: int | None = Field(
        None,
        ge=0,
        description="processes a device that read examples and make image tiles ahead of it; null: 4 with a GPU (fewer "
        "where there are fewer cores), 0 without one: the training itself does it",
        json_schema_extra=NO_RESULT,
    )
    lora: Lora | None = Field(None, description="train adapters alone; null trains all weights")
    keep_best: bool = Field(
        False, description="of a PRM: export the checkpoint with the lowest loss on held-out problems, not the last"
    )
    report_to: list[str] = Field(
        [], description="trackers as Trainer names them, such as tensorboard", json_schema_extra=NO_RESULT
    )


class Training(TrainingOptions):
    """One training run, of the policy or of a PRM."""

    learning_rate: float = Field(gt=0, description="at its peak, after the warm-up")
    epochs: float = Field(1, gt=0, description="passes over the examples")

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        if self.gpus > 1 and not self.deepspeed:
            raise ValueError(f"gpus: {self.gpus} need deepspeed: zero1, zero2 or zero3; set it, or gpus to 1")
        if self.lora and self.deepspeed == "zero3":
            raise ValueError("lora: adapters cannot be merged from ZeRO-3's shards; set deepspeed to zero2 or zero1")
        if self.lora and not self.freeze_vision:
            raise ValueError(
                "lora: adapters are in the language model alone; set freeze_vision to true, or lora to null"
            )
        return self


class Images(Section):
    """How large an image the policy and its PRMs see: in training, sampling and scoring alike."""

    max_pixels: int = Field(
        ge=1024,
        description="larger images are scaled down to this area, or cut into as many tiles as fit; Qwen-VL takes a "
        "token for 28 x 28 or 32 x 32 pixels, and by default up to 16,384 of them, which max_length would refuse",
    )


class Policy(Section):
    """Supervised fine-tuning of the base model on step-tagged solutions."""

    base: Path = Field(description="a local Hugging Face model folder")
    sources: list[Name] = Field(min_length=1, description="keys of sources that bring solutions")
    training: Training = Field(Training(learning_rate=4e-5), description="the training run")
    packed_tokens: int | None = Field(
        None,
        ge=16,
        description="lay solutions one after another, up to so many tokens (or the longest) a forward pass on one "
        "device, none seeing another, in place of padding training.micro_batch_size of them",
    )

    images: Images | None = Field(None, description="null: as the base model's processor says")

    @model_validator(mode="after")
    def _no_best_without_held_out_problems(self) -> Self:
        if self.training.keep_best:
            raise ValueError("training.keep_best: the policy has no held-out problems to judge by; set it to false")
        return self


class Variant(TrainingOptions):
    """A named PRM recipe. A key of `prm.training` that is given here overrides it (see Prm.training_of)."""

    label: Literal["soft", "hard", "counts", "outcome"] = Field(
        "soft",
        description="soft: MC values; hard: MC > 0; counts: Beta-Binomial, with a predicted concentration; "
        "outcome: verdicts of answers alone",
    )
    max_paths_per_problem: int | None = Field(None, ge=1, description="train on at most so many paths; null: on all")
    packing: Packing | None = Field(None, description="null: as prm.packing")
    label_set: Name | None = Field(None, description="train on this one of labels.sets; null: the run's labels")
    external: External | None = Field(
        None, description="a published PRM in place of a training: no other key goes with it"
    )

    @model_validator(mode="after")
    def _external_is_not_trained(self) -> Self:
        if self.external:  # a resolved configuration names keys that are as by default
            given = sorted(self.model_fields_set - {"external"})
            if others := [key for key in given if getattr(self, key) != type(self).model_fields[key].default]:
                raise ValueError(f"{others[0]}: an external PRM is not trained; remove the key")
        return self

    @property
    def overrides(self) -> dict[str, Any]:
        """What is given in place of prm.training; a learning rate or number of epochs that is null is not."""
        given = {name: getattr(self, name) for name in TrainingOptions.model_fields if name in self.model_fields_set}
        return {
            key: value for key, value in given.items() if key not in ("learning_rate", "epochs") or value is not None
        }

    @model_serializer(mode="wrap")
    def _options_if_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = dump(self)
        keys = ["label", "learning_rate", "epochs", "max_paths_per_problem", "packing", "label_set"]
        keys += [key for key in self.overrides if key not in keys]
        keys += ["external"] if self.external else []  # params of finished runs have no such key
        return {key: values[key] for key in keys if key in values}


def model_name(variant: str, replicate: int) -> str:
    """Name a training of a variant: the first by the variant itself, soft, the next ones soft@1, soft@2, …"""
    return f"{variant}{_AGAIN}{replicate}" if replicate else variant


def split_model(model: str) -> tuple[str, int]:
    """Return the variant that a model is a training of, and the number of that training, from 0."""
    variant, _, replicate = model.partition(_AGAIN)
    return variant, int(replicate or 0)


def training_seed(seed: int, replicate: int) -> int:
    """Return the seed of a training, below 2^32: the run's own for the first, and a hash of both for the next ones.

    So no training of a run has the draws of another run's, as it would have with seed + replicate.
    """
    if replicate == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"training/{seed}/{replicate}".encode()).digest()[:4], "big")


class Prm(Section):
    """PRM training, from the policy's weights."""

    training: Training = Field(Training(learning_rate=4e-6, batch_size=512), description="of all variants")
    marker_init: str = Field("?", description="text whose mean embedding the <prm> token starts from")
    packing: Packing = Field(
        "paths",
        description="trees: a problem's paths are one sequence, each shared token once, and whole problems a batch",
    )
    variants: dict[Name, Variant] = Field(
        default_factory=lambda: {"soft": Variant()}, min_length=1, description="PRMs to train, by name"
    )
    replicates: int = Field(
        1,
        ge=1,
        le=100,
        description="trainings of each variant on the same labels, which differ in the training's seed; with more than "
        "one, tables hold their mean, its interval over problems and trainings, and how far they are apart",
    )

    @property
    def measures(self) -> str:
        """The name of a variant's measures on a benchmark: of its one training, or over all of them."""
        return "metrics.json" if self.replicates == 1 else "trainings.json"

    def models_of(self, variant: str) -> list[str]:
        """Name the trainings of a variant; the first has its name."""
        times = 1 if self.variants[variant].external else self.replicates
        return [model_name(variant, replicate) for replicate in range(times)]

    @property
    def models(self) -> list[str]:
        """The names of all trainings, those of a variant together."""
        return [model for variant in self.variants for model in self.models_of(variant)]

    @property
    def trained(self) -> list[str]:
        """The variants that the run trains."""
        return [name for name, variant in self.variants.items() if variant.external is None]

    @property
    def trained_models(self) -> list[str]:
        """The names of all trainings, without published PRMs."""
        return [model for variant in self.trained for model in self.models_of(variant)]

    @property
    def step_models(self) -> list[str]:
        """The PRMs that can score any solution: not those whose scores are in a file."""
        files = {name for name, one in self.variants.items() if one.external and one.external.kind == "scores_file"}
        return [model for variant in self.variants if variant not in files for model in self.models_of(variant)]

    def recipe_of(self, model: str) -> Variant:
        """Return the variant that a model is a training of."""
        return self.variants[split_model(model)[0]]

    def training_of(self, model: str) -> Training:
        """Return `training` with the variant's overrides; pydantic's ValidationError where they do not go together."""
        return Training.model_validate(dict(self.training) | self.recipe_of(model).overrides)

    def packing_of(self, model: str) -> Packing:
        """Return the variant's packing, or else `packing`."""
        return self.recipe_of(model).packing or self.packing

    @model_validator(mode="after")
    def _variants_are_valid(self) -> Self:
        if not self.trained:
            raise ValueError("variants: all are external; a run trains at least one PRM")
        for name in self.variants:
            try:
                self.training_of(name)
            except ValidationError as error:
                raise ValueError(
                    f"variants.{name}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
                ) from error
        return self
