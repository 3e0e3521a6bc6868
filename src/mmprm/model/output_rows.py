"""A model's output layer, reduced to the rows that are read. In: a model, token ids. Out: their logits in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def read_only(model: Any, tokens: Sequence[int]) -> None:
    """Make a model compute the logits of these tokens alone: (…, len(tokens)), in this order, in float32.

    In half precision a logit of 10 is rounded to multiples of 1/16, and a probability by up to 1.5e-2; the last hidden
    state that it is projected from is finer. The model samples no more: its vocabulary is these tokens.
    """
    import torch

    head = model.get_output_embeddings()
    rows = head.weight.detach()[list(tokens)].float()
    bias = None if getattr(head, "bias", None) is None else head.bias.detach()[list(tokens)].float()

    class _Rows(torch.nn.Module):  # type: ignore[misc]
        def forward(self, hidden: Any) -> Any:
            return torch.nn.functional.linear(hidden.float(), rows, bias)

    model.set_output_embeddings(_Rows())
