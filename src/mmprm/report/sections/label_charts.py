"""The sections on the seed filter and on labels. In: seeds/, the tables of nodes, labels/. Out: charts and counts."""

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.report import figures, results
from mmprm.report.results import Row, annotation_files, read_json

_TENTHS = [f"{tenth / 10:.1f}" for tenth in range(11)]
_ORIGINS = ("probed", "pooled", "implied", "after_error", "answer", "given", "none")
_MEASURES = ("precision", "recall")
_FILTERED = ("first_error_before_consensus", "first_error_after_consensus")


def seed_filter(folder: Path) -> Row | None:
    """Count seed problems by reason, and draw their pass rates; None where there are no decisions."""
    rows = results.decisions(folder)
    if not rows:
        return None
    reasons = Counter((row["kept"], row["reason"]) for row in rows)
    ordered = sorted(reasons.items(), key=lambda item: (not item[0][0], -item[1]))
    statistics = read_json(folder / "seeds" / "statistics.json") or {}
    return {
        "problems": len(rows),
        "reasons": [{"kept": kept, "reason": reason, "count": count} for (kept, reason), count in ordered],
        "chart": Markup(_pass_rates(rows)),
        "rollouts": statistics.get("rollouts"),
        "adaptive": statistics.get("adaptive"),
        "blank": statistics.get("blank_image"),
    }


def _pass_rates(rows: list[Row]) -> str:
    """Draw problems by right rollouts; by their share where problems were given different numbers of rollouts."""
    adaptive = any(row["stopped"] in ("certain", "bound") for row in rows)
    most = max(row["n_correct"] or 0 for row in rows)
    order = _TENTHS if adaptive else [str(count) for count in range(most + 1)]
    counted = Counter((_tenth(row) if adaptive else str(row["n_correct"] or 0), row["reason"] or "") for row in rows)
    bars = [
        {"bin": right, "count": count, "kind": reason.replace("_", " ")} for (right, reason), count in counted.items()
    ]
    bars.sort(key=lambda row: (row["kind"] != "kept", row["kind"]))
    x = "share of right rollouts" if adaptive else "right rollouts of a problem"
    return figures.stacked(bars, order, x, "problems", "Seed problems")


def _tenth(row: Row) -> str:
    return _TENTHS[round(10 * row["n_correct"] / row["n_rollouts"])] if row["n_rollouts"] else _TENTHS[0]


def label_charts(config: Config, folder: Path) -> Row:
    """Return charts of MC values and labels, and the statistics of the labels stage as facts and tables of counts."""
    statistics = read_json(folder / "labels" / "statistics.json") or {}
    numbers = (int, float)
    named = {name.replace("_", " "): value for name, value in statistics.items()}
    return {
        "charts": [Markup(chart) for chart in _charts(config, folder)],
        "facts": {name: value for name, value in named.items() if isinstance(value, numbers)},
        "tables": {
            name: counts
            for name, counts in named.items()
            if isinstance(counts, dict) and counts and all(isinstance(n, numbers) for n in counts.values())
        },
    }


def _charts(config: Config, folder: Path) -> list[str]:
    """Draw MC values of all nodes, soft labels of probed steps, and hard labels by origin, where there are any."""
    charts = []
    nodes = annotation_files(config, folder, "nodes")
    parts = (part["mc"] for path in nodes for part in tables.batches(path, schemas.NODES, ("mc",)))
    values = [value for part in parts for value in part.drop_null().to_pylist()]
    if values:
        charts.append(figures.mc_histogram(values, "MC values of all probed states"))
    steps = _labelled_steps(folder)
    if steps.empty:
        return charts
    probed = steps[(steps["label_source"] == "probed") & (steps["n_rollouts"] > 0)]
    if not probed.empty:
        tenths = (10 * probed["n_correct"] / probed["n_rollouts"]).round().astype(int)
        soft = _counts(probed.assign(kind=probed["kind"] + " path", tenth=tenths), ["kind", "tenth"])
        kinds = ["negative path", "positive path"]  # steps of outcome paths have no label
        kinds += ["given path"] if any(kind == "given path" for kind, _ in soft) else []
        bars = [
            {"bin": name, "count": soft.get((kind, tenth), 0), "kind": kind}
            for kind in kinds
            for tenth, name in enumerate(_TENTHS)
        ]
        title = "Soft labels at probed steps"
        charts.append(figures.stacked(bars, _TENTHS, "soft label (MC value)", "markers", title))
    named = steps.assign(hard=steps["hard"].map({1.0: "right", 0.0: "wrong"}).fillna("unknown"))
    hard = _counts(named, ["label_source", "hard"])
    bars = [{"bin": source, "count": count, "kind": kind} for (source, kind), count in hard.items()]
    origins = [name for name in _ORIGINS if name in set(steps["label_source"])]
    charts.append(figures.stacked(bars, origins, "where the label is from", "markers", "Hard labels"))
    return charts


def _counts(rows: pd.DataFrame, columns: list[str]) -> dict[Any, int]:
    """Count the rows by their values in two columns, in the order of these."""
    return rows.groupby(columns).size().to_dict()


def _labelled_steps(folder: Path) -> pd.DataFrame:
    """Read the labels of all paths (without their texts), a row a state: kind, counts, hard label and origin."""
    path, lists = folder / "labels" / "paths.parquet", ["n_correct", "n_rollouts", "hard", "label_source"]
    if not path.is_file():
        return pd.DataFrame()
    parts = [part.to_pandas() for part in tables.batches(path, schemas.PATHS, ["kind", *lists])]
    steps = pd.concat(parts).explode(lists).dropna(subset="label_source") if parts else pd.DataFrame()
    return steps.astype(dict.fromkeys(lists[:3], float)) if parts else steps


def label_accuracy(folder: Path) -> Row | None:
    """Return how right the labels are by labels/quality.json; None where it was not measured, or on no state."""
    measured = read_json(folder / "labels" / "quality.json")
    if not measured or not measured["markers"]:
        return None
    rows = [{"name": _name(row), **row} for row in measured["rows"] if row["right"]["count"]]
    return {
        **{key: measured[key] for key in ("problems", "markers", "markers_unreadable", "errors", "first_error")},
        "rows": rows,
        "filtered": [errors for errors in map(measured.get, _FILTERED) if errors and errors["paths"]],
        "charts": [Markup(chart) for chart in _accuracy_charts(rows, measured["first_error"])],
    }


def _name(row: Row) -> str:
    if row["labels"] == "hard":
        return f"hard, {row['source']}"
    if row["labels"] == "soft":
        return f"soft, wrong where MC ≤ {row['threshold']:g}"
    if row["labels"] == "dense":
        rule = "hard labels" if row["threshold"] is None else f"wrong where MC ≤ {row['threshold']:g}"
        return f"steps of dense solutions, {rule}"
    return f"probed states, first {row['k']} rollouts"


def _accuracy_charts(rows: list[Row], first_error: Row) -> list[str]:
    points = [
        {"name": row["name"], "x": row["k"], "series": measure, **figures.with_interval(row[measure])}
        for row in rows
        for measure in _MEASURES
        if row[measure]["value"] is not None
    ]
    by_label = [point for point in points if point["x"] is None]
    by_k = [point for point in points if point["x"] is not None]
    charts = []
    if by_label:
        title = "Wrong states, by label"
        charts.append(figures.shares(by_label, "% of the states called wrong, or that are", title))
    if by_k:
        charts.append(figures.curves(by_k, "rollouts a state (k)", "%", "Wrong states, by rollouts"))
    if first_error["paths"]:
        early = round(first_error["too_early"]["value"] * first_error["paths"])
        offsets = {int(offset): count for offset, count in first_error["offsets"].items()}
        late = range(1, max(offsets, default=0) + 1)
        bars = [{"bin": "0", "count": offsets.get(0, 0), "kind": "exact"}]
        bars += [{"bin": "no error", "count": early, "kind": "off"}]
        bars += [{"bin": str(offset), "count": offsets.get(offset, 0), "kind": "off"} for offset in late]
        names = ["no error", "0", *map(str, late)]
        charts.append(figures.stacked(bars, names, "steps after the first wrong one", "paths", "Located first errors"))
    return charts


def annotation_facts(config: Config, folder: Path) -> Row | None:
    """Return means a tree of searches, rollouts and tokens, how trees ended, and where first errors lie.

    cached: the share of prompt tokens that the engine had, None where it does not say. None without a tree.
    """
    status = tables.read_rows(annotation_files(config, folder, "status"), schemas.STATUS)
    trees = [row for row in status if row["n_nodes"]]
    if not trees:
        return None
    usage = next((row for row in results.costs_by_rule(config, folder) if row["stage"] == "annotate"), {})
    prompt, cached = usage.get("used_prompt_tokens"), usage.get("used_cached_prompt_tokens")
    means = {
        name: sum(row[f"n_{name}"] or 0 for row in trees) / len(trees) for name in ("searches", "rollouts", "tokens")
    }
    return {
        "trees": len(trees),
        **{name: round(value, 1) for name, value in means.items()},
        "ended": dict(Counter(row["reason"] or row["status"] for row in trees).most_common()),
        "cached": cached / prompt if prompt and cached is not None else None,
        "chart": _first_errors(folder),
    }


def _first_errors(folder: Path) -> Markup | None:
    """Draw at which step the located first errors lie: the last of a negative path."""
    path = folder / "labels" / "paths.parquet"
    if not path.is_file():
        return None
    columns = ("kind", "steps", "answer")
    rows = (row for part in tables.batches(path, schemas.PATHS, columns) for row in part.to_pylist())
    depths = Counter(len(row["steps"]) + (row["answer"] is not None) for row in rows if row["kind"] == "negative")
    if not depths:
        return None
    order = [str(depth) for depth in range(1, max(depths) + 1)]
    bars = [{"bin": depth, "count": depths[int(depth)], "kind": "negative path"} for depth in order]
    return Markup(figures.stacked(bars, order, "step of the first error", "paths", "Where first errors lie"))
