"""Choose the problems that are worth a tree: those that the policy solves sometimes (OmegaPRM, section 3.1).

In: problems and their seed rollouts. Out: the kept problems, a decision with its reason for each problem, statistics.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from mmprm.config import Config
from mmprm.config.annotation import Seeds
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.data.shards import Shard, read_shard
from mmprm.model.step_text import NEEDS_IMAGES
from mmprm.rollouts.rollout import Counts, count
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.seeds.pass_rate import KEPT, Rule

Row = dict[str, Any]
_COLUMNS = ("problem_id", "blank", "verdict", "n_tokens", "finish_reason")


class ImageComparison(Protocol):
    """Compares a problem's rollouts with those of a blank picture: `experiments.blank_image`."""

    def columns(self, reason: str, shown: Counts, blank: Counts) -> Row:
        """Return the columns of schemas.SEED_DECISIONS that the comparison changes."""

    def statistics(self, rows: Sequence[Row], tokens: int) -> Row | None:
        """Sum up the comparison; rows: all decisions; tokens: of the rollouts with a blank picture."""


@dataclass
class SeedRollouts:
    """What was drawn of a problem, with its picture or with a blank one."""

    verdicts: list[str] = field(default_factory=list)
    n_tokens: int = 0
    failed: bool = False
    skipped: bool = False  # it has images, and the policy reads text alone

    def add(self, row: Row) -> None:
        """Add a row of schemas.SEED_ROLLOUTS."""
        self.verdicts.append(row["verdict"])
        self.n_tokens += row["n_tokens"]
        self.skipped |= row["finish_reason"] == NEEDS_IMAGES
        self.failed |= row["finish_reason"] in ("error", NEEDS_IMAGES)

    @property
    def complete(self) -> bool:
        """Was anything drawn, and did no request fail?"""
        return bool(self.verdicts) and not self.failed


def select_seeds(
    config: Config,
    problems: list[Path],
    rollouts: list[Path],
    seeds: Path,
    decisions: Path,
    statistics: Path,
    comparison: ImageComparison | None = None,
) -> None:
    """Keep problems with some and not all rollouts right, within the bounds of `config.seeds`.

    At most `config.seeds.max_seeds` are kept, chosen by a hash. Raises UserError where a problem id occurs twice over
    the tables of `problems`, where rollouts were stopped early with other settings, or where no problem is kept.
    """
    pool = read_shard(problems, Shard())
    drawn: dict[tuple[str, bool], SeedRollouts] = defaultdict(SeedRollouts)
    for path in rollouts:
        for part in tables.batches(path, schemas.SEED_ROLLOUTS, _COLUMNS):
            for row in part.to_pylist():
                drawn[row["problem_id"], row["blank"]].add(row)
    rows = [_decision(config.seeds, problem, drawn, comparison) for problem in pool]

    def draw(row: Row) -> bytes:
        return hashlib.sha256(f"{config.seed}\x1f{row['problem_id']}".encode()).digest()

    kept = sorted((row for row in rows if row["reason"] == KEPT), key=draw)
    for row in kept[config.seeds.max_seeds :] if config.seeds.max_seeds else []:
        row["reason"] = "over_limit"
    for row in rows:
        row["kept"] = row["reason"] == KEPT
    stopped = decisions.with_suffix(".stopped.parquet")
    if not any(row["kept"] for row in rows):
        tables.write(stopped, rows, schemas.SEED_DECISIONS)  # Snakemake removes the outputs of a stage that fails
        reasons = ", ".join(
            f"{times} {reason}" for reason, times in _counts(pd.Series([r["reason"] for r in rows])).items()
        )
        raise UserError(
            f"seeds: of {len(rows)} problems none is kept ({reasons or 'there are none'}), so there is nothing to "
            f"annotate ({stopped} lists them): take problems that the policy solves sometimes, more seeds.rollouts, or "
            "wider seeds.min_pass_rate and max_pass_rate; failed ones have their cause in the logs"
        )
    stopped.unlink(missing_ok=True)
    tables.write(decisions, rows, schemas.SEED_DECISIONS)
    write_problems(seeds, [problem for problem, row in zip(pool, rows, strict=True) if row["kept"]])
    blank_tokens = sum(table.n_tokens for (_, blank), table in drawn.items() if blank)
    summary = summarise(config.seeds, rows)
    summary["blank_image"] = comparison.statistics(rows, blank_tokens) if comparison else None
    tables.write_json(statistics, summary)
    _report(summary)


def _decision(
    settings: Seeds,
    problem: Problem,
    drawn: Mapping[tuple[str, bool], SeedRollouts],
    comparison: ImageComparison | None,
) -> Row:
    shown, blank = drawn[problem.problem_id, False], drawn[problem.problem_id, True]
    counts, rule = count(shown.verdicts), Rule.of(settings)
    reason, stopped = (NEEDS_IMAGES if shown.skipped else "failed"), None
    if shown.complete and not settings.adaptive:
        reason, stopped = rule.decide(counts), "all_drawn"
    elif shown.complete:
        stop = rule.stop(counts)
        if stop is None:
            raise UserError(
                f"problem {problem.problem_id!r} has {counts.n_rollouts + counts.n_undecided} of {settings.rollouts} "
                "seed rollouts, and they decide nothing: they were drawn with other settings of `seeds`; delete the "
                "rollouts of the stage and run again"
            )
        reason, stopped = stop
    row = {
        "problem_id": problem.problem_id,
        "source": problem.source,
        **vars(counts),
        "kept": False,
        "reason": reason,
        "stopped": stopped,
        "n_tokens": shown.n_tokens,
        "blank_n_rollouts": None,
        "blank_n_correct": None,
        "image_needed": None,
    }
    return row | comparison.columns(reason, counts, count(blank.verdicts)) if comparison and blank.complete else row


def summarise(settings: Seeds, rows: Sequence[Row]) -> Row:
    """Count SEED_DECISIONS, what was drawn, and what was saved against `settings.rollouts` of each problem."""
    decisions = pd.DataFrame(rows, columns=schemas.SEED_DECISIONS.names)
    decisions["drawn"] = decisions["n_rollouts"] + decisions["n_undecided"]
    sampled = decisions[~decisions["reason"].isin(["failed", NEEDS_IMAGES])]
    return {
        "problems": len(decisions),
        "kept": int(decisions["kept"].sum()),
        "reasons": _counts(decisions["reason"]),
        "reasons_by_source": {name: _counts(reasons) for name, reasons in decisions.groupby("source")["reason"]},
        "rollouts": int(sampled["drawn"].sum()),
        "tokens": int(sampled["n_tokens"].sum()),
        "adaptive": _saving(settings.rollouts, sampled) if settings.adaptive else None,
    }


def _saving(rollouts: int, sampled: pd.DataFrame) -> Row:
    """Compare what was drawn with `rollouts` of each problem.

    Saved tokens are an estimate: the rollouts that were not drawn, at the mean length of those of the same problem.
    """
    missing = (rollouts - sampled["drawn"]).clip(lower=0)
    total, saved, tokens = rollouts * len(sampled), int(missing.sum()), int(sampled["n_tokens"].sum())
    unspent = float(sum(sampled["n_tokens"] * missing / sampled["drawn"]))
    return {
        "stopped": _counts(sampled["stopped"]),
        "rollouts_of_all": total,
        "saved_rollouts": saved,
        "saved_rollouts_share": saved / total if total else None,
        "saved_tokens_estimate": round(unspent),
        "saved_tokens_share": unspent / (tokens + unspent) if tokens + unspent else None,
    }


def _counts(names: pd.Series[str]) -> dict[str, int]:
    """How often each name occurs, by name."""
    return {str(name): int(times) for name, times in names.value_counts().sort_index().items()}


def _report(summary: Row) -> None:
    reasons = ", ".join(f"{times} {reason}" for reason, times in summary["reasons"].items())
    log.info(f"seeds: of {summary['problems']} problems {reasons}")
    saving, blank = summary["adaptive"], summary["blank_image"]
    if saving and saving["rollouts_of_all"]:
        log.info(
            f"seeds: {summary['rollouts']} rollouts of {saving['rollouts_of_all']} were drawn: saved "
            f"{saving['saved_rollouts_share']:.1%} of them and an estimated {saving['saved_tokens_share'] or 0:.1%} of "
            "the tokens"
        )
    if blank:
        log.info(f"seeds: {blank['image_not_needed']} of {blank['problems']} problems do as well with a blank picture")
