"""The charts of the report. In: rows of plain values. Out: SVG as text, drawn offline, to be inserted in the page."""

import hashlib
import html
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import Any

import altair as alt
import vl_convert

from mmprm.report.results import Row
from mmprm.report.templates import printable

alt.data_transformers.disable_max_rows()

FONT = "Helvetica Neue, Helvetica, Arial, DejaVu Sans, sans-serif"
# Colours that people with colour blindness can tell apart (Okabe and Ito).
_BLUE, _RED, _GREEN, _GREY, _PALE = "#0072b2", "#d55e00", "#009e73", "#7f7f7f", "#8ba7bf"
COLOURS = {
    **dict.fromkeys(("majority", "kept", "minus majority", "positive path", "precision", "left"), _BLUE),
    **dict.fromkeys(("best of N (PRM)", "wrong", "trained", "minus random parsed", "recall"), _RED),
    **dict.fromkeys(("oracle", "right", "exact"), _GREEN),
    **dict.fromkeys(("random", "untrained", "minus random"), _GREY),
    **dict.fromkeys(("between", "off"), _PALE),
    **{"negative path": "#e69f00", "lost": "#d6dbe0", "weighted majority": "#cc79a7"},
}
_TAG = re.compile(r"<\w[^>]*>")
_ROLE = re.compile(r' (?:role|aria-\w+)="[^"]*"')
_LOST = 3  # reasons that a funnel names at a stage
_OTHERS = ["#cc79a7", "#e69f00", "#56b4e9", "#b0a000", "#332288", "#117733", "#882255", "#44aa99", "#a0522d", "#aa4499"]


def _chart(rows: Sequence[Row], **options: Any) -> Any:
    return alt.Chart(alt.Data(values=list(rows)), **options)  # type: ignore[no-untyped-call]


def _svg(chart: Any, label: str) -> str:
    """Render the chart as SVG with ids of its own: browsers look up an id in the whole page."""
    spec = chart.configure(
        font=FONT,
        background="white",
        aria=False,
        view={"stroke": None},
        axis={"gridColor": "#e6e6e6", "domainColor": "#888", "tickColor": "#888", "labelColor": "#333"}
        | {"labelFontSize": 11, "titleColor": "#333", "titleFontSize": 11, "titleFontWeight": "normal"},
        legend={"labelFontSize": 11, "title": None, "symbolOpacity": 1, "labelColor": "#333", "orient": "top"}
        | {"columns": 4, "labelLimit": 220, "offset": 4},
        title={"fontSize": 12, "fontWeight": 600, "anchor": "start", "color": "#222", "offset": 8},
    ).to_dict()
    svg = str(vl_convert.vegalite_to_svg(_printable(spec)))
    svg = _TAG.sub(lambda tag: _ROLE.sub("", tag[0]), svg)  # the chart has a label as a whole
    digest = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r"""(\bid="|url\(#|href="#)""", rf"\g<1>c{digest}-", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(printable(label))}" ', 1)


def _printable(spec: Any) -> Any:
    """Make all texts of a chart printable: the renderer ends its process where one is not."""
    if isinstance(spec, str):
        return printable(spec)
    if isinstance(spec, dict):
        return {_printable(key): _printable(value) for key, value in spec.items()}
    return [_printable(value) for value in spec] if isinstance(spec, list) else spec


def _scale(names: Sequence[str]) -> Any:
    """Return colours by name; names that have none get the other colours in turn."""
    others = itertools.cycle(_OTHERS)
    return alt.Scale(domain=list(names), range=[COLOURS.get(name) or next(others) for name in names])


def with_interval(row: Row) -> Row:
    """Return the value and the interval of a row of measures under the names that the charts use."""
    return {"value": row["value"], "low": row["ci_low"], "high": row["ci_high"]}


def _interval(row: Row) -> tuple[float, float]:
    """Return the ends of a row's interval; its value where it has none."""
    value = row["value"]
    return (value if row["low"] is None else row["low"], value if row["high"] is None else row["high"])


def _in_percent(rows: Sequence[Row]) -> list[Row]:
    keys = ("value", "low", "high")
    return [row | {key: 100 * row[key] for key in keys if row[key] is not None} for row in rows]


def curves(
    rows: Sequence[Row], x: str, y: str, title: str, scale: str = "log2", width: int = 330, legend: bool = True
) -> str:
    """Draw lines of shares over a number. rows: {x, series, value, low, high}, fractions; intervals as bands.

    A series of one row is a point, its interval a bar. scale: log2, log or linear; the ticks are the values of x (of
    lines, where there are any). legend: False where the page has one for several charts.
    """
    count = Counter(row["series"] for row in rows)
    rows = [row | {"alone": count[row["series"]] == 1} for row in rows]
    ticks = sorted({row["x"] for row in rows if not row["alone"]} or {row["x"] for row in rows})
    tick_format = "d" if all(tick == int(tick) for tick in ticks) else "~e"
    low, high = min(_interval(row)[0] for row in rows), max(_interval(row)[1] for row in rows)
    y_scale = alt.Scale(domain=[max(0.0, 100 * low - 3), min(100.0, 100 * high + 3)], nice=True)
    scales = {
        "log2": alt.Scale(type="log", base=2),
        "log": alt.Scale(type="log", nice=False),
        "linear": alt.Scale(zero=False),
    }
    axis = alt.Axis(values=ticks, format=tick_format, grid=False)
    base = _chart(_in_percent(rows), title=title).encode(
        x=alt.X("x:Q", title=x, scale=scales[scale], axis=axis),
        color=alt.Color("series:N", scale=_scale(list(count)), legend=alt.Undefined if legend else None),
    )
    ends = {"y": alt.Y("low:Q", scale=y_scale, title=y), "y2": "high:Q"}
    band = base.transform_filter("isValid(datum.low) && !datum.alone").mark_area(opacity=0.13).encode(**ends)
    bar = base.transform_filter("isValid(datum.low) && datum.alone").mark_rule(strokeWidth=1.5).encode(**ends)
    line = base.mark_line(point={"size": 28, "filled": True}, strokeWidth=2)
    line = line.encode(y=alt.Y("value:Q", scale=y_scale, title=y))
    return _svg((band + bar + line).properties(width=width, height=round(width * 7 / 11)), title)


def differences(rows: Sequence[Row], title: str) -> str:
    """Draw points with intervals about zero. rows: {name, against, value, low, high} as fractions."""
    zero = _chart([{"x": 0}]).mark_rule(color="#333", strokeDash=[3, 3]).encode(x="x:Q")
    return shares(rows, "difference of accuracy (points)", title, "against", zero)


def shares(rows: Sequence[Row], x: str, title: str, key: str = "series", behind: Any = None) -> str:
    """Draw points with intervals. rows: {name, <key>, value, low, high}, fractions; `behind`: a chart to draw on."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    series = list(dict.fromkeys(row[key] for row in rows))
    across = alt.Scale(zero=behind is not None)
    y = alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=260))
    offset = alt.YOffset(f"{key}:N", sort=series)
    colour = alt.Color(f"{key}:N", scale=_scale(series))
    base = _chart(_in_percent(rows)).encode(y=y, yOffset=offset, color=colour)
    bars = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2)
    bars = bars.encode(x=alt.X("low:Q", title=x, scale=across), x2="high:Q")
    points = base.mark_point(filled=True, size=60).encode(x=alt.X("value:Q", title=x, scale=across))
    chart = bars + points if behind is None else behind + bars + points
    height = max(22 * len(series), 18) * len(names) + 10 if behind is None else 44 * len(names) + 10
    return _svg(chart.properties(width=520, height=height, title=title), title)


def mc_bins(values: Sequence[float]) -> list[Row]:
    """Count values that are exactly 0, in each of ten bins between (low < v <= high, but below 1), and exactly 1."""
    bins = ["0", *(f"{tenth / 10:.1f}–{(tenth + 1) / 10:.1f}" for tenth in range(10)), "1"]
    counts = Counter(0 if v <= 0 else 11 if v >= 1 else min(10, ceil(10 * v - 1e-9)) for v in values)
    kinds = {0: "wrong", 11: "right"}
    return [{"bin": name, "count": counts[i], "kind": kinds.get(i, "between")} for i, name in enumerate(bins)]


def mc_histogram(values: Sequence[float], title: str) -> str:
    """Draw how many nodes have which MC value; 0 and 1 have bars of their own, for they are the hard verdicts."""
    rows = mc_bins(values)
    return stacked(rows, [row["bin"] for row in rows], "MC value (exactly 0, between, exactly 1)", "nodes", title)


def stacked(rows: Sequence[Row], order: Sequence[str], x: str, y: str, title: str) -> str:
    """Draw stacked bars. rows: {bin, count, kind}."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    slanted = len(order) > 5 and max(map(len, order)) > 4
    axis = alt.Axis(labelAngle=-45 if slanted else 0, labelLimit=140)
    chart = _chart(rows, title=title).mark_bar()
    chart = chart.encode(
        x=alt.X("bin:N", sort=list(order), title=x, axis=axis),
        y=alt.Y("sum(count):Q", title=y, axis=alt.Axis(tickMinStep=1)),
        color=alt.Color("kind:N", scale=_scale(kinds), sort=kinds),
        order=alt.Order("kind:N"),
    )
    return _svg(chart.properties(width=330, height=190), title)


def calibration(rows: Sequence[Row], title: str) -> str:
    """Draw mean label over mean prediction. rows: {series, predicted, label, count}; the diagonal is perfect."""
    unit = alt.Scale(domain=[0, 1])
    diagonal = _chart([{"x": 0, "y": 0}, {"x": 1, "y": 1}]).mark_line(strokeDash=[4, 4], color="#aaa")
    diagonal = diagonal.encode(
        x=alt.X("x:Q", scale=unit, title="predicted P(yes)"), y=alt.Y("y:Q", scale=unit, title="MC value")
    )
    base = _chart(rows).encode(
        x=alt.X("predicted:Q", scale=unit),
        y=alt.Y("label:Q", scale=unit),
        color=alt.Color("series:N", scale=_scale(list(dict.fromkeys(row["series"] for row in rows)))),
    )
    size = alt.Size("count:Q", legend=None, scale=alt.Scale(range=[15, 220]))
    points = base.mark_point(filled=True, opacity=0.9).encode(size=size)
    return _svg(
        (diagonal + base.mark_line(strokeWidth=1.5) + points).properties(width=250, height=220, title=title), title
    )


def funnel(rows: Sequence[Row], title: str) -> str:
    """Draw what is left after each stage, and what was lost. rows: {stage, count, lost: reason -> count}, in order."""
    shown = []
    for row in rows:
        lost = sum(row["lost"].values())
        reasons = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in list(row["lost"].items())[:_LOST])
        more = ", …" if len(row["lost"]) > _LOST else ""
        words = f"{row['count']:,}" + (f" (lost {lost:,}: {reasons}{more})" if lost else "")
        bar = {"stage": row["stage"], "end": row["count"] + lost, "said": words}
        shown += [bar | {"kind": "left", "count": row["count"]}, bar | {"kind": "lost", "count": lost}]
    order = [row["stage"] for row in rows]
    base = _chart(shown).encode(y=alt.Y("stage:N", sort=order, title=None, axis=alt.Axis(labelLimit=240)))
    # Twice as wide as the longest bar: what was lost is written beside the bars.
    across = alt.Scale(domain=[0, 2.1 * max(1, *(bar["end"] for bar in shown))])
    bars = base.mark_bar().encode(
        x=alt.X("count:Q", title=None, scale=across, axis=None),
        color=alt.Color("kind:N", scale=_scale(["left", "lost"])),
        order=alt.Order("kind:N"),
    )
    text = base.transform_filter("datum.kind == 'lost'")
    text = text.mark_text(align="left", dx=5, fontSize=11, color="#333", limit=460)
    text = text.encode(x=alt.X("end:Q", scale=across, axis=None), text="said:N")
    return _svg((bars + text).properties(width=640, height=24 * len(rows), title=title), title)


def durations(rows: Sequence[Row], title: str) -> str:
    """Draw horizontal bars of time. rows: {stage, seconds}, in the order to show."""
    order = [row["stage"] for row in rows]
    base = _chart(rows).encode(
        y=alt.Y("stage:N", sort=order, title=None, axis=alt.Axis(labelLimit=200)),
        x=alt.X("seconds:Q", title="seconds, all jobs"),
    )
    text = base.mark_text(align="left", dx=4, fontSize=11, color="#333")
    chart = base.mark_bar(color=_PALE) + text.encode(text=alt.Text("seconds:Q", format=",.0f"))
    return _svg(chart.properties(width=330, height=19 * len(rows), title=title), title)


def roc(rows: Sequence[Row], title: str) -> str:
    """Draw ROC curves. rows: {series, false_positive, true_positive}; the diagonal is chance."""
    unit = alt.Scale(domain=[0, 1])
    x, y = "wrong steps called right", "right steps called right"
    diagonal = _chart([{"x": 0, "y": 0}, {"x": 1, "y": 1}]).mark_line(strokeDash=[4, 4], color="#aaa")
    diagonal = diagonal.encode(x=alt.X("x:Q", scale=unit, title=x), y=alt.Y("y:Q", scale=unit, title=y))
    lines = _chart([row | {"at": at} for at, row in enumerate(rows)]).mark_line(strokeWidth=2)
    lines = lines.encode(
        x=alt.X("false_positive:Q", scale=unit),
        y=alt.Y("true_positive:Q", scale=unit),
        order="at:Q",
        color=alt.Color("series:N", scale=_scale(list(dict.fromkeys(row["series"] for row in rows)))),
    )
    return _svg((diagonal + lines).properties(width=250, height=220, title=title), title)


def lines(rows: Sequence[Row], x: str, y: str, title: str) -> str:
    """Draw lines of values over a number. rows: {series, x, value}."""
    axis = alt.Axis(tickMinStep=1, format="d", grid=False)
    base = _chart(rows, title=title).encode(
        x=alt.X("x:Q", title=x, axis=axis, scale=alt.Scale(zero=False, nice=False)),
        y=alt.Y("value:Q", title=y, scale=alt.Scale(zero=False)),
        color=alt.Color("series:N", scale=_scale(list(dict.fromkeys(row["series"] for row in rows)))),
    )
    alone = len({row["x"] for row in rows}) == 1
    marks = base.mark_point(filled=True, size=60) if alone else base.mark_line(strokeWidth=1.5)
    return _svg(marks.properties(width=250, height=200), title)
