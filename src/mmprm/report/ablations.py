"""A comparison of PRM variants as a page and a table. In: the metrics and scores of each variant. Out: HTML and CSV.

All variants rank the same candidates, made from the same policy and trees: what differs is the PRM. So the
variants are compared with the first of them problem by problem (`evaluation.paired`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmprm.config import Ablation, Config
from mmprm.data import tables
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.evaluation.paired import minus_first
from mmprm.report import figures, numbers, results, templates
from mmprm.runtime.errors import UserError

Row = dict[str, Any]
Differences = dict[str, dict[tuple[str, int], Row]]  # variant -> (metric, n) -> value and interval

COLUMNS = (
    *("benchmark", "variant", "by", "setting", "n", "metric", "value", "ci_low", "ci_high"),
    *("minus_first", "minus_first_low", "minus_first_high", "problems", "primary"),
    *("paths", "markers", "updates"),
)
_SCALES = {"learning_rate": "log", "epochs": "linear", "max_paths_per_problem": "log2"}
_AXES = {"learning_rate": "learning rate", "epochs": "epochs", "max_paths_per_problem": "paths a problem, at most"}


@dataclass(frozen=True)
class Ranked:
    """The files of an ablation: problem tables, each called by its source; the candidates in the folder of their
    benchmark; scores.parquet and metrics.json in the folder of their variant below it."""

    problems: Sequence[Path]
    candidates: Sequence[Path]
    scores: Sequence[Path]
    metrics: Sequence[Path]
    manifests: Sequence[Path] = ()  # of the variants' folders, which tell what a training has cost


def write_ablation(config: Config, ablation: str, files: Ranked, page: Path, table: Path) -> None:
    """Write the named ablation's page and its table: COLUMNS, every metric at every N.

    minus_first is the paired difference to the first variant: of what a PRM decides, and of all variants but the first;
    paths, markers (labelled ones) and updates are those of the variant's training, where its manifest is given.
    UserError where a file is missing, or is not what it should be.
    """
    settings = config.ablations[ablation]
    found = read_metrics(files.metrics)
    chosen = [name for name in config.benchmarks if settings.benchmarks is None or name in settings.benchmarks]
    for pair in ((benchmark, variant) for benchmark in chosen for variant in settings.variants):
        _taken(found, pair, f"ablation {ablation}: no metrics of", files.metrics)
    differences = _differences(config, ablation, chosen, files)
    costs = {path.parent.name: _cost(path) for path in files.manifests}
    rows = [
        {"by": settings.by, "setting": _setting(config, settings, variant), **row, **costs.get(variant, {})}
        | _in_columns(differences[benchmark].get(variant, {}).get((row["metric"], row["n"])))
        for benchmark in chosen
        for variant in settings.variants
        for row in found[benchmark, variant]["rows"]
    ]
    tables.write_text(table, _as_csv(rows))
    text = (
        templates.environment(autoescape=True, filters=numbers.FILTERS)
        .get_template("ablation.html.jinja")
        .render(
            title=settings.title,
            name=ablation,
            run=config.run,
            primary=config.bench.primary,
            confidence=f"{100 * config.bench.confidence:g} %",
            recipes=_recipes(config, settings),
            costs=costs,
            parts=[_part(config, settings, name, found, differences[name]) for name in chosen],
        )
    )
    tables.write_text(page, text)


def read_metrics(files: Sequence[Path]) -> dict[tuple[str, str], Row]:
    """(benchmark, variant) -> metrics.json; UserError names a file that is none."""
    found = {}
    for path in files:
        metrics = results.read_json(path)
        if not isinstance(metrics, dict) or not {"benchmark", "variant", "rows"} <= set(metrics):
            raise UserError(f"{path}: not the metrics of a benchmark and variant; delete it and run again")
        found[metrics["benchmark"], metrics["variant"]] = metrics
    return found


def _differences(config: Config, ablation: str, benchmarks: Sequence[str], files: Ranked) -> dict[str, Differences]:
    """By benchmark, what `minus_first` says of the ablation's variants."""
    problems = {path.stem: path for path in files.problems}
    candidates = {path.parent.name: path for path in files.candidates}
    scores = {(path.parent.parent.name, path.parent.name): path for path in files.scores}
    where = f"ablation {ablation}: no"
    return {
        name: minus_first(
            config,
            _taken(problems, config.benchmarks[name].source, f"{where} problems of", files.problems),
            _taken(candidates, name, f"{where} candidates of", files.candidates),
            {
                variant: _taken(scores, (name, variant), f"{where} scores of", files.scores)
                for variant in config.ablations[ablation].variants
            },
        )
        for name in benchmarks
    }


def _cost(manifest: Path) -> Row:
    """What a variant was trained on, and for how long; UserError where its manifest does not say."""
    found = results.read_json(manifest)
    try:
        info = found["info"]
        return {"paths": info["examples"], "markers": info["markers"], "updates": info["steps"]}
    except (KeyError, TypeError) as error:
        raise UserError(f"{manifest}: not the manifest of a PRM; delete it and run again") from error


def _taken(found: Mapping[Any, Any], name: Any, what: str, files: Sequence[Path]) -> Any:
    """The entry of this name; UserError where there is none."""
    if name not in found:
        raise UserError(f"{what} {name} among {[str(path) for path in files]}")
    return found[name]


def _in_columns(difference: Row | None) -> Row:
    if difference is None:
        return {}
    ends = {"minus_first_low": difference["ci_low"], "minus_first_high": difference["ci_high"]}
    return {"minus_first": difference["value"], **ends}


def _setting(config: Config, settings: Ablation, variant: str) -> Any:
    """What the variant has at the key in which the variants differ: its own value, or that of prm.training."""
    if settings.by is None:
        return variant
    if settings.by == "packing":
        return config.prm.packing_of(variant)
    own = getattr(config.prm.variants[variant], settings.by)
    return getattr(config.prm.training, settings.by, None) if own is None else own


def _recipes(config: Config, settings: Ablation) -> list[Row]:
    return [
        {"variant": name, **config.prm.variants[name].model_dump(mode="json", exclude_none=True)}
        | _of_set(config, config.prm.variants[name].label_set)
        for name in settings.variants
    ]


def _of_set(config: Config, label_set: str | None) -> Row:
    """What a label set has otherwise than the run's own labels."""
    return {} if label_set is None else config.labels.changed(label_set)


def _as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _part(
    config: Config, settings: Ablation, benchmark: str, found: dict[tuple[str, str], Row], differences: Differences
) -> Row:
    """One benchmark: a line a variant, and the charts."""
    lines = []
    for variant in settings.variants:
        metrics = found[benchmark, variant]
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
    """The primary aggregate by setting and over N, and all aggregates of all variants."""
    metric, n = f"bon/{primary}", lines[0]["n"]
    charts = []
    if len(lines) > 1:
        charts.append(_by_setting(settings, lines, metric, f"{benchmark}: best of {n} by {primary}"))
    curves = [(line["variant"], line["rows"], metric) for line in lines] + [("random", lines[0]["rows"], "random")]
    over_n = [
        {"n": row["n"], "series": name, "value": row["value"], "low": None, "high": None}
        for name, rows, shown in curves
        for row in rows
        if row["metric"] == shown
    ]
    if n > 1:
        charts.append(figures.accuracy_by_n(over_n, f"{benchmark}: {primary} over N"))
    aggregates = [
        {"name": name, "series": line["variant"], **figures.with_interval(line["at_n"][f"bon/{name}"])}
        for name in AGGREGATES
        for line in lines
    ]
    return [*charts, figures.shares(aggregates, "accuracy (%)", f"{benchmark}: aggregates, best of {n}")]


def _by_setting(settings: Ablation, lines: Sequence[Row], metric: str, title: str) -> str:
    """The metric over a number where all variants have one, else a point a variant."""
    points = [
        {"x": line["setting"], "series": "best of N (PRM)", **figures.with_interval(line["at_n"][metric])}
        for line in lines
    ]
    if settings.by in _AXES and all(isinstance(line["setting"], int | float) for line in lines):
        return figures.curves(points, _AXES[settings.by], "accuracy (%)", title, _SCALES[settings.by])
    names = ["all" if line["setting"] is None else str(line["setting"]) for line in lines]
    named = [{"name": name, **point} for name, point in zip(names, points, strict=True)]
    return figures.shares(named, "accuracy (%)", title)
