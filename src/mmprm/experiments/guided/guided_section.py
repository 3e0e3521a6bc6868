"""What guided decoding adds to the report. In: guided.json of a benchmark and variant. Out: a table and a chart."""

from pathlib import Path

from markupsafe import Markup

from mmprm.report import figures
from mmprm.report.extras import ReportExtra
from mmprm.report.results import read_json
from mmprm.report.templates import render_html

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
        package = "mmprm.experiments.guided"
        return Markup(render_html("guided_section.html.jinja", package, rows=rows, chart=Markup(chart)))
