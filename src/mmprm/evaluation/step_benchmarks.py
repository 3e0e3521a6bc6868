"""Step benchmarks of a run. In: labelled paths, their problems, a PRM. Out: P(yes) at every marker, and metrics.json.

The threshold is fixed in the configuration or chosen on a development set, never on the test: a development set that
shares a problem with the test is an error. `step_metrics` defines the metrics.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmprm.config import Config
from mmprm.config.evaluation import StepTest
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, problems_by_id
from mmprm.evaluation import step_metrics
from mmprm.evaluation.aggregates import auc
from mmprm.evaluation.candidates import group_of
from mmprm.evaluation.intervals import bootstrap, grouped
from mmprm.prm import score_stamp
from mmprm.problems.image_checks import check_table
from mmprm.runtime.errors import UserError

Row = dict[str, Any]


class Tables(NamedTuple):
    """The files of one step benchmark."""

    problems: Path
    paths: Path
    scores: Path


def score_steps(config: Config, benchmark: str, prm: Path, problems: Path, paths: Path, out: Path) -> None:
    """Write P(yes) at every marker of the benchmark's paths as schemas.STEP_SCORES; raise as score_items does."""
    from mmprm.prm.score_candidates import score_items

    by_id, rows = _read(config.step_benchmarks[benchmark], problems, paths, config.intake.max_image_pixels)
    items = [(by_id[row["problem_id"]], tuple(row["steps"]), row["answer"]) for row in rows]
    scores, usage = score_items(config, prm, items)
    pairs = zip(rows, scores, strict=True)
    scored = [{"path_id": row["path_id"], "probabilities": score.probabilities} for row, score in pairs]
    made_for = {score_stamp.OF: score_stamp.digest(rows, "path_id")}
    tables.write(out, scored, schemas.STEP_SCORES.with_metadata(made_for))
    tables.write_json(tables.usage_path(out), usage)


def measure_steps(
    config: Config, benchmark: str, variant: str, test: Tables, development: Tables | None, out: Path
) -> None:
    """Write {rows, threshold, …} of one step benchmark and one PRM.

    A row is {benchmark, variant, subset, metric, value, ci_low, ci_high, primary}; `subset` is `all`, a subset's name
    or `mean of subsets`; a value that is not defined (no wrong step in a subset) is null. Intervals are over problems,
    at the fixed threshold. UserError where the development set shares problems with the test, or scores do not fit.
    """
    settings = config.step_benchmarks[benchmark]
    problems, judged, n_paths = _judged(config, settings, test)
    chosen_on = None
    if settings.threshold is not None:
        threshold = settings.threshold
    elif settings.development is None:
        threshold, chosen_on = step_metrics.choose_threshold(judged, settings.metric), benchmark
    elif development is None:
        raise UserError(f"step_benchmarks.{benchmark}: --development needs the tables of {settings.development!r}")
    else:
        others, other_paths, _ = _judged(config, config.step_benchmarks[settings.development], development)
        _refuse_shared(problems, others, benchmark, settings.development)
        threshold, chosen_on = step_metrics.choose_threshold(other_paths, settings.metric), settings.development
    rows = _rows(config, judged, threshold, settings.metric)
    names = {"benchmark": benchmark, "variant": variant}
    read = [path for path in judged if path.p is not None]
    labels = np.concatenate([path.right for path in judged])
    p = np.concatenate([path.p for path in read if path.p is not None] or [np.empty(0)])
    metrics = {
        "metric": settings.metric,
        "development": settings.is_development,
        "threshold": threshold,
        "threshold_chosen_on": chosen_on,
        "n_problems": len(problems),
        "n_groups": len({path.group for path in judged}),
        "n_paths": len(judged),
        "n_paths_without_labels": n_paths - len(judged),
        "n_paths_too_long": len(judged) - len(read),
        "n_steps": len(labels),
        "n_wrong_steps": int((~labels).sum()),
        "auc_steps": auc(p.tolist(), np.concatenate([path.right for path in read] or [labels[:0]]).tolist()),
        "confidence": config.bench.confidence,
        "resamples": config.bench.resamples,
        "rows": [names | row for row in rows],
    }
    tables.write_json(out, names | metrics)


def _rows(config: Config, judged: Sequence[step_metrics.JudgedPath], threshold: float, primary: str) -> list[Row]:
    """Compute the metrics of all paths, and where there are several subsets, of each and their mean."""
    names = sorted({path.subset for path in judged})
    each = step_metrics.tallies(judged, threshold)
    wide = np.zeros((len(judged), len(names), each.shape[1]))
    wide[np.arange(len(judged)), [names.index(path.subset) for path in judged]] = each
    totals = grouped(wide.reshape(len(judged), -1), [path.group for path in judged])
    bench = config.bench
    values, low, high = bootstrap(totals, step_metrics.by_subset, bench.confidence, bench.resamples, config.seed)
    subsets = ["all", *names, "mean of subsets"] if len(names) > 1 else ["all"]
    rows: list[Row] = []
    for (subset, metric), *ends in zip(product(subsets, step_metrics.METRICS), values, low, high, strict=False):
        value, ci_low, ci_high = (None if math.isnan(end) else float(end) for end in ends)
        row = {"subset": subset, "metric": metric, "value": value, "ci_low": ci_low, "ci_high": ci_high}
        rows.append(row | {"primary": metric == primary and subset == "all"})
    return rows


def _read(settings: StepTest, problems: Path, paths: Path, max_pixels: int) -> tuple[dict[str, Problem], list[Row]]:
    """Read the problems by id and the paths of the split; UserError where labels or a problem are missing."""
    by_id = problems_by_id(problems)
    if not settings.problems.startswith("<results>"):  # no intake has checked it
        check_table(by_id.values(), problems, max_pixels)
    rows = [row for row in tables.read_rows(paths, schemas.PATHS) if settings.split in (None, row["split"])]
    if not rows:
        raise UserError(f"{paths}: no path" + (f" of split {settings.split!r}" if settings.split else ""))
    for row in rows:
        if row["problem_id"] not in by_id:
            raise UserError(f"{paths}: path {row['path_id']}: problem {row['problem_id']!r} is not in {problems}")
        markers = len(row["steps"]) + (row["answer"] is not None)
        if len(row["hard"]) != markers:
            raise UserError(f"{paths}: path {row['path_id']} has {len(row['hard'])} labels for {markers} markers")
    return by_id, rows


def _judged(
    config: Config, settings: StepTest, files: Tables
) -> tuple[dict[str, Problem], list[step_metrics.JudgedPath], int]:
    """Return the problems that have labelled paths, these paths as arrays, and the number of all paths."""
    by_id, rows = _read(settings, files.problems, files.paths, config.intake.max_image_pixels)
    table = tables.read_rows(files.scores, schemas.STEP_SCORES)
    if not score_stamp.fits(files.scores, score_stamp.digest(rows, "path_id")):
        raise UserError(f"{files.scores}: made for other paths, whose steps or answers differ: delete it and run again")
    by_path = {row["path_id"]: row["probabilities"] or [] for row in table}
    judged, problems = [], {}
    for row in rows:
        name = row["path_id"]
        if name not in by_path:
            raise UserError(f"{files.scores}: path {name} is missing: remake the scores")
        p = np.array(by_path[name], dtype=np.float64)
        if len(p) not in (0, len(row["hard"])) or not ((p >= 0) & (p <= 1)).all():  # false for NaN too
            raise UserError(f"{files.scores}: path {name}: not a probability a marker: remake the scores")
        known = np.array([label is not None for label in row["hard"]])
        if known.any():
            problem = by_id[row["problem_id"]]
            problems[problem.problem_id] = problem
            right = np.array([label == 1 for label in row["hard"]])[known]
            p_known = p[known] if len(p) else None
            judged.append(step_metrics.JudgedPath(group_of(problem), problem.family or "", right, p_known))
    if not judged:
        raise UserError(f"{files.paths}: no path has a label")
    return problems, judged, len(rows)


def _refuse_shared(test: Mapping[str, Problem], other: Mapping[str, Problem], name: str, development: str) -> None:
    """Raise UserError where a problem is in both: by its id, its group, or its question with images."""

    def marks(problem: Problem) -> set[str]:
        digest = hashlib.sha256("\x1f".join([problem.question, *problem.choices]).encode())
        for image in problem.images:
            digest.update(hashlib.sha256(image).digest())
        return {f"id {problem.problem_id}", f"group {group_of(problem)}", digest.hexdigest()}

    marked = {mark: problem for problem in test.values() for mark in marks(problem)}
    shared = [(marked[mark], problem) for problem in other.values() for mark in marks(problem) if mark in marked]
    if shared:
        ours, theirs = shared[0]
        count = len({theirs.problem_id for _, theirs in shared})
        raise UserError(
            f"step_benchmarks.{name}.development: {count} problems of {development!r} are in the test, as "
            f"{theirs.problem_id!r} is ({ours.problem_id!r} there): a threshold chosen on them would be chosen on the "
            "test; take them out of one of the two"
        )
