"""Chooses the problems that are worth a tree: those that the policy solves sometimes (OmegaPRM, section 3.1).

In: problems and their seed rollouts. Out: the kept problems, a decision with its reason for each problem, and counts of
the reasons, of what was drawn, and of what the adaptive stop has saved.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmprm.annotation.tree import count
from mmprm.config import Config, Seeds
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.data.shards import Shard, read_shard
from mmprm.experiments.blank_image import image_needed
from mmprm.runtime.errors import UserError
from mmprm.runtime.progress import say
from mmprm.seeds.pass_rate import KEPT, Rule

Row = dict[str, Any]

_READ = ("problem_id", "blank", "verdict", "n_tokens", "finish_reason")


@dataclass
class _Drawn:
    """What was drawn of a problem, with its picture or with a blank one."""

    verdicts: list[str] = field(default_factory=list)
    n_tokens: int = 0
    failed: bool = False

    def add(self, row: Row) -> None:
        self.verdicts.append(row["verdict"])
        self.n_tokens += row["n_tokens"]
        self.failed |= row["finish_reason"] == "error"


def select_seeds(
    config: Config, problems: list[Path], rollouts: list[Path], seeds: Path, decisions: Path, statistics: Path
) -> None:
    """Keep problems with some and not all rollouts right, within the bounds of `config.seeds`; at most
    `config.seeds.max_seeds` of them, chosen by a hash.

    Raises UserError where a problem id occurs twice over the tables of `problems`, or where rollouts are of an adaptive
    stop with other settings.
    """
    everything = read_shard(problems, Shard())
    drawn: dict[tuple[str, bool], _Drawn] = defaultdict(_Drawn)
    parts = (part for path in rollouts for part in tables.batches(path, schemas.SEED_ROLLOUTS, _READ))
    for row in (row for part in parts for row in part.to_pylist()):
        drawn[row["problem_id"], row["blank"]].add(row)
    rows = [_decision(config.seeds, problem, drawn) for problem in everything]
    kept = sorted((row for row in rows if row["reason"] == KEPT), key=lambda row: _draw(config.seed, row["problem_id"]))
    for row in kept[config.seeds.max_seeds :] if config.seeds.max_seeds else []:
        row["reason"] = "over_limit"
    for row in rows:
        row["kept"] = row["reason"] == KEPT
    names = {row["problem_id"] for row in rows if row["kept"]}
    tables.write(decisions, rows, schemas.SEED_DECISIONS)
    write_problems(seeds, [problem for problem in everything if problem.problem_id in names])
    blank_tokens = sum(one.n_tokens for (_, blank), one in drawn.items() if blank)
    found = summarise(config.seeds, rows) | {"blank_image": _blank(rows, blank_tokens)}
    tables.write_json(statistics, found)
    _report(found)


def _decision(settings: Seeds, problem: Problem, drawn: dict[tuple[str, bool], _Drawn]) -> Row:
    own, blank = drawn[problem.problem_id, False], drawn[problem.problem_id, True]
    counts, reason, stopped = count(own.verdicts), "failed", None
    if own.verdicts and not own.failed:
        reason, stopped = _decide(settings, problem.problem_id, own.verdicts)
    compared = count(blank.verdicts) if blank.verdicts and not blank.failed else None
    needed = None
    if compared is not None and reason == KEPT:
        needed = image_needed(counts, compared, settings.blank_share, settings.blank_confidence)
        if needed is False and settings.blank_image == "drop":
            reason = "image_not_needed"
    return {
        "problem_id": problem.problem_id,
        "source": problem.source,
        **vars(counts),
        "kept": False,
        "reason": reason,
        "stopped": stopped,
        "n_tokens": own.n_tokens,
        "blank_n_rollouts": compared.n_rollouts if compared else None,
        "blank_n_correct": compared.n_correct if compared else None,
        "image_needed": needed,
    }


def _decide(settings: Seeds, name: str, verdicts: list[str]) -> tuple[str, str]:
    """The reason, and why no more was drawn."""
    rule, counts = Rule.of(settings), count(verdicts)
    if not settings.adaptive:
        return rule.decide(counts), "all_drawn"
    stop = rule.stop(counts)
    if stop is None:
        raise UserError(
            f"problem {name!r} has {len(verdicts)} of {settings.rollouts} seed rollouts, and they decide nothing: they "
            "were drawn with other settings of `seeds`; delete the rollouts of the stage and run again"
        )
    return stop


def summarise(settings: Seeds, rows: Sequence[Row]) -> Row:
    """Counts of SEED_DECISIONS; what was drawn, and what was saved against `settings.rollouts` of each problem.

    Saved tokens are an estimate: the rollouts that were not drawn, at the mean length of those of the same problem.
    """
    sampled = [row for row in rows if row["reason"] != "failed"]
    n_drawn = {row["problem_id"]: row["n_rollouts"] + row["n_undecided"] for row in sampled}
    missing = {name: max(0, settings.rollouts - n) for name, n in n_drawn.items()}
    each = settings.rollouts * len(sampled)
    saved = sum(missing.values()) if settings.adaptive else 0
    tokens = sum(row["n_tokens"] for row in sampled)
    unspent = sum(row["n_tokens"] * missing[row["problem_id"]] / n_drawn[row["problem_id"]] for row in sampled)
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        by_source[row["source"]][row["reason"]] += 1
    return {
        "problems": len(rows),
        "kept": sum(row["kept"] for row in rows),
        "reasons": _counts(row["reason"] for row in rows),
        "reasons_by_source": {name: dict(sorted(counts.items())) for name, counts in sorted(by_source.items())},
        "rollouts": sum(n_drawn.values()),
        "tokens": tokens,
        "adaptive": {
            "stopped": _counts(row["stopped"] for row in sampled),
            "rollouts_of_all": each,
            "saved_rollouts": saved,
            "saved_rollouts_share": saved / each if each else None,
            "saved_tokens_estimate": round(unspent),
            "saved_tokens_share": unspent / (tokens + unspent) if tokens + unspent else None,
        }
        if settings.adaptive
        else None,
    }


def _blank(rows: Sequence[Row], tokens: int) -> Row | None:
    """What the comparison with blank pictures came to; None where it was not made."""
    tried = [row for row in rows if row["blank_n_rollouts"] is not None]
    if not tried:
        return None
    return {
        "problems": len(tried),
        "image_not_needed": sum(row["image_needed"] is False for row in tried),
        "rollouts": sum(row["blank_n_rollouts"] for row in tried),
        "tokens": tokens,
        "pass_rate": _rate(tried, ""),
        "pass_rate_blank": _rate(tried, "blank_"),
    }


def _rate(rows: Sequence[Row], prefix: str) -> float | None:
    n = sum(row[f"{prefix}n_rollouts"] for row in rows)
    return sum(row[f"{prefix}n_correct"] for row in rows) / n if n else None


def _report(found: Row) -> None:
    shares = ", ".join(f"{times} {reason}" for reason, times in found["reasons"].items())
    say(f"seeds: of {found['problems']} problems {shares}")
    saving = found["adaptive"]
    if saving is not None and saving["rollouts_of_all"]:
        say(
            f"seeds: {found['rollouts']} rollouts of {saving['rollouts_of_all']} were drawn: saved "
            f"{saving['saved_rollouts_share']:.1%} of them and an estimated {saving['saved_tokens_share'] or 0:.1%} of "
            "the tokens"
        )
    blank = found["blank_image"]
    if blank is not None:
        say(f"seeds: {blank['image_not_needed']} of {blank['problems']} problems do as well with a blank picture")


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _draw(seed: int, problem_id: str) -> bytes:
    return hashlib.sha256(f"{seed}\x1f{problem_id}".encode()).digest()
