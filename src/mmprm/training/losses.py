"""The losses of the policy and of the PRM, summed over labelled positions. In: a model's outputs, labels. Out: a loss.

Each is a mean over all labels of an update, across micro-batches and devices: a mean of means would weigh unequally.
"""

import math
from collections.abc import Callable
from typing import Any

from mmprm.training.examples import IGNORE, labelled_positions

# The least parameter of a Beta distribution, for when P(yes) rounds to 0 or 1; the loss and the readers share it.
SMALLEST = 1e-6


def constant_loss(rate: float) -> float:
    """Return the marker loss, in nats, of always predicting `rate`, the mean of the labels: what a PRM has to beat."""
    return -sum(share * math.log(share) for share in (rate, 1 - rate) if share > 0)


def token_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """Compute the cross-entropy of the next token, summed, over the number of labelled positions in the whole update.

    outputs.logits: (batch, columns, vocabulary) at `labelled_positions(labels)`; labels: (batch, length).
    """
    import torch.nn.functional as F

    targets = labels[:, labelled_positions(labels)]
    logits = outputs.logits.float().flatten(0, 1)
    total = F.cross_entropy(logits, targets.flatten(), ignore_index=int(IGNORE), reduction="sum")
    return total / (num_items_in_batch if num_items_in_batch is not None else (targets != IGNORE).sum())


def marker_loss(no: int, yes: int) -> Callable[..., Any]:
    """Return a PRM's loss: cross-entropy of softmax over the logits [no, yes] at each marker, with P(yes) as label."""

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        targets = labels[:, labelled_positions(labels)]
        known = targets != IGNORE
        log_p = outputs.logits[..., [no, yes]].float().log_softmax(dim=-1)[known]
        targets = targets[known]
        total = -(targets * log_p[:, 1] + (1 - targets) * log_p[:, 0]).sum()
        return total / (num_items_in_batch if num_items_in_batch is not None else known.sum())

    return loss


def concentration(logits: Any) -> Any:
    """Return how many rollouts a prediction is worth: (..., 3) to (...), from the logits of (No, Yes, `<prm>`).

    κ = softplus(logsumexp(No, Yes) - `<prm>`) + 0.001: how far Yes and No together exceed the marker's own logit. It
    does not change when all logits are shifted, and needs no head beside the language model's.
    """
    import torch

    return torch.nn.functional.softplus(logits[..., :2].logsumexp(dim=-1) - logits[..., 2]) + 1e-3


def counts_loss(no: int, yes: int, marker: int) -> Callable[..., Any]:
    """Return minus the log of the Beta-Binomial likelihood of k right rollouts of n (BetaPRM, arXiv 2605.15529).

    P(yes) is that of `marker_loss`, the Beta's concentration that of `concentration`. labels: k / n; trials: n, of the
    same shape. Without the binomial coefficient: with n = 1 this is the cross-entropy.
    """

    def log_beta(a: Any, b: Any) -> Any:
        return a.lgamma() + b.lgamma() - (a + b).lgamma()

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None, trials: Any = None) -> Any:
        columns = labelled_positions(labels)
        targets, n = labels[:, columns], trials[:, columns]
        known = targets != IGNORE
        # In float64: differences of large log-gammas are small.
        logits = outputs.logits[..., [no, yes, marker]][known].double()
        n = n[known].double()
        k = targets[known] * n
        p = logits[:, :2].softmax(dim=-1)
        beta, alpha = (p * concentration(logits)[:, None]).clamp_min(SMALLEST).unbind(dim=-1)
        total = (log_beta(alpha, beta) - log_beta(alpha + k, beta + n - k)).sum().float()
        return total / (num_items_in_batch if num_items_in_batch is not None else known.sum())

    return loss
