"""The trainings of a run, and how long their sequences are. In: the configuration and the base. Out: TrainingJob."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from mmprm.config import Config, Training
from mmprm.preflight.memory import Layout
from mmprm.preflight.shape import BaseShape

_MARKERS = 64  # steps of a path, at most: annotation.max_steps


@dataclass(frozen=True)
class TrainingJob:
    """A training: the key of its settings, and what one forward pass of it holds at most."""

    stage: str
    key: str
    variant: str | None
    training: Training
    packed: int | None
    times: int = 1  # so many of them are run, one after the other or side by side

    @property
    def processes(self) -> int:
        """Over how many devices ZeRO shards."""
        return max(1, self.training.gpus) if self.training.deepspeed else 1

    def layout(self, config: Config, image_tokens: int, training: Training | None = None) -> Layout:
        """Return the largest forward pass. training: settings in place of the job's own."""
        settings = training or self.training
        longest = settings.max_length
        tokens = max(self.packed, longest) if self.packed else longest * settings.micro_batch_size
        sequences = math.ceil(tokens / longest) if self.packed else settings.micro_batch_size
        images = math.ceil(max(1.0, config.expected.images) * sequences) if image_tokens else 0
        if self.stage == "prm":
            return Layout(tokens, images, image_tokens, min(tokens, _MARKERS * sequences))
        # The policy's labels are the solutions: what images and questions leave of a sequence.
        prompts = sequences * min(image_tokens * math.ceil(config.expected.images), longest // 2)
        return Layout(tokens, images, image_tokens, tokens - prompts)


def trainings(config: Config) -> Iterator[TrainingJob]:
    """Yield the policy's training and those of the PRM variants."""
    yield TrainingJob("policy", "policy.training", None, config.policy.training, config.policy.packed_tokens)
    for name in config.prm.trained:
        variant = config.prm.variants[name]
        own = bool(
            variant.overrides.keys() & {"micro_batch_size", "max_length", "deepspeed", "gpus", "precision", "lora"}
        )
        key = f"prm.variants.{name}" if own else "prm.training"
        yield TrainingJob("prm", key, name, config.prm.training_of(name), None, config.prm.replicates)


def longest_prompt(config: Config, shape: BaseShape, image_tokens: int, images: int) -> int:
    """Return the tokens of a long prompt: its images and the most of a question that is expected."""
    return images * image_tokens + math.ceil(config.expected.question_tokens[1]) + 32  # the chat's own marks
