"""What the experiments add to report and data card. In: guided.json and labels/consensus.json. Out: HTML, markdown."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmprm.config import Config
from mmprm.report import figures
from mmprm.report.results import read_json
from mmprm.report.templates import CardPart, ReportExtra, render_template

_PACKAGE = "mmprm.experiments"
_NAMES = {"best_of_n": "best of N (PRM)"}


class GuidedSection(ReportExtra):
    """The strategies of a benchmark and variant beside Best-of-N; None where none was measured."""

    def below_benchmark(self, folder: Path, benchmark: str, variant: str) -> Markup | None:
        """Return a table of the strategies, and a chart of accuracy against sampled tokens."""
        measures = read_json(folder / "bench" / benchmark / variant / "guided.json")
        if not measures:
            return None
        rows = [row | {"name": _NAMES.get(row["strategy"], row["strategy"])} for row in measures["rows"]]
        points = [
            {"x": round(row["tokens"]["value"]), "series": row["name"], **figures.with_interval(row["accuracy"])}
            for row in rows
        ]
        chart = figures.curves(points, "tokens sampled a problem", "accuracy (%)", "Accuracy against tokens")
        return Markup(render_template("guided_section.html.jinja", _PACKAGE, rows=rows, chart=Markup(chart)))


class ConsensusSection(ReportExtra):
    """What the judging model left of the training paths; None where none is configured, or it has not judged yet."""

    def in_labels(self, config: Config, folder: Path) -> Markup | None:
        """Return a paragraph and a table of counts by kind of path."""
        counts = _counts(config, folder)
        return Markup(render_template("consensus_section.html.jinja", _PACKAGE, consensus=counts)) if counts else None

    def in_card(self, config: Config, folder: Path) -> CardPart | None:
        """Return the same for the data card; its table is labels/consensus.parquet."""
        counts = _counts(config, folder)
        text = counts and render_template("consensus_section.md.jinja", _PACKAGE, consensus=counts)
        return CardPart(text, ["consensus"]) if text else None


def _counts(config: Config, folder: Path) -> dict[str, Any] | None:
    """Return labels/consensus.json with `kinds`: {kind, paths, agreed, disagreed, unreadable}, one row for all last."""
    counts = read_json(folder / "labels" / "consensus.json") if config.labels.consensus else None
    if counts is None:
        return None
    kinds = [{"kind": kind, "paths": sum(by.values()), **by} for kind, by in counts["by_kind"].items()]
    sums = {name: sum(row[name] for row in kinds) for name in ("paths", "agreed", "disagreed", "unreadable")}
    return {**counts, "kinds": [*kinds, {"kind": "all", **sums}] if kinds else []}


EXTRAS = (GuidedSection(), ConsensusSection())
