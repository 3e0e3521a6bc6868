"""The plan of all stages. In: plan.json of the annotation, what earlier stages took. Out: the same with `stages`.

`basis` says where the numbers of a stage are from: spent (it has run), measured (a sample of it has run), scaled (from
what training and sampling took on this machine), or calculated (by `costs`, from the base's size). Ranges of `scaled`
are of what differs between the stages: the lengths of their sequences, the batches, and how many paths there will be.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.data import tables
from mmprm.preflight.costs import Cost
from mmprm.preflight.examine import examine
from mmprm.preflight.ranges import Range
from mmprm.preflight.rows import count_rows
from mmprm.preflight.table import amount, columns

Json = dict[str, Any]
# What a path costs beside a solution that the policy was trained on: it is shorter or as long, and read as slowly or,
# with few labels, somewhat faster; as a branch of a tree it shares most of its tokens.
_PATH = Range(0.3, 1.3)
_TREE = Range(0.1, 1.0)
_RATE = Range(0.8, 3.0)  # of a full engine, beside that of the plan's few problems
# Of a benchmark's solutions, beside those of the seeds' problems; another domain's may be others (mini: 1.45).
_LENGTH, _FAR_LENGTH = Range(0.75, 1.3), Range(0.6, 2.0)
_READ = Range(2, 30)  # tokens that a scorer reads in the time in which an engine writes one


@dataclass(frozen=True)
class Planned:
    """A stage of the plan; `hours` are of devices."""

    basis: str
    work: str
    tokens: Range | None
    hours: Range | None

    def as_dict(self) -> Json:
        """Return it for plan.json."""
        return {
            "basis": self.basis,
            "work": self.work,
            "tokens": self.tokens.as_dict() if self.tokens else None,
            "device_hours": self.hours.as_dict(4) if self.hours else None,
        }


def plan_stages(config: Config, policy: Path, seeds: Path, out: Path) -> None:
    """Add the plan of every stage to the annotation's plan in `out` (JSON), and print it as a table."""
    measured: Json = json.loads(out.read_text(encoding="utf-8"))
    results = out.parent
    examination = examine(config)
    calculated = {cost.stage: cost for cost in examination.costs(results)}
    trained = _read(policy / "manifest.json").get("info", {})
    pool = _sum([_read(path) for path in sorted((seeds.parent).glob("*/rollouts.parquet.usage.json"))])
    stages = {
        "policy": _policy(config, trained, calculated.get("policy")),
        "seeds": _seeds(config, pool, calculated.get("seeds")),
        "annotation": _annotation(measured),
    }
    for name in config.prm.trained:
        stages[f"prm {name}"] = _prm(config, name, trained, measured["problems"], calculated.get(f"prm {name}"))
    for name in config.benchmarks:
        stages[f"bench {name}"] = _bench(config, name, results, pool, measured, calculated.get(f"bench {name}"))
    measured["stages"] = {name: stage.as_dict() for name, stage in stages.items()}
    tables.write_json(out, measured)
    print(describe_stages(stages), flush=True)


def describe_stages(stages: dict[str, Planned]) -> str:
    """Write the plan of all stages as a table."""
    rows: list[tuple[str, ...]] = [("All stages", "tokens", "device-hours", "basis", "")]
    total = Range(0, 0)
    for name, stage in stages.items():
        rows.append((f"  {name}", amount(stage.tokens), amount(stage.hours), stage.basis, stage.work))
        total = total + (stage.hours or 0.0)
    if total.high:
        rows.append(("  all that is known", "", amount(total), "", ""))
    return "\n".join(columns(rows))


def _read(path: Path) -> Json:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _sum(usages: list[Json]) -> Json:
    """Add up the numbers of several usage files."""
    total: Json = {}
    for usage in usages:
        for key, value in usage.items():
            if isinstance(value, int | float):
                total[key] = total.get(key, 0) + value
    return total


def _of(cost: Cost | None, work: str) -> Planned:
    """Return what `costs` has calculated for a stage."""
    if cost is None:
        return Planned("unknown", work, None, None)
    return Planned("calculated" if cost.tokens else "unknown", cost.why or cost.work, cost.tokens, cost.hours)


def _policy(config: Config, trained: Json, cost: Cost | None) -> Planned:
    seconds, examples = trained.get("seconds"), trained.get("examples")
    if not seconds or not examples:
        return _of(cost, "fine-tuning")
    hours = seconds * max(1, config.policy.training.gpus) / 3600
    work = f"fine-tuning on {examples:,} solutions"
    return Planned("spent", work, cost.tokens if cost else None, Range(hours, hours))


def _seeds(config: Config, pool: Json, cost: Cost | None) -> Planned:
    if not pool.get("generated_tokens"):
        return _of(cost, "rollouts that choose seeds")
    hours = pool["seconds"] * config.engine.tensor_parallel / 3600
    tokens = float(pool["generated_tokens"])
    return Planned("spent", f"{pool['completions']:,} rollouts", Range(tokens, tokens), Range(hours, hours))


def _annotation(measured: Json) -> Planned:
    tokens, hours = measured["tokens"], measured["device_hours"]
    work = f"tree search of {measured['problems']:,} problems"
    spent = Range(hours["low"], hours["high"]) if hours else None
    return Planned("measured", work, Range(tokens["low"], tokens["high"]), spent)


def _prm(config: Config, name: str, trained: Json, problems: int, cost: Cost | None) -> Planned:
    """Scale what the policy's training took of a solution to the paths of a variant."""
    variant, training = config.prm.variants[name], config.prm.training_of(name)
    seconds, seen = trained.get("seconds"), trained.get("examples", 0) * config.policy.training.epochs
    if config.policy.training.max_steps:
        seen = min(seen, config.policy.training.max_steps * config.policy.training.batch_size)
    low, high = config.expected.paths
    most = variant.max_paths_per_problem or high
    paths = Range(min(low, most), min(high, most)) * float(problems) * (1 - config.labels.dev_share)
    passes = paths * training.epochs
    if training.max_steps and training.batch_labels is None:
        passes = passes.at_most(training.max_steps * training.batch_size)
    if not seconds or not seen:
        return _of(cost, "training")
    a_path = _TREE if config.prm.packing_of(name) == "trees" else _PATH
    times = config.prm.replicates
    hours = passes * float(times) * a_path * (seconds / seen * max(1, config.policy.training.gpus) / 3600)
    work = "training" if times == 1 else f"{times} trainings"
    return Planned("scaled", f"{work} on {amount(paths)} paths", cost.tokens if cost else None, hours)


def _bench(config: Config, name: str, results: Path, pool: Json, measured: Json, cost: Cost | None) -> Planned:
    """Scale the rollouts that chose seeds to a benchmark's candidates, and those to their scores by every variant."""
    problems = count_rows(config, config.benchmarks[name].source, results)
    rate = measured["tokens_per_second"]
    if problems is None or not pool.get("completions") or not rate:
        return _of(cost, "candidates and scores")
    candidates = problems * config.bench.n
    length = _LENGTH if config.benchmarks[name].domain != "out_of_domain" else _FAR_LENGTH
    new = length * (candidates * pool["generated_tokens"] / pool["completions"])
    new = new.at_most(candidates * config.sampling.max_new_tokens)
    prompts = candidates * pool.get("prompt_tokens", 0) / pool["completions"]
    models = len(config.prm.models)
    sampling = new / (_RATE * rate)
    scoring = (new + Range(0.1 * prompts, prompts)) / (_READ * rate) * float(models)
    starts = config.shards.bench + models * 2  # scorers, and transformers beside each
    start = Range(0.3, 2.0) * (measured["startup_seconds"] * starts)
    hours = (sampling + scoring + start) * (config.engine.tensor_parallel / 3600)
    work = f"{candidates:,} candidates, scored by {models} PRMs"
    return Planned("scaled", work, new, hours)
