"""The part of the report on the seed filter: pass rates where problems were drawn differently often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmprm.data import schemas, tables
from mmprm.report.sections.label_charts import _pass_rates, _tenth, seed_filter


def decision(right: int, drawn: int, reason: str, stopped: str) -> dict[str, Any]:
    row = dict.fromkeys(schemas.SEED_DECISIONS.names) | {"problem_id": f"{right}/{drawn}", "kept": reason == "kept"}
    counts = {"n_rollouts": drawn, "n_correct": right, "n_unparsed": 0, "n_undecided": 0}
    return row | counts | {"reason": reason, "stopped": stopped}


def test_there_is_nothing_to_show_before_there_are_decisions(tmp_path: Path) -> None:
    assert seed_filter(tmp_path) is None


def test_reasons_are_counted_kept_first_and_the_saving_is_passed_on(tmp_path: Path) -> None:
    rows = [decision(0, 8, "none_right", "all_drawn")] * 2 + [decision(1, 4, "kept", "certain")]
    tables.write(tmp_path / "seeds" / "decisions.parquet", rows, schemas.SEED_DECISIONS)
    assert (seed_filter(tmp_path) or {})["adaptive"] is None
    saving = {"saved_rollouts": 4}
    tables.write_json(tmp_path / "seeds" / "statistics.json", {"rollouts": 20, "adaptive": saving, "blank_image": None})
    found = seed_filter(tmp_path)
    assert found is not None
    assert (found["problems"], found["rollouts"], found["adaptive"], found["blank"]) == (3, 20, saving, None)
    assert [(row["kept"], row["reason"], row["count"]) for row in found["reasons"]] == [
        (True, "kept", 1),
        (False, "none_right", 2),
    ]


@pytest.mark.parametrize(("right", "drawn", "tenth"), [(0, 8, "0.0"), (3, 8, "0.4"), (4, 4, "1.0"), (0, 0, "0.0")])
def test_a_pass_rate_is_shown_at_its_tenth(right: int, drawn: int, tenth: str) -> None:
    assert _tenth(decision(right, drawn, "kept", "certain")) == tenth


def test_counts_are_shown_where_all_are_drawn_alike_and_rates_where_not() -> None:
    alike = [decision(right, 8, "kept", "all_drawn") for right in (1, 2)]
    assert "right rollouts of a problem" in _pass_rates(alike)
    assert "share of right rollouts" in _pass_rates([*alike, decision(1, 4, "kept", "certain")])
