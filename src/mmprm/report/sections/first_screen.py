"""The report's first screen: what ran, what it came to, what it cost, what to do next. In: a run. Out: plain values."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from mmprm.config import Config
from mmprm.report.figures import COLOURS
from mmprm.report.results import Row, decisions, existing, read_json
from mmprm.report.templates import duration, number

# The columns of the first table, and the lines of the charts over N: metric -> what it is called there.
_CHOSEN_BY = {
    "random": "random pick",
    "majority": "majority vote",
    "": "PRM",
    "weighted_majority": "vote weighted by PRM",
}
_LINES = ("random", "majority", "weighted majority", "best of N (PRM)", "oracle")


def first_screen(
    config: Config, folder: Path, benchmarks: Sequence[Row], costs: Sequence[Row], models: Sequence[Row]
) -> Row:
    """Return facts (name -> text), rows of the first table, charts, other_charts, legend, and what to do next.

    benchmarks: of benchmark_results; costs: of costs_by_rule; models: of provenance.
    """
    first = next(iter(config.prm.variants))
    charts = [entry for entry in benchmarks if entry["chart"]]
    return {
        "facts": dict(_facts(config, folder, benchmarks, costs, models)),
        "chosen_by": list(_CHOSEN_BY.values()),
        "rows": [_row(config, folder, entry) for entry in benchmarks],
        "charts": [entry["chart"] for entry in charts if entry["variant"] == first],
        "other_charts": [entry["chart"] for entry in charts if entry["variant"] != first],
        "legend": {name: COLOURS[name] for name in _LINES},
        "next": list(_next(config, folder)),
    }


def _facts(
    config: Config, folder: Path, benchmarks: Sequence[Row], costs: Sequence[Row], models: Sequence[Row]
) -> Iterator[tuple[str, str]]:
    yield "policy", f"{config.policy.base}, trained on {', '.join(config.policy.sources) or 'nothing'}"
    variants = config.prm.variants.items()
    made = {name: "published" if one.external else f"{one.label} labels" for name, one in variants}
    again = f", each trained {config.prm.replicates} times" if config.prm.replicates > 1 else ""
    yield "PRM", ", ".join(f"{name} ({how})" for name, how in made.items()) + again
    yield "data", " → ".join(_data(config, folder)) or "–"
    counted = {entry["benchmark"]: entry for entry in benchmarks}
    measured = [f"{name} ({number(entry['problems'])} problems)" for name, entry in counted.items()]
    yield "measured on", ", ".join(measured) or "nothing yet"
    for name, key in (("commit", "commit"), ("machine", "hardware"), ("load", "load")):
        values = dict.fromkeys(str(model[key]) for model in models if model.get(key))
        if key == "commit":
            values = dict.fromkeys(value[:12] + ("-dirty" if value.endswith("-dirty") else "") for value in values)
        yield name, "; ".join(list(values)[:3]) or "–"
    times = sorted(model["time"][:16].replace("T", " ") for model in models if model.get("time"))
    yield "models trained", f"until {times[-1]} UTC" if times else "–"
    seconds = sum(row["seconds"] for row in costs if row["seconds"])
    tokens = sum(row.get("used_generated_tokens", 0) for row in costs)
    yield "cost", f"{duration(seconds)} of all jobs, {number(tokens)} generated tokens" if costs else "–"


def _data(config: Config, folder: Path) -> Iterator[str]:
    """Yield how many problems were there for trees, were kept, were annotated, and what labels came of them."""
    pools = existing(folder / "problems" / f"{name}.parquet" for name in config.seeds.sources)
    if pools:
        yield f"{number(sum(pq.read_metadata(path).num_rows for path in pools))} problems"
    if chosen := decisions(folder):
        yield f"{number(sum(row['kept'] for row in chosen))} with rollouts right and wrong"
    statistics = read_json(folder / "labels" / "statistics.json") or {}
    if "problems" in statistics:
        yield f"{number(statistics['problems'])} trees"
    if "paths" in statistics:
        yield f"{number(statistics['paths'])} labelled paths"


def _row(config: Config, folder: Path, entry: Row) -> Row:
    """Return the row of a benchmark and variant: accuracies by what chose, differences of the PRM, its candidates."""
    at_n, primary = entry["at_n"], config.bench.primary
    page = f"candidates/{entry['benchmark']}/{entry['variant']}/candidates.html"
    return {
        **{key: entry[key] for key in ("benchmark", "variant", "domain", "development", "n", "trainings")},
        "cells": [at_n.get(metric or f"bon/{primary}") for metric in _CHOSEN_BY],
        "oracle": at_n.get("oracle"),
        "gains": [at_n.get(f"bon_minus_{other}/{primary}") for other in ("random", "majority")],
        "page": page if (folder / page).is_file() else None,
    }


def _next(config: Config, folder: Path) -> Iterator[Row]:
    """Yield what can be done with the run: {what, command, page}; page: where it was done already."""
    run = f"results/{config.run}"
    made = {
        "Where is the PRM wrong, and at which step?": ("candidates", _candidate_pages(config)),
        "All trees, the PRM's values beside MC": ("trees", ["trees/trees.html"]),
        "Are the labels right in people's eyes?": ("audit", ["audit/audit.html"]),
    }
    for what, (target, pages) in made.items():
        there = next((page for page in pages if (folder / page).is_file()), None)
        yield {"what": what, "command": f"snakemake {target} --cores all --configfile {run}/config.json", "page": there}
    yield {"what": "Against another run", "command": f"mmprm compare {run} results/OTHER", "page": None}
    yield {"what": "Labels, models and metrics to share", "command": f"mmprm export {run} FOLDER", "page": None}


def _candidate_pages(config: Config) -> list[str]:
    pairs = ((benchmark, variant) for benchmark in config.benchmarks for variant in config.prm.variants)
    return [f"candidates/{benchmark}/{variant}/candidates.html" for benchmark, variant in pairs]
