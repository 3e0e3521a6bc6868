"""Measure how well a PRM chooses. In: problems, candidates, scores. Out: `metrics.json`, and the run's `summary.json`.

All values are fractions in [0, 1], averaged over problems; differences are in [-1, 1]. A summary row is
{benchmark, variant, n, metric, value, ci_low, ci_high, problems, primary}: `n` candidates a problem, `primary` for the
rows of `bench.primary`, the aggregate that was fixed beforehand. `selection_rules` defines the metrics. A variant of
several trainings (prm.replicates) has its rows over them, with {trainings, lowest, highest, sd}.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmprm.config import Config
from mmprm.config.training import split_model
from mmprm.data import tables
from mmprm.evaluation.candidates import Row, candidates_by_problem, candidates_of, join_scores
from mmprm.evaluation.selection_rules import per_problem, selection_metrics
from mmprm.evaluation.trainings import measured
from mmprm.runtime.errors import UserError

_RULES = ("bon", "weighted_majority")  # what a PRM decides; two PRMs have the baselines in common


def measure(
    config: Config,
    benchmark: str,
    variant: str,
    problems: Path,
    candidates: Path,
    scores: Path,
    out: Path,
    outcome: Sequence[Path] = (),
) -> None:
    """Write the metrics of one benchmark and variant; UserError names what is missing or broken, and where.

    outcome: score tables of the same candidates by variants that were trained on outcomes alone, each named by its
    folder, bench/<benchmark>/<variant>/scores.parquet: the outcome-reward baseline.
    """
    measure_trainings(config, benchmark, variant, problems, candidates, [scores], out, outcome)


def measure_trainings(
    config: Config,
    benchmark: str,
    variant: str,
    problems: Path,
    candidates: Path,
    scores: Sequence[Path],
    out: Path,
    outcome: Sequence[Path] = (),
) -> None:
    """Write the metrics of one benchmark and all trainings of a variant, as `measure` does of one; it raises the same.

    scores, outcome: of every training, each in a folder of its name, soft, soft@1, …; those with one number are of one
    training each. What is written more is in `selection_rules.selection_metrics`.
    """
    by_id, rows = candidates_by_problem(problems, candidates)
    n = config.bench.n
    for name, group in rows.items():
        if [row["candidate"] for row in group] != list(range(n)):
            raise UserError(
                f"{candidates}: problem {name!r} has {len(group)} candidates, not 0 to {n - 1}; "
                "is a shard missing, or was bench.n changed? Remake the candidates"
            )
    variants = list(dict.fromkeys(_training(path)[0] for path in outcome))
    first, *others = (_with_scores(rows, path, [one for one in outcome if _is_of(one, path)]) for path in scores)
    try:
        kind = config.sources[config.tests[benchmark].source].kind
        metrics = selection_metrics(by_id, first, config.bench, n, config.seed, variants, kind, others)
    except UserError as error:
        raise UserError(f"{candidates}: {error}") from error
    names = {"benchmark": benchmark, "variant": variant}
    metrics["rows"] = [names | row for row in metrics["rows"]]
    tables.write_json(out, names | {"domain": config.tests[benchmark].domain} | metrics)


def _training(scores: Path) -> tuple[str, int]:
    """Return the variant and the number of the training whose scores these are."""
    return split_model(scores.parent.name)


def _is_of(outcome: Path, scores: Path) -> bool:
    return _training(outcome)[1] == _training(scores)[1]


def _with_scores(rows: Mapping[str, Sequence[Row]], scores: Path, outcome: Sequence[Path]) -> dict[str, list[Row]]:
    """Return the candidates with a PRM's probabilities, and with those of outcome variants."""
    joined = join_scores(rows, scores)
    for path in outcome:
        joined = join_scores(joined, path, f"outcome/{_training(path)[0]}")
    return joined


def summarise(config: Config, metrics: list[Path], out: Path) -> None:
    """Write all summary rows of the run, in the order of the configuration's benchmarks and variants."""
    rows: list[Row] = []
    for path in metrics:
        try:
            rows += json.loads(path.read_text(encoding="utf-8"))["rows"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not the metrics of this version ({error!r}); delete it and run again") from error
    order = {name: index for index, name in enumerate([*config.benchmarks, *config.prm.variants])}
    rows.sort(key=lambda row: (order.get(row["benchmark"], -1), order.get(row["variant"], -1)))
    tables.write_json(out, rows)


def minus_first(
    config: Config, problems: Path, candidates: Path, scores: Mapping[str, Sequence[Path]]
) -> dict[str, dict[tuple[str, int], Row]]:
    """Compare all PRMs but the first with the first: name -> (metric, n) -> {value, ci_low, ci_high} of the difference.

    scores: tables of schemas.SCORES by name, one a training, of every name as many. The metrics are bon/… and
    weighted_majority… (see `selection_rules`), differences are in [-1, 1]. Intervals are over problems, those that
    share an image as one, on the same resamples as the benchmark's own; of several trainings they are over both, each
    training being paired with the first PRM's of the same number. As their draws are independent, other pairs would
    have the same mean. Raises UserError where no problem has a verdict, or a candidate has no score.
    """
    first, *others = scores
    if not others:
        return {}
    bench = config.bench
    by_id, rows = candidates_by_problem(problems, candidates)
    values: dict[str, np.ndarray] = {}  # (trainings, metrics, problems)
    groups: list[str] = []
    keys: list[tuple[str, int]] = []
    for name, paths in scores.items():
        each = []
        for path in paths:
            every = [candidates_of(by_id[problem], group) for problem, group in join_scores(rows, path).items()]
            counted = [problem for problem in every if problem is not None]  # by verdicts alone: the same for every PRM
            if not counted:
                raise UserError(f"{candidates}: no problem has a graded candidate; was the grader working?")
            groups = [problem.group for problem in counted]
            metrics = per_problem(counted, bench.n, bench.primary, config.seed)
            keys = [key for key in metrics if key[0].partition("/")[0] in _RULES]
            each.append(np.stack([metrics[key] for key in keys]))
        values[name] = np.stack(each)
    compared = {}
    for name in others:
        differences = values[name] - values[first]
        paired = [True] * differences.shape[1]
        found = measured(differences, bench.confidence, bench.resamples, config.seed, groups, paired)
        compared[name] = dict(zip(keys, found, strict=True))
    return compared
