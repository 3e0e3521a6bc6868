"""The section on the seed filter. In: seeds/ of a run. Out: reasons, a chart, and what was saved."""

from collections import Counter
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmprm.report import figures, results

Row = dict[str, Any]

_TENTHS = [f"{tenth / 10:.1f}" for tenth in range(11)]


def seed_filter(folder: Path) -> Row | None:
    """Count seed problems by reason, and draw their pass rates; None where there are no decisions."""
    rows = results.decisions(folder)
    if not rows:
        return None
    reasons = Counter((row["kept"], row["reason"]) for row in rows)
    ordered = sorted(reasons.items(), key=lambda item: (not item[0][0], -item[1]))
    statistics = results.read_json(folder / "seeds" / "statistics.json") or {}
    return {
        "problems": len(rows),
        "reasons": [{"kept": kept, "reason": reason, "count": count} for (kept, reason), count in ordered],
        "chart": Markup(_chart(rows)),
        "rollouts": statistics.get("rollouts"),
        "adaptive": statistics.get("adaptive"),
        "blank": statistics.get("blank_image"),
    }


def _chart(rows: list[Row]) -> str:
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
