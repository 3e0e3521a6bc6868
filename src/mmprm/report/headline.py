"""The report's first lines as plain text, for a terminal. In: results/<run>. Out: lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmprm.config import Config
from mmprm.report.results import Row
from mmprm.report.sections import benchmark_results
from mmprm.report.templates import percent, points


def headline(config: Config, folder: Path) -> list[str]:
    """Return what the report says first of each benchmark and variant; none where nothing was measured.

    Raises UserError where a file of the run exists but cannot be read.
    """
    entries = benchmark_results.results_at_largest_n(config, folder, charts=False)
    lines = [line for line in map(benchmark_results.headline, entries) if line]
    return [text for line in lines for text in _in_words(config, line)]


def _in_words(config: Config, line: Row) -> Iterator[str]:
    shares = {name: line[name]["value"] for name in ("random", "majority", "oracle") if line[name]}
    others = ", ".join(f"{name} {percent(value)} %" for name, value in shares.items())
    of = {0: "published", 1: "one training"}.get(line["trainings"], f"mean of {line['trainings']} trainings")
    chosen = f"best of {line['n']} by {config.bench.primary} {percent(line['chosen']['value'])} %"
    yield f"{line['benchmark']} ({line['domain']}), PRM {line['variant']} ({of}): {chosen}; {others}"
    for comparison in line["comparisons"]:
        row = comparison["row"]
        if row is not None:
            ends = [points(row[end]) for end in ("ci_low", "ci_high") if row.get(end) is not None]
            gain = f"{points(row['value'])} points" + (f" ({' to '.join(ends)})" if ends else "")
            yield f"    {gain}. {comparison['finding']}"
