"""A model's output layer, by the rows that a PRM reads. In: a model, token ids. Out: their logits in float32.

In half precision a logit of 10 is rounded to multiples of 1/16, and a probability by up to 1.5e-2; the last hidden
state that it is projected from is finer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def read_only(model: Any, tokens: Sequence[int]) -> None:
    """Make a model compute the logits of these tokens alone: (…, len(tokens)), in this order, in float32.

    For scoring. The model samples no more: its vocabulary is these tokens.
    """
    import torch

    head = model.get_output_embeddings()
    rows = head.weight.detach()[list(tokens)].float()
    bias = None if getattr(head, "bias", None) is None else head.bias.detach()[list(tokens)].float()

    class _Rows(torch.nn.Module):  # type: ignore[misc]
        def forward(self, hidden: Any) -> Any:
            return torch.nn.functional.linear(hidden.float(), rows, bias)

    model.set_output_embeddings(_Rows())


def train_exactly(model: Any, tokens: Sequence[int]) -> None:
    """Make a model that is trained in half precision compute the logits of these tokens as `read_only` does.

    The logits of all others are there too, and the layer's weights learn as they did. A layer that adapters wrap is
    computed in float32 as a whole if its weights are float32, and stays as it is otherwise (adapters under DeepSpeed).
    """
    import torch

    head = model.get_output_embeddings()
    forward, plain = head.forward, type(head) is torch.nn.Linear
    if not plain and any(weight.dtype != torch.float32 for weight in head.parameters()):
        return

    def exact(hidden: Any) -> Any:
        with torch.autocast(hidden.device.type, enabled=False):
            if not plain:
                return forward(hidden.float())
            index = torch.tensor(list(tokens), device=hidden.device)
            bias = None if head.bias is None else head.bias[index].float()
            rows = torch.nn.functional.linear(hidden.float(), head.weight[index].float(), bias)
        return forward(hidden).float().index_copy(-1, index, rows)

    head.forward = exact
