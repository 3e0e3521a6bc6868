"""The page of the world with systematic errors: its curve is that of the runs, and it says where the lines cross."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmprm import config

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import systematic_page  # noqa: E402


def differences(*values: float) -> list[dict[str, Any]]:
    return [{"share": 0.2 * place, "bon_minus_majority": {"value": value}} for place, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "crossing"),
    [
        ((-0.2, -0.1, 0.1, 0.3), 0.3),
        ((-0.2, -0.1, -0.1, 0.3), 0.45),
        ((0.1, 0.2), 0.0),
        ((-0.2, 0.1, -0.1), None),  # above for a while is no crossing
        ((), None),
    ],
)
def test_the_crossing_is_where_the_pick_rises_above_the_vote_for_good(
    values: tuple[float, ...], crossing: float | None
) -> None:
    found = systematic_page.crossing(differences(*values))
    assert found == (None if crossing is None else pytest.approx(crossing))


def finished_run(folder: Path, share: float, pick: float, vote: float) -> Path:
    """A run's configuration, as the workflow writes it, and the metrics of one PRM on `dev`."""
    values = yaml.safe_load((ROOT / "workflow_config.yaml").read_text())
    values |= {"run": folder.name}
    values["sources"]["sft"]["wrong_routes"] = share
    values["benchmarks"] = {"dev": {"source": "dev"}}
    metrics = {"n": 16, "n_problems": 400, "primary": "mean_odds", "rows": []}
    shown = {"random": 0.3, "majority": vote, "oracle": 0.9, "weighted_majority": vote, "bon/mean_odds": pick}
    for metric, value in (shown | {"bon_minus_majority/mean_odds": pick - vote}).items():
        for n in (8, 16):
            row = {"n": n, "metric": metric, "value": value if n == 16 else -1.0, "ci_low": value, "ci_high": value}
            metrics["rows"].append(row)
    (folder / "bench" / "dev" / "soft").mkdir(parents=True)
    (folder / "bench" / "dev" / "soft" / "metrics.json").write_text(json.dumps(metrics))
    (folder / "config.json").write_text(config.load(values).model_dump_json())
    return folder


def test_the_page_has_a_row_a_run_by_share_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systematic_page, "JSON", tmp_path / "s.json")
    monkeypatch.setattr(systematic_page, "PAGE", tmp_path / "s.md")
    monkeypatch.setattr(systematic_page, "PICTURE", tmp_path / "s.svg")
    monkeypatch.setattr(sys, "argv", ["systematic_page.py"])
    runs = [finished_run(tmp_path / "b", 0.4, 0.55, 0.5), finished_run(tmp_path / "a", 0.0, 0.6, 0.8)]
    assert systematic_page.main(list(map(str, runs))) == 0
    text = (tmp_path / "s.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| 0%", "| 40%"))]
    assert rows[0].startswith("| 0% |") and "60.0 % (60.0 to 60.0)" in rows[0] and "-20.0" in rows[0]
    assert rows[1].startswith("| 40% (counts) |") and "+5.0" in rows[1]
    assert "The lines cross at 32%." in text
    assert "<svg" in (tmp_path / "s.svg").read_text()
    assert [row["share"] for row in json.loads((tmp_path / "s.json").read_text())["rows"]] == [0.0, 0.4]
