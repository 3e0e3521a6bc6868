"""What vLLM is told to score with a PRM: its head and its pooling. In: a PRM folder. Out: vLLM's options.

vLLM cuts the head out of the output layer: the rows of No and Yes. The folder's config.json names it too, because a
vLLM that is started without these options would score with a head of random numbers, and say nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmprm.data import tables
from mmprm.model import folders
from mmprm.prm.step_scores import ScoredTokens
from mmprm.runtime.errors import UserError

# Families whose output layer is not in vLLM's language model, where it looks for the rows: it would read random ones.
_HEADLESS = ("idefics3", "smolvlm")
# Families whose image tokens see each other, which vLLM's attention on the CPU does not know.
BIDIRECTIONAL = ("gemma3",)
NO_METHOD = "use_transformers"  # which vLLM does not know, and so refuses to make a head


def headless(folder: Path) -> str | None:
    """Say why vLLM can score with this model on no machine; None if it can."""
    family = folders.model_type(folder)
    return f"vLLM does not find the output layer of {family}" if family in _HEADLESS else None


def unread(folder: Path) -> str | None:
    """Say why vLLM cannot score with this model on this machine; None if it can."""
    family = folders.model_type(folder)
    if family in BIDIRECTIONAL and folders.device() == "cpu":
        return f"vLLM on the CPU lets no image token of {family} see a later one, as the model does"
    return headless(folder)


def refused(folder: Path, tokens: ScoredTokens, tokenizer: Any) -> str | None:
    """Say why vLLM must be refused the folder on any machine, since it would read other rows; None if it need not."""
    try:
        tokens.pieces(tokenizer)
    except UserError as error:
        return str(error)
    return headless(folder)


def hf_overrides(folder: Path, tokens: ScoredTokens, tokenizer: Any) -> dict[str, Any]:
    """Return what vLLM changes of the folder's configuration. UserError if it cannot be told the tokens by name."""
    n_read = len(tokens.read)
    head = _head(folder, tokens, tokenizer) | {"num_labels": n_read}
    return {"num_labels": n_read, "text_config": head} if folders.reads_images(folder) else head


def pooler(tokens: ScoredTokens) -> dict[str, Any]:
    """Return vLLM's pooler configuration: scores at the markers alone."""
    return {"task": "token_classify", "tok_pooling_type": "STEP", "step_tag_id": tokens.marker}


def write(folder: Path, tokens: ScoredTokens, tokenizer: Any) -> None:
    """Name the head in the folder's config.json; for a model that vLLM cannot score with, one that vLLM refuses.

    transformers keeps these keys and does not look at them.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if refused(folder, tokens, tokenizer):
        head: dict[str, Any] = {"method": NO_METHOD, "classifier_from_token": []}
    else:
        head = _head(folder, tokens, tokenizer)
    if folders.reads_images(folder):
        config["text_config"] |= head
    else:
        config |= head
    tables.write_json(path, config)


def _head(folder: Path, tokens: ScoredTokens, tokenizer: Any) -> dict[str, Any]:
    # vLLM reads the tie from the language model's configuration, where the Qwen-VL families do not have it.
    return {
        "method": "no_post_processing",
        "classifier_from_token": tokens.pieces(tokenizer),
        "tie_word_embeddings": folders.ties_embeddings(folder),
    }
