"""The part of the report on how right the labels are. In: labels/quality.json. Out: charts and rows of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmprm.report import figures, results

Row = dict[str, Any]

_MEASURES = ("precision", "recall")
_FILTERED = ("first_error_before_consensus", "first_error_after_consensus")


def label_quality(folder: Path) -> Row | None:
    """What the page says of label quality; None where it was not measured, or on no state."""
    found = results.read_json(folder / "labels" / "quality.json")
    if not found or not found["markers"]:
        return None
    rows = [{"name": _name(row), **row} for row in found["rows"] if row["right"]["count"]]
    return {
        **{key: found[key] for key in ("problems", "markers", "markers_unreadable")},
        "errors": found["errors"],
        "rows": rows,
        "first_error": found["first_error"],
        "filtered": [one for one in map(found.get, _FILTERED) if one and one["paths"]],
        "charts": [Markup(chart) for chart in _charts(rows, found["first_error"])],
    }


def _name(row: Row) -> str:
    if row["labels"] == "hard":
        return "hard, all" if row["source"] == "all" else f"hard, {row['source']}"
    if row["labels"] == "soft":
        return f"soft, wrong where MC ≤ {row['threshold']:g}"
    return f"probed states, first {row['k']} rollouts"


def _charts(rows: list[Row], first_error: Row) -> list[str]:
    labels = [
        {"name": row["name"], "series": measure, **figures.with_interval(row[measure])}
        for row in rows
        for measure in _MEASURES
        if row["k"] is None and row[measure]["value"] is not None
    ]
    by_k = [
        {"x": row["k"], "series": measure, **figures.with_interval(row[measure])}
        for row in rows
        for measure in _MEASURES
        if row["k"] is not None and row[measure]["value"] is not None
    ]
    charts = []
    if labels:
        charts.append(figures.shares(labels, "% of the states called wrong, or that are", "Wrong states, by label"))
    if by_k:
        charts.append(figures.curves(by_k, "rollouts a state (k)", "%", "Wrong states, by rollouts"))
    if first_error["paths"]:
        early = round(first_error["too_early"]["value"] * first_error["paths"])
        offsets = {int(offset): count for offset, count in first_error["offsets"].items()}
        names = ["no error", *(str(offset) for offset in range(max(offsets, default=0) + 1))]
        counts = [early, *(offsets.get(offset, 0) for offset in range(len(names) - 1))]
        bars = [
            {"bin": name, "count": count, "kind": "exact" if name == "0" else "off"}
            for name, count in zip(names, counts, strict=True)
        ]
        bars.sort(key=lambda bar: bar["kind"])
        charts.append(figures.stacked(bars, names, "steps after the first wrong one", "paths", "Located first errors"))
    return charts
