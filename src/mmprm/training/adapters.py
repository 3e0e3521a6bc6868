"""Low-rank adapters (LoRA) for a training run, by peft. In: a model. Out: the same with adapters; and merged again.

Every matrix of the language model gets an adapter. The control tokens' embeddings are trained too: they are new to a
base model, and with adapters alone they would stay at their initial values.
"""

import re
from typing import Any

from mmprm.config.training import Lora
from mmprm.model.step_text import TAGS
from mmprm.runtime.errors import UserError

_LAYERS = re.compile(r"(^|\.)(language_model|text_model|model)\..*\b(q|k|v|o|qkv|gate|up|down|gate_up)_proj$")
_VISION = re.compile(r"vision|visual")


def add(model: Any, tokenizer: Any, lora: Lora) -> Any:
    """Return the model with adapters; only they and the tags' embeddings have gradients.

    Raises UserError if no matrix of the language model has a known name.
    """
    from peft import LoraConfig, get_peft_model

    matrices = [name for name, _ in model.named_modules() if _LAYERS.search(name) and not _VISION.search(name)]
    if not matrices:
        raise UserError(f"{type(model).__name__}: no matrix of its language model has a known name; set lora to null")
    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=matrices,
        trainable_token_indices={"embed_tokens": [tokenizer.convert_tokens_to_ids(tag) for tag in TAGS]},
    )
    return get_peft_model(model, settings)


def merge(trainer: Any) -> None:
    """Merge the adapters into the weights; the trainer then holds, and saves, a plain model."""
    trainer.model = trainer.model_wrapped = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
