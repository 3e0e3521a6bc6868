"""Micro-batches as a model reads them: padded, packed, or as prefix trees. In: Examples. Out: the model's inputs.

Loss and gradients are the same in all three layouts, up to rounding (tests). Every batch has, beside the model's
inputs, `labels`, `logits_to_keep` (the positions whose logits the loss needs) and `examples` (the rows' indices).
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmprm.model.tokens import image_inputs
from mmprm.prefix_trees import attention, packing
from mmprm.runtime.errors import UserError
from mmprm.training.examples import IGNORE, Example, labelled_positions

Rows = Sequence[tuple[int, Example]]  # a micro-batch: each example with its index


class MicroBatches:
    """The planned micro-batches as a torch dataset: item i is a list of (index, Example); ~index has no labels."""

    def __init__(self, examples: Sequence[Example], plan: Sequence[Sequence[int]]) -> None:
        self.examples, self.plan = examples, plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, item: int) -> list[tuple[int, Example]]:
        rows = []
        for planned in self.plan[item]:
            index = max(planned, ~planned)
            example = self.examples[index]
            if planned < 0:
                example = dataclasses.replace(example, labels=np.full_like(example.labels, IGNORE))
            rows.append((index, example))
        return rows


class PaddedCollator:
    """Pads a micro-batch on the right, and prepares its images; `labels` are (batch, length).

    A label is at the position whose logits it is compared with, `shift` tokens before the token that it names (1:
    the next token; 0: the marker itself). Raises UserError if the tokenizer has no padding token.
    """

    def __init__(self, processor: Any, shift: int) -> None:
        self.processor, self.shift = processor, shift
        self.pad = processor.tokenizer.pad_token_id
        if self.pad is None:
            raise UserError(f"the tokenizer {processor.tokenizer.name_or_path!r} has no padding token: set one")

    def __call__(self, items: Sequence[Rows]) -> dict[str, Any]:
        import torch

        indices, examples = zip(*(row for item in items for row in item), strict=True)
        shape = (len(examples), max(example.length for example in examples))

        def padded(arrays: Sequence[np.ndarray], fill: float, dtype: Any) -> Any:
            rows = torch.full(shape, fill, dtype=dtype)
            for row, values in zip(rows, arrays, strict=True):
                row[: len(values)] = torch.from_numpy(values).to(dtype)
            return rows

        names = examples[0].tokens
        kind = torch.float32 if self.shift == 0 else torch.long
        labels = padded([example.labels[self.shift :] for example in examples], IGNORE, kind)
        batch: dict[str, Any] = image_inputs(self.processor, [example.images for example in examples], names)
        for name in names:
            fill = self.pad if name == "input_ids" else 0
            batch[name] = padded([example.tokens[name] for example in examples], fill, torch.long)
        if examples[0].trials is not None:
            batch["trials"] = padded([example.trials for example in examples], 1, torch.float32)
        batch["attention_mask"] = padded([np.ones(example.length) for example in examples], 0, torch.long)
        batch |= {"labels": labels, "logits_to_keep": labelled_positions(labels)}
        return batch | {"examples": torch.tensor(indices)}


class TreeCollator:
    """Lays a micro-batch out as one sequence of prefix trees, one per problem: each shared token stands once.

    Out: `model`'s inputs (1, n), each tree's images once; `labels` (1, 1 + m), the m labels of all paths after one that
    is ignored; `logits_to_keep` (m,), their markers' positions, once for each path. device: see attention.model_inputs.
    """

    def __init__(self, processor: Any, model: Any, device: str = "cpu") -> None:
        self._processor, self._positions, self._device = processor, packing.TreePositions(model), device

    def __call__(self, items: Sequence[Rows]) -> dict[str, Any]:
        import torch

        rows = [row for item in items for row in item]
        by_problem: dict[str, list[Example]] = {}
        for _, example in rows:
            by_problem.setdefault(example.problem_id, []).append(example)
        groups = list(by_problem.values())
        tree_images = [group[0].images for group in groups]
        images = image_inputs(self._processor, tree_images, groups[0][0].tokens)
        positions = functools.partial(self._positions, counts=[len(each) for each in tree_images], images=images)
        batch = images | lay_out(groups, positions, self._device)
        return batch | {"examples": torch.tensor([index for index, _ in rows])}


def lay_out(
    groups: Sequence[Sequence[Example]],
    positions: Callable[[Sequence[packing.Packed]], Any] | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Return each group of examples as a tree, all in one sequence: a TreeCollator's batch but images and examples.

    positions: computes the trees' position_ids (default: the depths).
    """
    import torch

    trees = [packing.pack([example.tokens for example in group]) for group in groups]
    packed = packing.join(trees)
    examples = [example for group in groups for example in group]  # in the order of packed.path_indices
    known = [example.labels != IGNORE for example in examples]

    def select(first: float, arrays: Sequence[np.ndarray]) -> Any:
        # When Trainer counts an update's labels it skips the first column, which no logits precede in its own layout.
        selected = [values[labelled] for values, labelled in zip(arrays, known, strict=True)]
        return torch.from_numpy(np.concatenate([[first], *selected]).astype(np.float32))[None]

    markers = [indices[labelled] for indices, labelled in zip(packed.path_indices, known, strict=True)]
    batch = {
        **attention.model_inputs(packed, positions(trees) if positions else None, device),
        "labels": select(IGNORE, [example.labels for example in examples]),
        "logits_to_keep": torch.from_numpy(np.concatenate(markers)),
    }
    trials = [example.trials for example in examples if example.trials is not None]
    return batch | ({"trials": select(1, trials)} if trials else {})


class PackedCollator:
    """Lays a micro-batch out as one sequence in which no example sees another: a tree without branches for each.

    Out: as TreeCollator, but `labels` (1, 1 + m) are the tokens that the logits at `logits_to_keep` (m,) predict.
    """

    def __init__(self, processor: Any, model: Any, device: str = "cpu") -> None:
        self._collate = TreeCollator(processor, model, device)

    def __call__(self, items: Sequence[Rows]) -> dict[str, Any]:
        rows = [row for item in items for row in item]
        shifted = []
        for row, (index, example) in enumerate(rows):
            labels = np.append(example.labels[1:], int(IGNORE))  # each at the position whose logits predict it
            # A distinct problem_id for each keeps examples of one problem apart.
            shifted.append((index, dataclasses.replace(example, problem_id=str(row), labels=labels)))
        batch = self._collate([shifted])
        return batch | {"labels": batch["labels"].long()}  # float32 represents token ids exactly up to 2^24
