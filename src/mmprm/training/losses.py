"""The losses of the policy and of the PRM, summed over what is labelled. In: a model's outputs, labels. Out: a loss.

Both are means over everything that is labelled in an update, over all micro-batches and devices: not a mean of the
micro-batches' means, which would weigh a token by how few others share its micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmprm.prm.step_scores import SMALLEST, concentration
from mmprm.training import data


def token_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """Cross-entropy of the next token, summed over labelled positions, over the number of them in the whole update.

    outputs.logits: (batch, kept, vocabulary) at the positions `data.kept_positions(labels)`; labels: (batch, length).
    """
    import torch.nn.functional as F

    targets = labels[:, data.kept_positions(labels)]
    logits = outputs.logits.float().flatten(0, 1)
    total = F.cross_entropy(logits, targets.flatten(), ignore_index=int(data.IGNORE), reduction="sum")
    return total / (num_items_in_batch if num_items_in_batch is not None else (targets != data.IGNORE).sum())


def marker_loss(no: int, yes: int) -> Callable[..., Any]:
    """Cross-entropy of softmax over the logits [no, yes] at each marker against its label, P(yes), soft or hard."""

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        targets = labels[:, data.kept_positions(labels)]
        known = targets != data.IGNORE
        log_p = outputs.logits[..., [no, yes]].float().log_softmax(dim=-1)[known]
        targets = targets[known]
        total = -(targets * log_p[:, 1] + (1 - targets) * log_p[:, 0]).sum()
        return total / (num_items_in_batch if num_items_in_batch is not None else known.sum())

    return loss


def counts_loss(no: int, yes: int, marker: int) -> Callable[..., Any]:
    """Minus the log of the Beta-Binomial likelihood of k right rollouts of n (BetaPRM, arXiv 2605.15529).

    P(yes) is that of `marker_loss`; its concentration is that of `step_scores.concentration`, as in scoring.
    labels: k / n; trials: n, of the same shape. The binomial coefficient, which no weight changes, is left out: with
    n = 1 this is the cross-entropy, and with a large concentration n times it.
    """

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None, trials: Any = None) -> Any:
        kept = data.kept_positions(labels)
        targets, n = labels[:, kept], trials[:, kept]
        known = targets != data.IGNORE
        # In doubles: what is left of large log-gammas is small.
        logits = outputs.logits[..., [no, yes, marker]][known].double()
        n = n[known].double()
        k = targets[known] * n
        p = logits[:, :2].softmax(dim=-1)
        beta, alpha = (p * concentration(logits)[:, None]).clamp_min(SMALLEST).unbind(dim=-1)
        total = (_log_beta(alpha, beta) - _log_beta(alpha + k, beta + n - k)).sum().float()
        return total / (num_items_in_batch if num_items_in_batch is not None else known.sum())

    return loss


def _log_beta(a: Any, b: Any) -> Any:
    return a.lgamma() + b.lgamma() - (a + b).lgamma()
