"""The part of the report on guided decoding. In: guided.json of a benchmark and variant. Out: a chart and a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmprm.report import figures, results

Row = dict[str, Any]

_NAMES = {"best_of_n": "best of N (PRM)"}


def guided(folder: Path, benchmark: str, variant: str) -> Row | None:
    """What the page says of the strategies of a benchmark and variant; None where there are none."""
    found = results.read_json(folder / "bench" / benchmark / variant / "guided.json")
    if not found:
        return None
    rows = [
        row | {"strategy": _NAMES.get(row["strategy"], row["strategy"]), "is_best_of_n": row["strategy"] == "best_of_n"}
        for row in found["rows"]
    ]
    points = [
        {
            "x": round(row["tokens"]["value"]),
            "series": row["strategy"],
            **figures.with_interval(row["accuracy"]),
        }
        for row in rows
    ]
    chart = figures.curves(points, "tokens sampled a problem", "accuracy (%)", "Accuracy against tokens")
    return {"rows": rows, "chart": Markup(chart)}
