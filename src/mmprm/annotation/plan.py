"""What the annotation will cost, measured before it runs. In: seeds, policy. Out: plan.json, and a text on stdout.

A few seeds, chosen by a hash, are searched just as `annotate` searches them and with its journal, so that nothing is
sampled twice. The cost of the other seeds is estimated from these.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from mmprm.annotation.annotate import named_searches
from mmprm.annotation.tree import Tree
from mmprm.config import Config
from mmprm.data import tables
from mmprm.data.shards import Shard, read_shard
from mmprm.engine.base import EngineStats
from mmprm.rollouts.run import OpenEngine, SamplingJob, run_searches
from mmprm.rollouts.scheduler import SearchResult
from mmprm.runtime.progress import duration

Row = dict[str, Any]
_CONFIDENCE = 0.95
_SHARD_COUNTS = (1, 2, 4, 8)  # and the configured one


def plan(
    config: Config, policy: Path, seeds: Path, work: Path, out: Path, open_engine: OpenEngine | None = None
) -> None:
    """Search `config.plan.problems` seeds with the annotation's journal in `work`, and write what all will cost.

    The times are null where all of the sample was in the journal, and no earlier plan of this policy on this engine and
    device left a measurement in `work`. Raises UserError when more than half of the sample (and more than a few) fails.
    """
    problems = read_shard([seeds], Shard())
    ids = [problem.problem_id for problem in problems]
    drawn = set(draw(ids, config.plan.problems, config.seed))
    searches = named_searches(config, policy, [problem for problem in problems if problem.problem_id in drawn])
    usage, most = work / "plan.usage.json", config.annotation.max_rollouts
    status: dict[str, Row] = {}

    def keep(name: str, outcome: SearchResult) -> str | None:
        tree: Tree = outcome.value
        status[name] = tree.status_row()
        return tree.why_failed

    run_searches(SamplingJob("plan", config, policy, Shard(), work, usage, most, open_engine), searches, keep)
    used = json.loads(usage.read_text(encoding="utf-8"))
    costs = estimate(config, ids, [status[name] for name in sorted(status)])
    costs["replayed_rollouts"] = used["replayed_completions"]
    costs |= times(config, costs["tokens"], ids, _measured(config, policy, used, work / "plan.measured.json"))
    tables.write_json(out, costs)
    print(describe(costs), flush=True)


def draw(ids: Iterable[str], n: int, seed: int) -> list[str]:
    """Draw n of the ids by a hash; a larger n adds to those of a smaller one."""
    return sorted(ids, key=lambda name: hashlib.sha256(f"plan\x1f{seed}\x1f{name}".encode()).digest())[:n]


class Total(NamedTuple):
    """A cost of all seeds: its expectation, its 95 % range, and its upper bound."""

    mean: float
    low: float
    high: float
    at_most: float


def total(known: Sequence[float], n: int, ends: tuple[float, float], bound: float) -> Total:
    """Estimate the sum over n problems, of which some were drawn at random and are known; each takes `bound` at most.

    Student's interval of the mean, narrowed by the share of the problems that is known. Budgets and problems without a
    right rollout make the costs cluster, and a small sample may miss a cluster; so, as Agresti and Coull (1998) do for
    shares, a made-up problem at each of the `ends` of what a problem may take is added to the sample. Of the mini run's
    400 problems, the plain interval from 24 misses the rollouts one time in nine, this one in a hundred.
    """
    values = np.asarray(known, dtype=np.float64)
    if not n:
        return Total(0, 0, 0, 0)
    least, most = min(values.min(), ends[0]), max(values.max(), ends[1])
    widened = np.append(values, [least, most])
    half = student.ppf((1 + _CONFIDENCE) / 2, len(widened) - 1) * widened.std(ddof=1) / np.sqrt(len(widened))
    unknown = np.sqrt(1 - len(values) / n)
    mean = values.mean()
    low = mean + unknown * (widened.mean() - half - mean)
    high = mean + unknown * (widened.mean() + half - mean)
    at_most = values.sum() + (n - len(values)) * bound
    return Total(*(float(value) for value in (n * mean, max(n * low, values.sum()), min(n * high, at_most), at_most)))


def estimate(config: Config, ids: Sequence[str], rows: Sequence[Row]) -> Row:
    """Estimate rollouts and tokens of the problems `ids`, of some of which the status `rows` are known."""
    k = config.annotation.k
    rollouts, tokens = [row["n_rollouts"] for row in rows], [row["n_tokens"] for row in rows]
    budget = config.annotation.max_rollouts // k * k
    per_rollout = sum(tokens) / max(1, sum(rollouts))
    totals = {
        "rollouts": total(rollouts, len(ids), (k, budget), budget),
        "tokens": total(
            tokens, len(ids), (k * per_rollout, budget * per_rollout), budget * config.sampling.max_new_tokens
        ),
    }
    return {
        "problems": len(ids),
        "sampled_problems": len(rows),
        "failed_problems": sum(row["status"] == "failed" for row in rows),
        "sampled_rollouts": sum(rollouts),
        "sampled_tokens": sum(tokens),
        **{name: {part: round(value) for part, value in cost._asdict().items()} for name, cost in totals.items()},
    }


def _measured(config: Config, policy: Path, used: Row, file: Path) -> Row | None:
    """Return what this call or an earlier one measured of the engine, whichever saw more; None where neither did.

    The earlier one is in `file`, with a hash of all that the rate depends on. Snakemake deletes plan.json before it
    makes it again, hence a file in the work folder.
    """
    from mmprm.model import folders

    if config.engine.kind == "server":
        device = "server"  # whose devices are not known here
    elif folders.device() == "cpu":
        device = f"CPU, {len(os.sched_getaffinity(0))} cores"
    else:
        import torch

        device = str(torch.cuda.get_device_name())
    sections = [config.engine, config.sampling, config.prompt, config.annotation]
    parts = [device, folders.fingerprint(policy), *(section.model_dump_json() for section in sections)]
    conditions = hashlib.sha256("\x1e".join(parts).encode()).hexdigest()
    if file.exists():
        earlier: Row = json.loads(file.read_text(encoding="utf-8"))
        if earlier["conditions"] == conditions and earlier["generated_tokens"] >= used["generated_tokens"]:
            return earlier
    if not used["generated_tokens"]:
        return None
    now = used | {"device": device, "conditions": conditions}
    tables.write_json(file, now)
    return now


def times(config: Config, tokens: dict[str, int], ids: Sequence[str], measured: Row | None) -> Row:
    """Estimate device-hours, and hours by number of shards; null where nothing was measured.

    A shard pays the engine's start-up, samples the tokens of its own problems, and holds `engine.tensor_parallel`
    devices. Shards over one server share its devices: there the hours of one shard only are estimated.
    """
    server = config.engine.kind == "server"
    shards = config.shards.annotation
    if measured is None:
        names = "device tokens_per_second startup_seconds mean_batch max_running prompt_tokens_per_rollout"
        return dict.fromkeys([*names.split(), "cached_prompt_share", "device_hours", "hours_by_shards"])
    rate = measured["generated_tokens"] / max(1e-3, measured["seconds"] - measured["startup_seconds"])
    startup = measured["startup_seconds"]
    devices = 1 if server else config.engine.tensor_parallel
    hours = {name: devices * (value / rate + shards * startup) / 3600 for name, value in tokens.items()}
    by_shards = {
        str(count): (startup + tokens["mean"] * _largest(ids, count) / rate) / 3600
        for count in ([1] if server else sorted({*_SHARD_COUNTS, shards}))
    }
    stats = EngineStats(**{field.name: measured.get(field.name, 0) for field in fields(EngineStats)})
    return {
        "device": measured["device"],
        "tokens_per_second": round(rate, 1),
        "startup_seconds": startup,
        "mean_batch": None if stats.mean_batch is None else round(stats.mean_batch, 1),
        "max_running": config.engine.max_running,
        "prompt_tokens_per_rollout": round(stats.prompt_tokens / stats.completions, 1) if stats.prompt_tokens else None,
        "cached_prompt_share": None if stats.cached_share is None else round(stats.cached_share, 3),
        "device_hours": {name: round(value, 4) for name, value in hours.items()},
        "hours_by_shards": {name: round(value, 4) for name, value in by_shards.items()},
    }


def _largest(ids: Sequence[str], count: int) -> float:
    """Return the share of the problems in the largest of `count` shards: the last one to finish."""
    owned = Counter(index for index in range(count) for name in ids if Shard(index, count).owns(name))
    return max(owned.values(), default=0) / max(1, len(ids))


def describe(costs: Row) -> str:
    """Write the plan as text."""
    lines = [
        f"Estimated cost of the annotation of {costs['problems']:,} problems, from {costs['sampled_problems']} of them "
        f"({costs['failed_problems']} failed):"
    ]
    for name in ("rollouts", "tokens"):
        mean, low, high, at_most = (f"{costs[name][key]:,}" for key in ("mean", "low", "high", "at_most"))
        budget = f"; never more than {at_most}" if name == "rollouts" else ""  # tokens never come near their bound
        lines.append(f"  {name:<12}  {mean} (95 %: {low} to {high}{budget})")
    if costs["device_hours"]:
        lines += _times(costs)
    else:
        lines.append("  device-hours  unknown: nothing was sampled to measure it on; raise plan.problems")
    lines.append(
        f"Of the sample's {costs['sampled_rollouts']:,} rollouts {costs['replayed_rollouts']:,} were in the journal "
        "before, now all are: the annotation does not sample them again. The totals include them."
    )
    return "\n".join(lines)


def _times(costs: Row) -> list[str]:
    """Write the times, and the measurements that they come from."""
    hours = (costs["device_hours"][key] for key in ("mean", "low", "high"))
    mean, low, high = (f"{value:,.0f}" if value >= 100 else f"{value:.2g}" for value in hours)
    shards = ", ".join(f"{count}: {duration(3600 * hours)}" for count, hours in costs["hours_by_shards"].items())
    measured = [f"{costs['tokens_per_second']:,.0f} tokens/s"]
    if costs["mean_batch"]:
        measured.append(f"{costs['mean_batch']:.0f} of {costs['max_running']} sequences at once")
    if costs["prompt_tokens_per_rollout"]:
        cached = f"{costs['cached_prompt_share']:.0%} of them cached"
        measured.append(f"{costs['prompt_tokens_per_rollout']:,.0f} prompt tokens a rollout, {cached}")
    return [
        f"  device-hours  {mean} ({low} to {high})",
        f"  wall-clock    by shards, each on its own devices: {shards}",
        f"Measured on {costs['device']}: {'; '.join(measured)}; start-up {duration(costs['startup_seconds'])} a shard.",
        "A sample this small fills the engine less than the annotation will: the rate is a lower bound, and the times "
        "are upper bounds.",
    ]
