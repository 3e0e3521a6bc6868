"""The page of a sealed test. In: look.json, the ledger, the metrics. Out: claims, looks and results, as HTML."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmprm import __version__
from mmprm.config import Config
from mmprm.data import tables
from mmprm.report.results import Row, read_json
from mmprm.report.sections import benchmark_results
from mmprm.report.templates import render_template
from mmprm.runtime.errors import UserError
from mmprm.sealed import ledger
from mmprm.sealed.recipe import recipe_digest
from mmprm.sealed.registration import Registered


def write_sealed(config: Config, test: str, results: Path, out: Path) -> None:
    """Write the page of a sealed test of the run in `results`; UserError where its look or its metrics are missing."""
    path = results / "sealed" / test / "look.json"
    look = read_json(path)
    entries = benchmark_results.results_at_largest_n(config, results, sealed=test, legend=True)
    if look is None or not entries:
        raise UserError(f"{path}: sealed.{test} was not looked at, or not measured; run `snakemake sealed`")
    claimed = look["claims"] and Registered.model_validate(look["claims"])
    text = render_template(
        "sealed.html.jinja",
        title=f"Sealed test {test}",
        run=config.run,
        seed=config.seed,
        version=__version__,
        test=test,
        primary=config.bench.primary,
        replicates=config.prm.replicates,
        confidence=f"{100 * config.bench.confidence:g} %",
        ledger=str(config.evidence.ledger),
        look=look,
        claimed=claimed,
        claims=claimed and judged(claimed, entries),
        enough=claimed and all((entry["problems"] or 0) >= claimed.problems for entry in entries),
        looks=looks_at(config, test),
        every=ledger.read(Path(config.evidence.ledger)),
        bench=entries,
        headlines=[line for line in map(benchmark_results.headline, entries) if line],
    )
    tables.write_text(out, text)


def looks_at(config: Config, test: str) -> Sequence[ledger.Look]:
    """Return the looks at a sealed test that the ledger has, in their order."""
    return ledger.of_test(ledger.read(Path(config.evidence.ledger)), test, recipe_digest(config, test))


def judged(claimed: Registered, entries: Sequence[Row]) -> list[Mapping[str, Any]]:
    """Return {metric, above, end, row, met} of each bar: whether it was met, None where it was not measured."""
    of_variant = next((entry for entry in entries if entry["variant"] == claimed.variant), None)
    at_n = of_variant["at_n"] if of_variant is not None and of_variant["n"] == claimed.n else {}
    return [
        {**bar.model_dump(), "row": at_n.get(bar.metric), "met": bar.met(at_n.get(bar.metric))} for bar in claimed.bars
    ]
