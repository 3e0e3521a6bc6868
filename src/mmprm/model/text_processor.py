"""A text-only model's tokenizer in the place of a processor. In: a tokenizer. Out: what a processor gives, for text."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class TextProcessor:
    """What the stages use of a processor, of a model that reads text alone; `Renderer` refuses problems with images."""

    reads_images = False

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @property
    def chat_template(self) -> Any:
        """The tokenizer's, in which a message is one string."""
        return self.tokenizer.chat_template

    def apply_chat_template(self, chat: list[dict[str, Any]], **options: Any) -> Any:
        """Render a chat whose messages are lists of parts, all of them text."""
        flat = [turn | {"content": "".join(part["text"] for part in turn["content"])} for turn in chat]
        return self.tokenizer.apply_chat_template(flat, **options)

    def __call__(self, text: list[str], images: None = None, text_kwargs: Any = None, **options: Any) -> Any:
        """Return the tokenizer's output, as a processor does for texts without images."""
        from transformers import BatchFeature

        return BatchFeature(dict(self.tokenizer(text, **(text_kwargs or {}), **options)))

    def save_pretrained(self, folder: Path) -> None:
        """Write the tokenizer's files."""
        self.tokenizer.save_pretrained(folder)
