"""The section on PRMs as judges of steps on held-out problems. In: prm/<model>.heldout.json. Out: tables and charts."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from markupsafe import Markup

from mmprm.config import Config
from mmprm.report import figures
from mmprm.report.results import Row, read_json

_HELDOUT = (
    ("loss", "cross-entropy against MC values", "lower"),
    ("constant_loss", "the same of the best constant", "–"),
    ("ece", "calibration error (ECE)", "lower"),
    ("auc_steps", "AUC over all steps", "higher"),
)


def heldout_measures(config: Config, folder: Path) -> list[Row]:
    """Return each variant's measures on held-out problems, trained beside untrained; a variant without is left out."""
    measures = []
    for variant in config.prm.variants:
        found = [read_json(folder / "prm" / f"{model}.heldout.json") for model in config.prm.models_of(variant)]
        each = [_of_variant(variant, values, config.bench.primary) for values in found if values is not None]
        measures += [_mean_of(each)] if each else []
    return measures


def _mean_of(each: Sequence[Row]) -> Row:
    """Return the measures of trainings of a variant as one, {lowest, highest} added to rows; the chart is the first's.

    What any of them lacks has no mean; one training is returned as it is.
    """
    rows = []
    for same in zip(*(measures["rows"] for measures in each), strict=True):
        values = [row["trained"] for row in same]
        if len(each) > 1 and None not in values:
            ends = {"trained": sum(values) / len(values), "lowest": min(values), "highest": max(values)}
            rows.append(same[0] | ends)
        else:
            rows.append(same[0] if None not in values else same[0] | {"trained": None})
    return {**each[0], "rows": rows, "trainings": len(each)}


def _of_variant(variant: str, measured: Row, primary: str) -> Row:
    models = {name: measured.get(name) or {} for name in ("trained", "untrained")}
    rows = [
        {"name": label, "better": better, "primary": False, **{name: of.get(key) for name, of in models.items()}}
        for key, label, better in _HELDOUT
    ]
    within = {name: of.get("auc_within_problem") or {} for name, of in models.items()}
    aggregates = {aggregate for values in within.values() for aggregate in values}
    rows += [
        {"name": f"AUC within a problem, {aggregate}", "better": "higher", "primary": aggregate == primary}
        | {name: of.get(aggregate) for name, of in within.items()}
        for aggregate in sorted(aggregates, key=lambda aggregate: (aggregate != primary, aggregate))
    ]
    return {
        "variant": variant,
        "rows": rows,
        "markers": models["trained"].get("n_markers"),
        "problems": models["trained"].get("n_problems"),
        "charts": list(_charts(variant, models)),
        "learnt_nothing": _learnt_nothing(models["trained"]),
    }


def _learnt_nothing(trained: Row) -> bool:
    loss, constant = trained.get("loss"), trained.get("constant_loss")
    return loss is not None and constant is not None and loss >= constant


def _charts(variant: str, models: Row) -> Iterator[Markup]:
    """Draw calibration, the ROC curve over steps, and loss and AUC by depth, as far as they were measured."""
    bins = [
        {"series": name, **entry}
        for name, of in models.items()
        for entry in of.get("calibration") or []
        if entry.get("count")
    ]
    if bins:
        yield Markup(figures.calibration(bins, f"Calibration, PRM {variant}"))
    curve = [{"series": name, **point} for name, of in models.items() for point in of.get("roc") or []]
    if curve:
        yield Markup(figures.roc(curve, f"Steps right or wrong (ROC), PRM {variant}"))
    depths = [
        {"series": name, "x": row["depth"], **row} for name, of in models.items() for row in of.get("by_depth") or []
    ]
    constant = [
        row | {"series": "a constant", "value": row["constant_loss"]} for row in depths if row["series"] == "trained"
    ]
    if len({row["x"] for row in depths}) > 1:
        losses = [row | {"value": row["loss"]} for row in depths] + constant
        yield Markup(figures.lines(losses, "step", "cross-entropy", f"Loss by depth, PRM {variant}"))
        areas = [row | {"value": row["auc_steps"]} for row in depths if row["auc_steps"] is not None]
        if areas:
            yield Markup(figures.lines(areas, "step", "AUC over steps", f"AUC by depth, PRM {variant}"))


def training_curves(config: Config, folder: Path) -> list[Markup]:
    """Draw the loss of each training over its updates, and that on held-out problems where it was measured."""
    folders = {"policy": folder / "policy"} | {f"PRM {name}": folder / "prm" / name for name in config.prm.models}
    charts = []
    for name, place in folders.items():
        history = read_json(place / "losses.json", list) or []
        manifest = read_json(place / "manifest.json") or {}
        info = manifest.get("info")
        held_out = (info.get("held_out_losses") if isinstance(info, dict) else None) or []
        rows = [
            {"series": series, "x": row["step"], "value": row["loss"]}
            for series, of in (("training", history), ("held out", held_out))
            for row in _thinned(of)
        ]
        if rows:
            charts.append(Markup(figures.lines(rows, "update", "loss", f"Training of {name}")))
    return charts


def _thinned(rows: Sequence[Row]) -> Sequence[Row]:
    """Return at most about 300 rows, evenly spaced: a chart holds no more."""
    return rows[:: max(1, len(rows) // 300)]
