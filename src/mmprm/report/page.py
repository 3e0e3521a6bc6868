"""report.html: what a run found, in one page that needs no network. In: results/<run>. Out: the page.

A part that is missing is named as missing. Everything that comes from data is escaped by the template (jinja's
autoescape); only our own charts are inserted as they are.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml
from markupsafe import Markup

from mmprm import __version__
from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.report import data_card, figures, results
from mmprm.report.sealed import looks_at
from mmprm.report.sections import benchmark_results, tree_view
from mmprm.report.sections.first_screen import first_screen
from mmprm.report.sections.heldout import heldout_measures, training_curves
from mmprm.report.sections.label_charts import annotation_facts, label_accuracy, label_charts, seed_filter
from mmprm.report.sections.provenance import provenance
from mmprm.report.templates import ReportExtra, render_template

_CHARTED = 8  # stages of the chart of times; the table has all


def write_report(config: Config, results: Path, out: Path, extras: Sequence[ReportExtra] = ()) -> None:
    """Write the report of the run in the folder `results` as one HTML file, atomically."""
    tables.write_text(out, render(config, results, extras))


def render(config: Config, folder: Path, extras: Sequence[ReportExtra] = ()) -> str:
    """Return the page as text. Raises UserError where a file of the run exists but cannot be read."""
    annotated = tables.read_rows(results.annotation_files(config, folder, "status"), schemas.STATUS)
    statuses = Counter((row["status"], row["reason"]) for row in annotated).most_common()
    costs = results.costs_by_rule(config, folder)
    timed = [row for row in costs if row["seconds"]]
    benchmarks = benchmark_results.results_at_largest_n(config, folder, extras)
    made = provenance(config, folder)
    return render_template(
        "page.html.jinja",
        title=config.report.title,
        run=config.run,
        seed=config.seed,
        version=__version__,
        n=config.bench.n,
        primary=config.bench.primary,
        replicates=config.prm.replicates,
        confidence=f"{100 * config.bench.confidence:g} %",
        screen=first_screen(config, folder, benchmarks, costs, made["models"]),
        bench=benchmarks,
        headlines=[line for line in map(benchmark_results.headline, benchmarks) if line],
        sealed={name: looks_at(config, name) for name in config.sealed},
        ledger=config.evidence.ledger,
        differences=benchmark_results.difference_chart(config, benchmarks),
        labels=label_charts(config, folder),
        label_extras=[text for extra in extras if (text := extra.in_labels(config, folder))],
        quality=label_accuracy(folder),
        heldout=heldout_measures(config, folder),
        trainings_curves=training_curves(config, folder),
        steps=benchmark_results.step_benchmarks(config, folder),
        step_metrics=benchmark_results.STEP_METRICS,
        seeds=seed_filter(folder),
        data=data_card.data_section(config, folder),
        annotated=annotation_facts(config, folder),
        trees=tree_view.shown_trees(config, folder),
        costs={
            "rows": costs,
            "seconds": sum(row["seconds"] for row in timed),
            "tokens": sum(row.get("used_generated_tokens", 0) for row in costs),
            "chart": Markup(figures.durations(_longest(timed), "Time a stage")) if timed else None,
        },
        sources=results.sources(config, folder),
        statuses=[{"status": status, "reason": reason, "count": n} for (status, reason), n in statuses],
        provenance=made,
        configuration=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110),
    )


def _longest(timed: Sequence[results.Row]) -> list[results.Row]:
    """Return the stages that took most time, in their order, and behind them all others as one."""
    ranked = sorted(timed, key=lambda row: -row["seconds"])
    kept = [row for row in timed if row in ranked[:_CHARTED]]
    if others := ranked[_CHARTED:]:
        kept.append({"stage": f"{len(others)} others", "seconds": sum(row["seconds"] for row in others)})
    return kept
