"""The sections on what a PRM chooses: Best-of-N beside random, votes and oracle, and step benchmarks.

In: bench/, steps/. Out: tables, charts.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup

from mmprm.config import Config
from mmprm.evaluation.few_problems import FEW
from mmprm.evaluation.selection_rules import weight_of
from mmprm.report import figures
from mmprm.report.results import Row, read_json
from mmprm.report.templates import ReportExtra

BASELINES = {
    "random": "a random pick",
    "random_parsed": "a random pick of those that parse",
    "majority": "majority voting",
}
STEP_METRICS = ("first_error", "accuracy_wrong", "accuracy_right", "macro_f1", "f1_right", "f1_wrong")
# Lines of the result table; what is not named here comes before the oracle.
_ORDER = {name: rank for rank, name in enumerate([*BASELINES, "weighted_majority", "orm", "bon", "", "oracle"])}
_DOMAINS = {"in_domain": "in-domain", "out_of_domain": "out-of-domain", "development": "development"}


def results_at_largest_n(
    config: Config,
    folder: Path,
    extras: Sequence[ReportExtra] = (),
    charts: bool = True,
    sealed: str | None = None,
    legend: bool = False,
) -> list[Row]:
    """Return for each measured benchmark and variant its rows at the largest N by metric, and its chart over N.

    sealed: a sealed test, of which alone the rows are returned; by default those of all other benchmarks. legend: of
    each chart, where the page has none for all.
    """
    tests = config.benchmarks if sealed is None else {sealed: config.sealed[sealed]}
    metrics = _benchmark_metrics(config, folder, tests)
    summary = None if sealed else read_json(folder / "bench" / "summary.json", list)
    if summary is None:
        summary = [row for entry in metrics.values() for row in entry.get("rows", [])]
    entries = []
    for benchmark, settings in tests.items():
        for variant in config.prm.variants:
            rows = [row for row in summary if (row["benchmark"], row["variant"]) == (benchmark, variant)]
            if not rows:
                continue
            n = max(row["n"] for row in rows)
            at_n = {row["metric"]: row for row in rows if row["n"] == n}
            additions = (extra.below_benchmark(folder, benchmark, variant) for extra in extras)
            entries.append(
                {
                    "benchmark": benchmark,
                    "variant": variant,
                    "domain": _DOMAINS[settings.domain],
                    "development": settings.domain == "development",
                    "n": n,
                    "trainings": _trainings(config, variant, rows),
                    "problems": next((row["problems"] for row in rows if row.get("problems") is not None), None),
                    "metrics": metrics.get((benchmark, variant), {}),
                    "at_n": at_n,
                    "table": _table(at_n, config.bench.primary),
                    "falls": [row for row in rows if row["metric"].startswith("bon_minus_fewer/") and row["value"] < 0],
                    "chart": _chart_over_n(rows, config.bench.primary, f"{benchmark}, PRM {variant}", legend)
                    if charts
                    else None,
                    "by_kind": _by_kind(metrics.get((benchmark, variant), {}), config.bench.primary),
                    "official": _official(metrics.get((benchmark, variant), {}).get("official") or []),
                    "extras": [text for text in additions if text],
                }
            )
    return entries


def _official(rows: Sequence[Row]) -> Row | None:
    """Return the choices and score -> their values of official scores; None for a benchmark that has none."""
    choices = list(dict.fromkeys(row["choice"] for row in rows))
    scores: dict[str, Row] = {row["score"]: {} for row in rows}
    for row in rows:
        scores[row["score"]][row["choice"]] = row
    by_score = {score: [of.get(choice) for choice in choices] for score, of in scores.items()}
    named = [choice.replace("bon/", "PRM, ") for choice in choices]
    return {"choices": named, "scores": by_score} if rows else None


def _trainings(config: Config, variant: str, rows: Iterable[Row]) -> int:
    """Return how many trainings the rows are of; 0 for a PRM that others published."""
    if config.prm.variants[variant].external:
        return 0
    return next((int(row["trainings"]) for row in rows if "trainings" in row), 1)


_BY_KIND = {"family": "family", "answer_type": "type of answer"}


def _by_kind(metrics: Row, primary: str) -> list[Row]:
    """Return a table for each key by which problems are told apart: {key, lines: [{kind, problems, cells, minus}]}."""
    rules = ("random", f"bon/{primary}", "majority", "weighted_majority", "oracle")
    tables = []
    for key, name in _BY_KIND.items():
        lines = [
            {
                "kind": row["kind"] or "–",
                "problems": row["problems"],
                "cells": [row[rule] for rule in rules],
                "minus": [row[f"bon_minus_{other}/{primary}"] for other in ("random", "majority")],
            }
            for row in metrics.get("by_kind") or []
            if row["key"] == key
        ]
        tables += [{"key": name, "lines": lines}] if lines else []
    return tables


def _benchmark_metrics(config: Config, folder: Path, tests: Iterable[str]) -> dict[tuple[str, str], Row]:
    """Read metrics.json (of several trainings: trainings.json) of each benchmark and variant that has one."""
    return {
        (benchmark, variant): {"benchmark": benchmark, "variant": variant, **metrics}
        for benchmark in tests
        for variant in config.prm.variants
        if (metrics := read_json(folder / "bench" / benchmark / variant / config.prm.measures)) is not None
    }


def _table(at_n: dict[str, Row], primary: str) -> list[Row]:
    """Return the lines of the result table: baselines, votes, outcome models, aggregates with differences, the oracle.

    A vote by the weights of the line `weighted majority` itself is not shown twice.
    """
    values = [name for name in at_n if "_minus_" not in name]
    lines = []
    for name in sorted(values, key=lambda name: _ORDER.get(name.partition("/")[0], len(_ORDER) - 1)):
        kind, _, aggregate = name.partition("/")
        if kind == "weighted_majority" and "weighted_majority" in at_n and aggregate == weight_of(primary):
            continue
        suffix = f"/{aggregate}" if aggregate else ""
        lines.append(
            {
                "name": aggregate or name.replace("_", " "),
                "what": kind if aggregate else "",
                "primary": name == f"bon/{primary}",
                "metric": name,
                "row": at_n[name],
                "minus": {other: at_n.get(f"{kind}_minus_{other}{suffix}") for other in BASELINES},
            }
        )
    return lines


def _chart_over_n(rows: Sequence[Row], primary: str, title: str, legend: bool) -> Markup | None:
    names = {"random": "random", "majority": "majority", "weighted_majority": "weighted majority"}
    names |= {f"bon/{primary}": "best of N (PRM)", "oracle": "oracle"}
    shown = [
        {
            "x": row["n"],
            "series": names[row["metric"]],
            "value": row["value"],
            # Five overlapping bands cannot be read: the PRM's alone is drawn.
            "low": row.get("ci_low") if row["metric"].startswith("bon/") else None,
            "high": row.get("ci_high") if row["metric"].startswith("bon/") else None,
        }
        for name in names
        for row in rows
        if row["metric"] == name and row["value"] is not None
    ]
    return (
        Markup(
            figures.curves(shown, "candidates (N)", "accuracy (%)", title, width=330 if legend else 230, legend=legend)
        )
        if len({row["x"] for row in shown}) > 1
        else None
    )


def headline(entry: Row) -> Row | None:
    """Return the comparison that was fixed beforehand and what it shows; None for development, or without a primary."""
    primary = _primary_line(entry)
    if primary is None or entry["development"]:
        return None
    vote = entry["at_n"].get("weighted_majority_minus_majority")
    units = entry["metrics"].get("n_groups") or entry["problems"]
    one = entry["trainings"] == 1
    return {
        **{key: entry[key] for key in ("benchmark", "variant", "domain", "n", "problems", "trainings")},
        **{name: entry["at_n"].get(name) for name in ("random", "majority", "oracle")},
        "chosen": primary["row"],
        # The vote that the PRM weighs is the other use of it that was fixed beforehand.
        "vote": vote and {**vote, "finding": finding(vote, "the vote alone", units, one)},
        "vote_by": entry["metrics"].get("weighted_majority_by"),
        "vote_gain": entry["metrics"].get("weighted_majority_gain"),
        "falls": [{**row, "finding": finding(row, "fewer candidates", units, one)} for row in entry["falls"]],
        "tests": [test for test in entry["metrics"].get("mcnemar", []) if test["choice"] == primary["metric"]],
        "comparisons": [
            {
                "against": words,
                "row": primary["minus"][other],
                "finding": finding(primary["minus"][other], words, units, one),
            }
            for other, words in BASELINES.items()
        ],
    }


def _primary_line(entry: Row) -> Row | None:
    return next((line for line in entry["table"] if line["primary"]), None)


def finding(difference: Row | None, against: str, units: int | None = None, one_training: bool = True) -> str:
    """Say in a sentence what the interval of a paired difference shows; units: problems, one a group of problems.

    Of one training the sentence is about that training: its interval does not hold what another would change.
    """
    if difference is None or difference.get("ci_low") is None or difference.get("ci_high") is None:
        return f"No interval of the difference to {against} was computed, so nothing can be said of it."
    if units is not None and units < FEW:
        return f"{units} problems are too few for a verdict, which takes {FEW}."
    of = "" if "trainings" in difference or not one_training else ", for this one training"
    if difference["ci_low"] > 0:
        return f"The interval lies above zero: better than {against}{of}."
    if difference["ci_high"] < 0:
        return f"The interval lies below zero: worse than {against}{of}."
    return f"The interval includes zero: no difference to {against} is shown."


def difference_chart(config: Config, entries: Sequence[Row]) -> Markup | None:
    """Draw the differences of the primary aggregate to the baselines, on all benchmarks."""
    points = []
    several = len(config.prm.variants) > 1
    for entry in entries:
        primary = _primary_line(entry)
        for baseline in BASELINES:
            row = primary and primary["minus"][baseline]
            if row and row["value"] is not None:
                name = f"{entry['benchmark']} ({entry['domain']})" + (f", {entry['variant']}" if several else "")
                interval = {"value": row["value"], "low": row.get("ci_low"), "high": row.get("ci_high")}
                points.append({"name": name, "against": f"minus {baseline.replace('_', ' ')}", **interval})
    title = f"Best of N by {config.bench.primary}, differences"
    return Markup(figures.differences(points, title)) if points else None


def step_benchmarks(config: Config, folder: Path) -> list[Row]:
    """Return metrics.json of each step benchmark and training that has one, with `lines`: subset -> metric -> row."""
    entries = []
    for name in config.step_benchmarks:
        for variant in config.prm.step_models:
            metrics = read_json(folder / "steps" / name / variant / "metrics.json")
            if metrics is None:
                continue
            lines: dict[str, Row] = {}
            for row in metrics["rows"]:
                lines.setdefault(row["subset"], {})[row["metric"]] = row if row["value"] is not None else None
            entries.append(metrics | {"lines": lines})
    return entries
