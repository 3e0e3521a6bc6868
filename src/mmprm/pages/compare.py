"""Runs beside each other: what they were told, what they came to, what it cost. In: folders of runs. Out: HTML and CSV.

All runs are compared with the first. Nothing is trained, sampled or scored: all is read from the runs' tables.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mmprm.config import Config
from mmprm.config.runs import open_run
from mmprm.data import tables
from mmprm.evaluation.between_runs import RankedBy, paired
from mmprm.pages.kit import Look, Row, parts_in, write_page
from mmprm.report.ablations import no_formula
from mmprm.report.results import costs_by_rule, read_json
from mmprm.report.sections.benchmark_results import finding
from mmprm.report.sections.provenance import provenance
from mmprm.report.templates import percent
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log

COLUMNS = (
    *("part", "benchmark", "variant", "name", "n", "first", "other", "first_value", "other_value"),
    *("difference", "ci_low", "ci_high", "problems", "trainings"),
)
_SHOWN = 300  # problems of a comparison that are listed, those that differ most first
_HELDOUT = ("loss", "constant_loss", "ece", "auc_steps")


class Run(NamedTuple):
    """A run, and the name under which it stands in the page: its own, or its folder where several have that name."""

    name: str
    config: Config
    folder: Path


def open_runs(names: Sequence[str]) -> list[Run]:
    """Open at least two runs; UserError where one is none, or is named twice."""
    opened = [open_run(name) for name in names]
    if len(opened) < 2 or len({folder.resolve() for _, folder in opened}) < len(opened):
        raise UserError("name two or more different runs, such as: mmprm compare results/a results/b")
    runs = [config.run for config, _ in opened]
    return [
        Run(config.run if runs.count(config.run) == 1 else str(folder), config, folder) for config, folder in opened
    ]


def write_comparison(runs: Sequence[Run], out: Path) -> None:
    """Write the page, and beside it a table of COLUMNS as CSV; differences are minus the first run.

    Raises UserError where a table of a run is damaged; a benchmark that cannot be compared is named with the reason.
    """
    settings = differing([run.config for run in runs])
    comparisons, left_out = _comparisons(runs, out.parent)
    costs = [{row["stage"]: row for row in costs_by_rule(run.config, run.folder)} for run in runs]
    stages = list(dict.fromkeys(stage for of in costs for stage in of))
    cost_rows = [
        {"stage": stage.replace("_", " ")}
        | {key: [of.get(stage, {}).get(name) for of in costs] for key, name in _COSTS.items()}
        for stage in stages
    ]
    data = {
        "runs": [{"name": run.name, "facts": _facts(run)} for run in runs],
        "settings": settings,
        "comparisons": comparisons,
        "left_out": left_out,
        "heldout": list(_heldout(runs)),
        "costs": cost_rows,
    }
    with parts_in(None) as parts:
        first = runs[0].config.bench
        names = " and ".join(run.name for run in runs)
        facts = [f"differences are minus {runs[0].name}", f"{100 * first.confidence:g} % intervals over problems"]
        write_page(out, Look(f"Runs {names}", ("compare.js",), facts), data, parts)
    table = [{name: no_formula(cell) for name, cell in row.items()} for row in _csv_rows(data)]
    tables.write_text(out.with_suffix(".csv"), pd.DataFrame(table, columns=COLUMNS, dtype=object).to_csv(index=False))
    for comparison in comparisons:
        log.info(_in_words(comparison))
    for reason in left_out:
        log.info(f"not compared: {reason}")


_COSTS = {"seconds": "seconds", "tokens": "used_generated_tokens", "completions": "used_completions"}


def differing(configs: Sequence[Config]) -> list[Row]:
    """Return {key, values} of the settings that are not the same in all runs; a value is JSON, or None if not there.

    The names of the runs are left out.
    """
    each = [dict(_flat(config.model_dump(mode="json", exclude={"run"}))) for config in configs]
    keys = dict.fromkeys(key for of in each for key in of)
    rows = [{"key": key, "values": [of.get(key) for of in each]} for key in keys]
    return [row for row in rows if len(set(row["values"])) > 1]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(item, ensure_ascii=False)


def _facts(run: Run) -> Row:
    """Return what says where a run was made: folder, commits, times, machines of its models."""
    models = provenance(run.config, run.folder)["models"]
    named = {key: dict.fromkeys(model[key] for model in models if model[key]) for key in ("commit", "hardware")}
    return {
        "folder": str(run.folder),
        "policy": str(run.config.policy.base),
        "PRM": ", ".join(run.config.prm.variants),
        "commit": ", ".join(commit[:12] for commit in named["commit"]) or None,
        "trained until": max((model["time"] for model in models if model["time"]), default=None),
        "machine": "; ".join(named["hardware"]) or None,
    }


def _comparisons(runs: Sequence[Run], base: Path) -> tuple[list[Row], list[str]]:
    """Compare every other run with the first on all benchmarks of both; returns what cannot be compared, too."""
    made, left_out = [], []
    first = runs[0]
    for other in runs[1:]:
        for benchmark in dict.fromkeys([*first.config.benchmarks, *other.config.benchmarks]):
            lacking = [run.name for run in (first, other) if benchmark not in run.config.benchmarks]
            if lacking:
                left_out.append(f"{benchmark} is no benchmark of {' and '.join(lacking)}")
                continue
            for pair in _variants(first.config, other.config):
                ours, theirs = _ranked(first, benchmark, pair[0]), _ranked(other, benchmark, pair[1])
                files = [path for of in (ours, theirs) for path in (of.problems, of.candidates, *of.scores)]
                absent = [path for path in files if not path.is_file()]
                if absent:
                    left_out.append(f"{benchmark}, PRM {' and '.join(dict.fromkeys(pair))}: {absent[0]} is not there")
                    continue
                try:
                    found = paired(ours, theirs, first.config.bench, first.config.seed)
                except UserError as error:
                    left_out.append(f"{benchmark}: {error}")
                    continue
                pages = [
                    _page(run, benchmark, variant, base) for run, variant in zip((first, other), pair, strict=True)
                ]
                made.append(_comparison(first, other, benchmark, pair, found) | {"pages": pages})
    return made, left_out


def _variants(ours: Config, theirs: Config) -> list[tuple[str, str]]:
    """Pair variants of the same name; the first ones where there are none."""
    same = [(name, name) for name in ours.prm.variants if name in theirs.prm.variants]
    return same or [(next(iter(ours.prm.variants)), next(iter(theirs.prm.variants)))]


def _ranked(run: Run, benchmark: str, variant: str) -> RankedBy:
    bench = run.folder / "bench" / benchmark
    return RankedBy(
        run.folder / "problems" / f"{run.config.benchmarks[benchmark].source}.parquet",
        bench / "candidates.parquet",
        [bench / model / "scores.parquet" for model in run.config.prm.models_of(variant)],
        run.config.bench.n,
    )


def _page(run: Run, benchmark: str, variant: str, base: Path) -> str | None:
    """Return the way from the page that is written to that of the run's candidates, where that was made."""
    page = run.folder / "candidates" / benchmark / variant / "candidates.html"
    return Path(os.path.relpath(page, base)).as_posix() if page.is_file() else None


def _comparison(first: Run, other: Run, benchmark: str, pair: tuple[str, str], found: Row) -> Row:
    primary = first.config.bench.primary
    differ = [row for row in found["by_problem"] if abs(row[2] - row[1]) > 1e-9]
    ranked = sorted(differ, key=lambda row: (-abs(row[2] - row[1]), row[0]))
    domain = first.config.benchmarks[benchmark].domain
    rows = [
        row | {"primary": row["metric"] == f"bon/{primary}", "finding": _said(row, first.name, found["groups"])}
        for row in found["rows"]
    ]
    return {
        **{key: value for key, value in found.items() if key != "by_problem"},
        **{"first": first.name, "other": other.name, "benchmark": benchmark, "variants": list(pair)},
        **{"domain": domain.replace("_", " "), "primary": primary, "rows": _without_nan(rows)},
        **{"better": sum(row[2] > row[1] for row in differ), "worse": sum(row[2] < row[1] for row in differ)},
        "differ": [list(row) for row in ranked[:_SHOWN]],
    }


def _said(row: Row, first: str, units: int) -> str:
    ends = {"ci_low": _number(row["ci_low"]), "ci_high": _number(row["ci_high"])}
    return finding(ends, first, units)


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _without_nan(rows: Sequence[Row]) -> list[Row]:
    return [{key: _number(value) for key, value in row.items()} for row in rows]


def _heldout(runs: Sequence[Run]) -> Iterator[Row]:
    """Yield the measures on held-out problems, which are each run's own: {variant, measure, values} a row."""
    for variant in dict.fromkeys(name for run in runs for name in run.config.prm.variants):
        each = [(read_json(run.folder / "prm" / f"{variant}.heldout.json") or {}).get("trained") or {} for run in runs]
        for measure in _HELDOUT:
            yield {"variant": variant, "measure": measure, "values": [of.get(measure) for of in each]}
        within = [
            (of.get("auc_within_problem") or {}).get(run.config.bench.primary)
            for run, of in zip(runs, each, strict=True)
        ]
        yield {"variant": variant, "measure": "auc_within_problem", "values": within}


def _csv_rows(data: Row) -> Iterator[Row]:
    """Yield the rows of the table: a setting, a difference or a cost each."""
    first, *others = [run["name"] for run in data["runs"]]
    for comparison in data["comparisons"]:
        shared = {key: comparison[key] for key in ("benchmark", "first", "other", "problems", "trainings")}
        shared |= {"part": "difference", "variant": " / ".join(dict.fromkeys(comparison["variants"]))}
        for row in comparison["rows"]:
            values = {"name": row["metric"], "first_value": row["first"], "other_value": row["other"]}
            yield shared | values | {key: row[key] for key in ("n", "difference", "ci_low", "ci_high")}
    for number, other in enumerate(others, 1):
        both = {"first": first, "other": other}
        for row in data["settings"]:
            if row["values"][0] != row["values"][number]:
                values = {"first_value": row["values"][0], "other_value": row["values"][number]}
                yield {"part": "setting", "name": row["key"], **both, **values}
        for row in data["costs"]:
            for key in _COSTS:
                mine, theirs = row[key][0], row[key][number]
                if mine is not None or theirs is not None:
                    values = {"first_value": mine, "other_value": theirs}
                    more = None if mine is None or theirs is None else theirs - mine
                    yield {"part": "cost", "name": f"{row['stage']}: {key}", **both, **values, "difference": more}


def _in_words(comparison: Row) -> str:
    row = next(row for row in comparison["rows"] if row["primary"] and row["n"] == comparison["n"])
    return (
        f"{comparison['benchmark']}, {comparison['problems']} shared problems, best of {comparison['n']}: "
        f"{comparison['first']} {percent(row['first'])} %, {comparison['other']} {percent(row['other'])} %. "
        f"{row['finding']}"
    )
