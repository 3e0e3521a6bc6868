"""The two logits of a marker: in half precision too they are float32 projections of the last hidden state."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_internvl
import torch

from mmprm.config.training import Lora
from mmprm.model import folders
from mmprm.model.output_rows import train_exactly
from mmprm.model.step_text import NO, YES, control_ids
from mmprm.training.trainer import add_adapters


@pytest.mark.parametrize("kind", ["plain", "adapters", "bfloat16"])
def test_in_half_precision_the_logits_of_a_marker_are_those_that_the_scorers_read(kind: str, tmp_path: Path) -> None:
    """Under autocast, with adapters on an untied head, and with weights in bfloat16 as DeepSpeed has them.

    They were rounded to 8 bits: off by up to 1.5e-2 of a probability.
    """
    folder = tiny_internvl.build(tmp_path / "model")
    model = folders.load_model(folder, "bfloat16" if kind == "bfloat16" else "float32")
    words = folders.load_processor(folder).tokenizer
    if kind == "adapters":
        model = add_adapters(model, words, Lora(rank=4))
    rows = [control_ids(words)[word] for word in (NO, YES)]
    head, seen = model.get_output_embeddings(), []
    head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tokens = torch.tensor([words.encode("a question that is somewhat long", add_special_tokens=False)])

    def logits() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=kind != "bfloat16"):
            return model(input_ids=tokens).logits[0, :, rows]

    rounded = logits().double()
    train_exactly(model, rows)
    found = logits()
    (weight,) = [value for name, value in head.named_parameters() if name.endswith("weight")]
    expected = seen[-1][0].double() @ weight[rows].double().T
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 1e-5
    assert (rounded - expected).abs().max() > 1e-3
    found.softmax(-1)[:, 1].log().sum().backward()
    trained = [value for value in head.parameters() if value.requires_grad]
    assert trained and all(value.grad is not None for value in trained)
    if kind != "adapters":  # there the tags' rows alone, which no marker's label reaches
        assert weight.grad[rows].abs().min() > 0 and weight.grad.abs().sum(1).count_nonzero() == 2
