"""report.html: what a run found, in one page that needs no network. In: results/<run>. Out: the page.

A part that is missing is named as missing. Everything that comes from data is escaped by the template (jinja's
autoescape); only our own charts are inserted as they are.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mmprm import __version__
from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.report import data_card, results
from mmprm.report.sections import benchmark_results, tree_view
from mmprm.report.sections.costs import costs
from mmprm.report.sections.label_charts import label_accuracy, label_charts, seed_filter
from mmprm.report.templates import ReportExtra, render_template


def write_report(config: Config, results: Path, out: Path, extras: Sequence[ReportExtra] = ()) -> None:
    """Write the report of the run in the folder `results` as one HTML file, atomically."""
    tables.write_text(out, render(config, results, extras))


def render(config: Config, folder: Path, extras: Sequence[ReportExtra] = ()) -> str:
    """Return the page as text. Raises UserError where a file of the run exists but cannot be read."""
    benchmarks = benchmark_results.results_at_largest_n(config, folder, extras)
    return render_template(
        "page.html.jinja",
        title=config.report.title,
        run=config.run,
        seed=config.seed,
        version=__version__,
        n=config.bench.n,
        primary=config.bench.primary,
        confidence=f"{100 * config.bench.confidence:g} %",
        bench=benchmarks,
        headlines=[line for line in map(benchmark_results.headline, benchmarks) if line],
        differences=benchmark_results.difference_chart(config, benchmarks),
        labels=label_charts(config, folder),
        label_extras=[text for extra in extras if (text := extra.in_labels(config, folder))],
        quality=label_accuracy(folder),
        heldout=benchmark_results.heldout_measures(config, folder),
        steps=benchmark_results.step_benchmarks(config, folder),
        step_metrics=benchmark_results.STEP_METRICS,
        seeds=seed_filter(folder),
        data=data_card.data_section(config, folder),
        trees=tree_view.shown_trees(config, folder),
        costs=costs(config, folder),
        sources=results.sources(config, folder),
        statuses=_statuses(config, folder),
        configuration=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110),
    )


def _statuses(config: Config, folder: Path) -> list[dict[str, Any]]:
    """Count annotated problems by status and reason, the most frequent first."""
    rows = tables.read_rows(results.annotation_files(config, folder, "status"), schemas.STATUS)
    counts = Counter((row["status"], row["reason"]) for row in rows)
    return [{"status": status, "reason": reason, "count": count} for (status, reason), count in counts.most_common()]
