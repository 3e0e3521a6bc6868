"""A comparison of PRM variants as a page and a table. In: the metrics and scores of each variant. Out: HTML and CSV.

All variants rank the same candidates, made from the same policy and trees: what differs is the PRM. So the
variants are compared with the first of them problem by problem (`measure.minus_first`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from mmprm.config import Config
from mmprm.config.evaluation import Ablation
from mmprm.data import tables
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.evaluation.measure import minus_first
from mmprm.report import figures, results
from mmprm.report.results import Row
from mmprm.report.templates import render_template
from mmprm.runtime.errors import UserError

Differences = dict[str, dict[tuple[str, int], Row]]  # variant -> (metric, n) -> value and interval

COLUMNS = (
    *("benchmark", "variant", "by", "setting", "n", "metric", "value", "ci_low", "ci_high"),
    *("minus_first", "minus_first_low", "minus_first_high", "problems", "primary"),
    *("paths", "markers", "updates"),
    *("trainings", "lowest", "highest", "sd"),
)
_SCALES = {"learning_rate": "log", "epochs": "linear", "max_paths_per_problem": "log2"}
_AXES = {"learning_rate": "learning rate", "epochs": "epochs", "max_paths_per_problem": "paths a problem, at most"}


@dataclass(frozen=True)
class Ranked:
    """The files of an ablation: problem tables, each named by its source; the candidates in the folder of their
    benchmark; in folders below it scores.parquet of each training, and metrics.json of each variant (of several
    trainings: trainings.json)."""

    problems: Sequence[Path]
    candidates: Sequence[Path]
    scores: Sequence[Path]
    metrics: Sequence[Path]
    manifests: Sequence[Path] = ()  # in the variants' folders, with what a training has cost


def write_ablation(config: Config, ablation: str, files: Ranked, page: Path, table: Path) -> None:
    """Write the named ablation's page and its table: COLUMNS, every metric at every N.

    minus_first is the paired difference to the first variant, for all variants but the first; paths, markers (labelled
    ones) and updates are those of the variant's first training, where its manifest is given; values and intervals are
    over `trainings`, whose lowest, highest and sd follow where there are several. Raises UserError where a file is
    missing or is not of its kind.
    """
    settings = config.ablations[ablation]
    metrics = read_metrics(files.metrics)
    benchmarks = [name for name in config.benchmarks if settings.benchmarks is None or name in settings.benchmarks]
    for pair in ((benchmark, variant) for benchmark in benchmarks for variant in settings.variants):
        _entry(metrics, pair, f"ablation {ablation}: no metrics of", files.metrics)
    differences = _differences(config, ablation, benchmarks, files)
    costs = {path.parent.name: _cost(path) for path in files.manifests}
    rows = [
        {"by": settings.by, "setting": _setting(config, settings, variant), "trainings": 1}
        | {**row, **costs.get(variant, {})}
        | _in_columns(differences[benchmark].get(variant, {}).get((row["metric"], row["n"])))
        for benchmark in benchmarks
        for variant in settings.variants
        for row in metrics[benchmark, variant]["rows"]
    ]
    # As objects: a column of integers with gaps stays one of integers.
    cells = [{name: no_formula(cell) for name, cell in row.items()} for row in rows]
    tables.write_text(table, pd.DataFrame(cells, columns=COLUMNS, dtype=object).to_csv(index=False))
    text = render_template(
        "ablation.html.jinja",
        title=settings.title,
        name=ablation,
        run=config.run,
        primary=config.bench.primary,
        confidence=f"{100 * config.bench.confidence:g} %",
        replicates=config.prm.replicates,
        recipes=[_recipe(config, variant) for variant in settings.variants],
        costs=costs,
        parts=[_part(config, settings, name, metrics, differences[name]) for name in benchmarks],
    )
    tables.write_text(page, text)


def no_formula(cell: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would run."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def read_metrics(files: Sequence[Path]) -> dict[tuple[str, str], Row]:
    """Return (benchmark, variant) -> metrics.json; UserError names a file that is not one."""
    by_pair = {}
    for path in files:
        metrics = results.read_json(path)
        if metrics is None or not {"benchmark", "variant", "rows"} <= set(metrics):
            raise UserError(f"{path}: not the metrics of a benchmark and variant; delete it and run again")
        by_pair[metrics["benchmark"], metrics["variant"]] = metrics
    return by_pair


def _differences(config: Config, ablation: str, benchmarks: Sequence[str], files: Ranked) -> dict[str, Differences]:
    """Return for each benchmark the paired differences of the ablation's variants to the first."""
    problems = {path.stem: path for path in files.problems}
    candidates = {path.parent.name: path for path in files.candidates}
    scores = {(path.parent.parent.name, path.parent.name): path for path in files.scores}
    missing = f"ablation {ablation}: no"
    return {
        name: minus_first(
            config,
            _entry(problems, config.benchmarks[name].source, f"{missing} problems of", files.problems),
            _entry(candidates, name, f"{missing} candidates of", files.candidates),
            {
                variant: [
                    _entry(scores, (name, model), f"{missing} scores of", files.scores)
                    for model in config.prm.models_of(variant)
                ]
                for variant in config.ablations[ablation].variants
            },
        )
        for name in benchmarks
    }


def _cost(manifest: Path) -> Row:
    """Return what a variant was trained on, and for how many updates; UserError where its manifest does not say."""
    try:
        info = results.read_json(manifest)["info"]
        return {"paths": info["examples"], "markers": info["markers"], "updates": info["steps"]}
    except (KeyError, TypeError) as error:
        raise UserError(f"{manifest}: not the manifest of a PRM; delete it and run again") from error


def _entry(by_name: Mapping[Any, Any], name: Any, missing: str, files: Sequence[Path]) -> Any:
    """Return the entry of this name; UserError where there is none."""
    if name not in by_name:
        raise UserError(f"{missing} {name} among {[str(path) for path in files]}")
    return by_name[name]


def _in_columns(difference: Row | None) -> Row:
    if difference is None:
        return {}
    ends = {"minus_first_low": difference["ci_low"], "minus_first_high": difference["ci_high"]}
    return {"minus_first": difference["value"], **ends}


def _setting(config: Config, settings: Ablation, variant: str) -> Any:
    """Return the value of the key in which the variants differ: the variant's own, or that of prm.training."""
    if settings.by is None:
        return variant
    if settings.by == "packing":
        return config.prm.packing_of(variant)
    value = getattr(config.prm.variants[variant], settings.by)
    return getattr(config.prm.training, settings.by, None) if value is None else value


def _recipe(config: Config, variant: str) -> Row:
    """Return the variant's own settings, and those in which its label set differs from the run's labels."""
    settings = config.prm.variants[variant]
    changed = {} if settings.label_set is None else config.labels.changed(settings.label_set)
    return {"variant": variant, **settings.model_dump(mode="json", exclude_none=True)} | changed


def _part(
    config: Config,
    settings: Ablation,
    benchmark: str,
    all_metrics: Mapping[tuple[str, str], Row],
    differences: Differences,
) -> Row:
    """Return the part on one benchmark: a line for each variant, and the charts."""
    lines = []
    for variant in settings.variants:
        metrics = all_metrics[benchmark, variant]
        n = max(row["n"] for row in metrics["rows"])
        lines.append(
            {
                "variant": variant,
                "setting": _setting(config, settings, variant),
                "n": n,
                "at_n": {row["metric"]: row for row in metrics["rows"] if row["n"] == n},
                "minus_first": differences.get(variant, {}).get((f"bon/{config.bench.primary}", n)),
                "rows": metrics["rows"],
                "auc": (metrics.get("auc_within_problem") or {}).get(config.bench.primary),
            }
        )
    domain = config.benchmarks[benchmark].domain
    return {
        "benchmark": benchmark,
        "domain": domain.replace("_", " "),
        "development": domain == "development",
        "n": lines[0]["n"],
        "problems": lines[0]["at_n"]["random"].get("problems"),
        "aggregates": list(AGGREGATES),
        "lines": lines,
        "charts": [Markup(chart) for chart in _charts(config.bench.primary, settings, benchmark, lines)],
    }


def _charts(primary: str, settings: Ablation, benchmark: str, lines: Sequence[Row]) -> list[str]:
    """Draw the primary aggregate by setting and over N, and all aggregates of all variants."""
    metric, n = f"bon/{primary}", lines[0]["n"]
    charts = []
    if len(lines) > 1:
        charts.append(_by_setting(settings, lines, metric, f"{benchmark}: best of {n} by {primary}"))
    curves = [(line["variant"], line["rows"], metric) for line in lines] + [("random", lines[0]["rows"], "random")]
    over_n = [
        {"x": row["n"], "series": name, "value": row["value"], "low": None, "high": None}
        for name, rows, shown in curves
        for row in rows
        if row["metric"] == shown
    ]
    if n > 1:
        charts.append(figures.curves(over_n, "candidates (N)", "accuracy (%)", f"{benchmark}: {primary} over N"))
    aggregates = [
        {"name": name, "series": line["variant"], **figures.with_interval(line["at_n"][f"bon/{name}"])}
        for name in AGGREGATES
        for line in lines
    ]
    return [*charts, figures.shares(aggregates, "accuracy (%)", f"{benchmark}: aggregates, best of {n}")]


def _by_setting(settings: Ablation, lines: Sequence[Row], metric: str, title: str) -> str:
    """Draw the metric over the setting where it is a number for all variants, else a point for each variant."""
    points = [
        {"x": line["setting"], "series": "best of N (PRM)", **figures.with_interval(line["at_n"][metric])}
        for line in lines
    ]
    if settings.by in _AXES and all(isinstance(line["setting"], int | float) for line in lines):
        return figures.curves(points, _AXES[settings.by], "accuracy (%)", title, _SCALES[settings.by])
    names = ["all" if line["setting"] is None else str(line["setting"]) for line in lines]
    named = [{"name": name, **point} for name, point in zip(names, points, strict=True)]
    return figures.shares(named, "accuracy (%)", title)
