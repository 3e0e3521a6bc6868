"""The section on held-out problems. In: prm/<variant>.heldout.json. Out: a table and a chart for each variant."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmprm.config import Config
from mmprm.report import figures
from mmprm.report.results import read_json

Row = dict[str, Any]

_MEASURES = (
    ("loss", "cross-entropy against MC values", "lower"),
    ("ece", "calibration error (ECE)", "lower"),
    ("auc_steps", "AUC over all steps", "higher"),
)


def heldout_measures(config: Config, folder: Path) -> list[Row]:
    """Return each variant's measures on held-out problems, trained beside untrained; a variant without is left out."""
    measured = {name: read_json(folder / "prm" / f"{name}.heldout.json") for name in config.prm.variants}
    return [
        _of_variant(variant, values, config.bench.primary) for variant, values in measured.items() if values is not None
    ]


def _of_variant(variant: str, measured: Row, primary: str) -> Row:
    models = {name: measured.get(name) or {} for name in ("trained", "untrained")}
    rows = [
        {"name": label, "better": better, "primary": False, **{name: of.get(key) for name, of in models.items()}}
        for key, label, better in _MEASURES
    ]
    within = {name: of.get("auc_within_problem") or {} for name, of in models.items()}
    aggregates = {aggregate for values in within.values() for aggregate in values}
    rows += [
        {"name": f"AUC within a problem, {aggregate}", "better": "higher", "primary": aggregate == primary}
        | {name: of.get(aggregate) for name, of in within.items()}
        for aggregate in sorted(aggregates, key=lambda aggregate: (aggregate != primary, aggregate))
    ]
    bins = [
        {"series": name, **entry}
        for name, of in models.items()
        for entry in of.get("calibration") or []
        if entry.get("count")
    ]
    return {
        "variant": variant,
        "rows": rows,
        "markers": models["trained"].get("n_markers"),
        "problems": models["trained"].get("n_problems"),
        "chart": Markup(figures.calibration(bins, f"Calibration, PRM {variant}")) if bins else None,
    }
