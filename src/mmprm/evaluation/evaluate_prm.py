"""A PRM on problems that it was not trained on, beside the untrained PRM. In: PRM, dev split. Out: a JSON of measures.

Two questions are kept apart. Over all steps: does P(yes) match the MC values (loss, calibration, AUC)? Within a
problem: does an aggregate rank right solutions above wrong ones? Best-of-N depends on the second alone; a PRM that has
learnt which problems are hard does well on the first and is useless.
"""

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import ProblemFile
from mmprm.evaluation.aggregates import AGGREGATES, auc, auc_within_problem
from mmprm.evaluation.step_curves import by_depth, roc
from mmprm.model import folders
from mmprm.model.step_text import Status
from mmprm.prm.marker_examples import marker_labels
from mmprm.prm.scorers import TreeScorer
from mmprm.prm.train_prm import initial_prm
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.training.examples import IGNORE
from mmprm.training.losses import constant_loss

BINS = 10


def evaluate_prm(
    config: Config,
    variant: str,
    policy: Path,
    prm: Path,
    seeds: Path,
    trajectories: Path,
    shards: list[Path],
    out: Path,
) -> None:
    """Write {"trained": measures, "untrained": measures} over the trajectories and root rollouts of the split `dev`.

    trajectories: labels/paths.parquet; shards: folders with rollouts.parquet. The measures are those of `step_measures`
    and `ranking_measures`, all None where `dev` has no trajectory. Raises UserError if the PRM is not of this policy.
    """
    folders.check_manifest(policy)
    if folders.check_manifest(prm)["info"].get("base") != folders.fingerprint(policy):
        raise UserError(f"{prm}: it was not trained from the policy {policy}; run `snakemake {prm / folders.MANIFEST}`")
    problems = ProblemFile(seeds)
    parts = tables.batches(trajectories, schemas.PATHS)
    rows = [row for part in parts for row in part.to_pylist() if row["split"] == "dev"]
    out.parent.mkdir(parents=True, exist_ok=True)
    if not rows:  # all stages before have their results, and those behind want none of this one's
        log.warning(
            f"prm {variant} held out: nothing is measured, {trajectories} has no path of split dev; raise "
            "labels.dev_share or annotate more problems"
        )
        nothing = step_measures((), ()) | ranking_measures((), ())
        tables.write_json(out, {"trained": nothing, "untrained": nothing})
        return
    dev = {row["problem_id"] for row in rows}
    rollouts = root_rollouts(shards, dev)
    items = [(problems[row["problem_id"]], tuple(row["steps"]), row["answer"]) for row in (*rows, *rollouts)]
    log.info(f"prm {variant} held out: {len(rows)} paths and {len(rollouts)} rollouts of {len(dev)} problems")
    result = {}
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        for name, folder in (("trained", prm), ("untrained", initial_prm(config, policy, Path(scratch)))):
            scorer = TreeScorer(folder, config.prompt.instruction, config.engine.dtype)
            scores = [score.probabilities for score in scorer.score(items)]
            scorer.close()
            measures = step_measures(rows, scores[: len(rows)]) | ranking_measures(rollouts, scores[len(rows) :])
            result[name] = measures
            within = measures["auc_within_problem"][config.bench.primary]
            loss, over_steps, within = (_shown(value) for value in (measures["loss"], measures["auc_steps"], within))
            log.info(
                f"prm {variant} held out: {name}: loss {loss} (a constant: {_shown(measures['constant_loss'])}), AUC "
                f"over steps {over_steps}, within a problem by {config.bench.primary} {within}"
            )
    tables.write_json(out, result)


def root_rollouts(shards: Sequence[Path], problems: set[str]) -> list[dict[str, Any]]:
    """Return the graded rollouts of the problems' roots that parse, from all shards, without their texts."""
    rollouts = []
    columns = ("problem_id", "node_id", "steps", "answer", "status", "verdict")
    for shard in shards:
        for part in tables.batches(shard / "rollouts.parquet", schemas.ROLLOUTS, columns):
            roots = part.filter(pc.equal(part["node_id"], 0)).to_pylist()
            rollouts += [row for row in roots if row["problem_id"] in problems and row["status"] == Status.OK]
    return [row for row in rollouts if row["verdict"] in ("correct", "incorrect")]


def step_measures(rows: Sequence[Mapping[str, Any]], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Measure scores against labels: loss, n_markers, calibration, ece (soft labels), auc_steps (hard labels).

    base_rate is the mean soft label, constant_loss what always predicting it would lose: a PRM above that has learnt
    nothing that holds on other problems. hard_base_rate is the share of right markers. roc and by_depth: see
    `step_curves`.

    rows: PATHS rows; scores: P(yes) at each of their markers. A measure is None if nothing is labelled.
    """
    for row, score in zip(rows, scores, strict=True):
        if len(score) != len(row["hard"]):
            raise UserError(f"path {row['path_id']}: {len(score)} scores, {len(row['hard'])} labels")
    predicted = _joined(np.asarray(score, dtype=np.float64) for score in scores)
    soft = _joined(marker_labels(row, "soft") for row in rows)
    hard = _joined(marker_labels(row, "hard") for row in rows)
    depth = _joined(np.arange(1, len(score) + 1) for score in scores)
    known, graded = soft != IGNORE, hard != IGNORE
    p, label = predicted[known], soft[known].astype(np.float64)
    bins = calibration(p, label)
    clipped = np.clip(p, 1e-7, 1 - 1e-7)
    loss = -(label * np.log(clipped) + (1 - label) * np.log1p(-clipped))
    rate = float(label.mean()) if len(p) else None
    return {
        "loss": float(loss.mean()) if len(p) else None,
        "constant_loss": None if rate is None else constant_loss(rate),
        "base_rate": rate,
        "hard_base_rate": float((hard[graded] > 0.5).mean()) if graded.any() else None,
        "n_markers": len(p),
        "calibration": bins,
        "ece": sum(bin["count"] * abs(bin["predicted"] - bin["label"]) for bin in bins) / len(p) if len(p) else None,
        "auc_steps": auc(predicted[graded].tolist(), (hard[graded] > 0.5).tolist()),
        "roc": roc(predicted[graded], hard[graded] > 0.5),
        "by_depth": by_depth(depth, predicted, np.where(known, soft, np.nan), np.where(graded, hard, np.nan)),
    }


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])


def calibration(predicted: np.ndarray, label: np.ndarray) -> list[dict[str, Any]]:
    """Return mean prediction, mean label and count in BINS bins of equal width over [0, 1]; empty bins are omitted."""
    bins = np.minimum((predicted * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(bins).tolist():
        p, labels = predicted[bins == number], label[bins == number]
        means = {"predicted": float(p.mean()), "label": float(labels.mean())}
        rows.append({"low": number / BINS, "high": (number + 1) / BINS, **means, "count": len(p)})
    return rows


def ranking_measures(rollouts: Sequence[Mapping[str, Any]], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return auc_within_problem by aggregate, over root rollouts (ROLLOUTS rows that parsed), n_problems, n_rollouts.

    n_problems counts those with both a right and a wrong rollout: only they have pairs to compare.
    """
    groups: dict[str, list[tuple[bool, Sequence[float]]]] = defaultdict(list)
    for row, score in zip(rollouts, scores, strict=True):
        groups[row["problem_id"]].append((row["verdict"] == "correct", score))
    correct = [[right for right, _ in group] for group in groups.values()]
    return {
        "auc_within_problem": {
            name: auc_within_problem([[aggregate(score) for _, score in group] for group in groups.values()], correct)
            for name, aggregate in AGGREGATES.items()
        },
        "n_problems": sum(any(right) and not all(right) for right in correct),
        "n_rollouts": len(rollouts),
    }


def _shown(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
