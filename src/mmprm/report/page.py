"""report.html: what a run found, in one page that needs no network. In: results/<run>. Out: the page.

The sections are built here from what `results` reads; a part that is missing is said in words. Everything that comes
from data is escaped by the template (jinja's autoescape); only our own charts are put in as they are.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from mmprm import __version__
from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.evaluation.selection_rules import weight_of
from mmprm.report import data_card, figures, numbers, results, templates, trees
from mmprm.report.consensus import consensus
from mmprm.report.guided import guided
from mmprm.report.label_accuracy import label_quality
from mmprm.report.seed_filter import seed_filter

Row = dict[str, Any]

_AGAINST = {
    "random": "a random pick",
    "random_parsed": "a random pick of those that parse",
    "majority": "majority voting",
}
_STEP_METRICS = ("first_error", "accuracy_wrong", "accuracy_right", "macro_f1", "f1_right", "f1_wrong")
# Lines of the result table; what is not named here comes before the oracle.
_ORDER = {name: place for place, name in enumerate([*_AGAINST, "weighted_majority", "orm", "bon", "", "oracle"])}
_DOMAINS = {"in_domain": "in-domain", "out_of_domain": "out-of-domain", "development": "development"}


def write_report(config: Config, results: Path, out: Path) -> None:
    """Write the report of the run in the folder `results` as one HTML file, atomically."""
    tables.write_text(out, render(config, results))


def render(config: Config, folder: Path) -> str:
    """The page as text. Raises UserError where a file of the run is there but cannot be read."""
    bench = _bench(config, folder)
    return (
        templates.environment(autoescape=True, filters=numbers.FILTERS)
        .get_template("page.html.jinja")
        .render(
            title=config.report.title,
            run=config.run,
            seed=config.seed,
            version=__version__,
            n=config.bench.n,
            primary=config.bench.primary,
            confidence=f"{100 * config.bench.confidence:g} %",
            bench=bench,
            headlines=[line for line in map(_headline, bench) if line],
            differences=_differences(config, bench),
            labels=_labels(config, folder),
            consensus=consensus(config, folder),
            quality=label_quality(folder),
            heldout=_heldout(config, folder),
            steps=[_steps(metrics) for metrics in results.step_metrics(config, folder)],
            step_metrics=_STEP_METRICS,
            seeds=seed_filter(folder),
            data=data_card.section(config, folder),
            trees=trees.chosen(config, folder),
            costs=_costs(config, folder),
            sources=results.sources(config, folder),
            statuses=_statuses(config, folder),
            configuration=yaml.safe_dump(
                config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110
            ),
        )
    )


def _bench(config: Config, folder: Path) -> list[Row]:
    """A value a benchmark and variant: its rows at the largest N by metric, and its curve over N as a chart."""
    rows = results.summary_rows(config, folder)
    metrics = results.benchmark_metrics(config, folder)
    found = []
    for benchmark, settings in config.benchmarks.items():
        for variant in config.prm.variants:
            own = [row for row in rows if (row["benchmark"], row["variant"]) == (benchmark, variant)]
            if not own:
                continue
            n = max(row["n"] for row in own)
            at_n = {row["metric"]: row for row in own if row["n"] == n}
            found.append(
                {
                    "benchmark": benchmark,
                    "variant": variant,
                    "domain": _DOMAINS[settings.domain],
                    "development": settings.domain == "development",
                    "n": n,
                    "problems": next((row["problems"] for row in own if row.get("problems") is not None), None),
                    "metrics": metrics.get((benchmark, variant), {}),
                    "at_n": at_n,
                    "table": _table(at_n, config.bench.primary),
                    "chart": _curve(own, config.bench.primary, f"{benchmark}, PRM {variant}"),
                    "guided": guided(folder, benchmark, variant),
                }
            )
    return found


def _table(at_n: dict[str, Row], primary: str) -> list[Row]:
    """The lines of the result table: baselines, votes, outcome models, the aggregates with differences, the oracle.

    A vote by the weights of the line `weighted majority` itself is not shown twice.
    """
    single = [name for name in at_n if "_minus_" not in name]
    lines = []
    for name in sorted(single, key=lambda name: _ORDER.get(name.partition("/")[0], len(_ORDER) - 1)):
        what, _, of = name.partition("/")
        same = at_n.get("weighted_majority")
        if what == "weighted_majority" and of and same and of == weight_of(primary):
            continue
        lines.append(
            {
                "name": of or name.replace("_", " "),
                "what": what if of else "",
                "primary": name == f"bon/{primary}",
                "metric": name,
                "row": at_n[name],
                "minus": {other: at_n.get(f"{what}_minus_{other}" + (f"/{of}" if of else "")) for other in _AGAINST},
            }
        )
    return lines


def _curve(rows: list[Row], primary: str, title: str) -> Markup | None:
    names = {"random": "random", "majority": "majority", "weighted_majority": "weighted majority"}
    names |= {f"bon/{primary}": "best of N (PRM)", "oracle": "oracle"}
    shown = [
        {
            "n": row["n"],
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
    return Markup(figures.accuracy_by_n(shown, title)) if len({row["n"] for row in shown}) > 1 else None


def _headline(entry: Row) -> Row | None:
    """The one comparison that was fixed beforehand, and what may be said of it."""
    primary = next((line for line in entry["table"] if line["primary"]), None)
    if primary is None or entry["development"]:
        return None
    vote = entry["at_n"].get("weighted_majority_minus_majority")
    return {
        **{key: entry[key] for key in ("benchmark", "variant", "domain", "n", "problems")},
        "chosen": primary["row"],
        "random": entry["at_n"].get("random"),
        "majority": entry["at_n"].get("majority"),
        "oracle": entry["at_n"].get("oracle"),
        # The vote that the PRM weighs is the other use of it that was fixed beforehand.
        "vote": vote and {**vote, "finding": finding(vote, "the vote alone")},
        "tests": [test for test in entry["metrics"].get("mcnemar", []) if test["choice"] == primary["metric"]],
        "comparisons": [
            {"against": words, "row": primary["minus"][other], "finding": finding(primary["minus"][other], words)}
            for other, words in _AGAINST.items()
        ],
    }


def finding(difference: Row | None, against: str) -> str:
    """What the interval of a paired difference allows to say."""
    if difference is None or difference.get("ci_low") is None or difference.get("ci_high") is None:
        return f"No interval of the difference to {against} was computed, so nothing can be said of it."
    if difference["ci_low"] > 0:
        return f"The interval lies above zero: better than {against}."
    if difference["ci_high"] < 0:
        return f"The interval lies below zero: worse than {against}."
    return f"The interval includes zero: no difference to {against} is shown."


def _differences(config: Config, bench: list[Row]) -> Markup | None:
    rows = []
    several = len(config.prm.variants) > 1
    for entry in bench:
        primary = next((line for line in entry["table"] if line["primary"]), None)
        for against in _AGAINST:
            row = primary and primary["minus"][against]
            if row and row["value"] is not None:
                name = f"{entry['benchmark']} ({entry['domain']})" + (f", {entry['variant']}" if several else "")
                interval = {"low": row.get("ci_low"), "high": row.get("ci_high")}
                rows.append(
                    {"name": name, "against": f"minus {against.replace('_', ' ')}", "value": row["value"], **interval}
                )
    return Markup(figures.differences(rows, f"Best of N by {config.bench.primary}, differences")) if rows else None


def _labels(config: Config, folder: Path) -> Row:
    """Charts of MC values and labels, and the statistics of the labels stage."""
    values = results.mc_values(config, folder)
    paths = results.paths(folder)
    soft: Counter[tuple[str, str]] = Counter()
    hard: Counter[tuple[str, str]] = Counter()
    bins = [f"{place / 10:.1f}" for place in range(11)]
    for path in paths:
        columns = (path[name] or [] for name in ("n_correct", "n_rollouts", "hard", "label_source"))
        for correct, rollouts, right, source in zip(*columns, strict=True):
            if source == "probed" and rollouts:
                soft[bins[round(10 * correct / rollouts)], f"{path['kind']} path"] += 1
            hard[source, {1: "right", 0: "wrong", None: "unknown"}[right]] += 1
    kinds = ["negative path", "positive path"]  # steps of outcome paths have no label
    kinds += ["given path"] if any(kind == "given path" for _, kind in soft) else []
    known = ("probed", "pooled", "implied", "answer", "given", "none")
    origins = [name for name in known if any(source == name for source, _ in hard)]
    markers = [{"bin": name, "count": count, "kind": kind} for (name, kind), count in sorted(hard.items())]
    probed = [{"bin": name, "count": soft[name, kind], "kind": kind} for kind in kinds for name in bins]
    charts = []
    if values:
        charts.append(figures.mc_histogram(values, "MC values of all probed states"))
    if soft:
        charts.append(figures.stacked(probed, bins, "soft label (MC value)", "markers", "Soft labels at probed steps"))
    if hard:
        charts.append(figures.stacked(markers, origins, "where the label is from", "markers", "Hard labels"))
    statistics = results.read_json(folder / "labels" / "statistics.json") or {}
    return {
        "charts": [Markup(chart) for chart in charts],
        "facts": {
            name.replace("_", " "): value for name, value in statistics.items() if isinstance(value, int | float)
        },
        "tables": {
            name.replace("_", " "): value
            for name, value in statistics.items()
            if isinstance(value, dict) and value and all(isinstance(count, int | float) for count in value.values())
        },
    }


def _heldout(config: Config, folder: Path) -> list[Row]:
    """Each variant's measures on held-out problems, trained beside untrained."""
    found = []
    for variant in config.prm.variants:
        measured = results.read_json(folder / "prm" / f"{variant}.heldout.json")
        if measured is None:
            continue
        pair = {name: measured.get(name) or {} for name in ("trained", "untrained")}
        rows = [
            {
                "name": label,
                "better": better,
                "primary": False,
                **{name: values.get(key) for name, values in pair.items()},
            }
            for key, label, better in (
                ("loss", "cross-entropy against MC values", "lower"),
                ("ece", "calibration error (ECE)", "lower"),
                ("auc_steps", "AUC over all steps", "higher"),
            )
        ]
        within = {name: values.get("auc_within_problem") or {} for name, values in pair.items()}
        for aggregate in sorted(
            {*within["trained"], *within["untrained"]}, key=lambda a: (a != config.bench.primary, a)
        ):
            values = {name: of.get(aggregate) for name, of in within.items()}
            primary = aggregate == config.bench.primary
            rows.append(
                {"name": f"AUC within a problem, {aggregate}", "better": "higher", "primary": primary, **values}
            )
        bins = [{"series": name, **entry} for name, of in pair.items() for entry in of.get("calibration") or []]
        bins = [entry for entry in bins if entry.get("count")]
        chart = figures.calibration(bins, f"Calibration, PRM {variant}") if bins else None
        found.append(
            {
                "variant": variant,
                "rows": rows,
                "markers": pair["trained"].get("n_markers"),
                "problems": pair["trained"].get("n_problems"),
                "chart": Markup(chart) if chart else None,
            }
        )
    return found


def _steps(metrics: Row) -> Row:
    """A step benchmark and variant: its metrics, a line a subset."""
    lines: dict[str, Row] = {}
    for row in metrics["rows"]:
        lines.setdefault(row["subset"], {})[row["metric"]] = row if row["value"] is not None else None
    return metrics | {"lines": lines}


def _costs(config: Config, folder: Path) -> Row:
    rows = results.costs(config, folder)
    timed = [row for row in rows if row["seconds"]]
    return {
        "rows": rows,
        "seconds": sum(row["seconds"] for row in timed),
        "tokens": sum(row.get("used_generated_tokens", 0) for row in rows),
        "chart": Markup(figures.durations(timed, "Time a stage")) if timed else None,
    }


def _statuses(config: Config, folder: Path) -> list[Row]:
    """Annotated problems by status and reason."""
    rows = tables.read_rows(results.annotation_files(config, folder, "status"), schemas.STATUS)
    counted = Counter((row["status"], row["reason"]) for row in rows)
    return [{"status": status, "reason": reason, "count": count} for (status, reason), count in counted.most_common()]
