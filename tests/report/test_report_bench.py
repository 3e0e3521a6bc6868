"""What the report shows of votes, outcome models, McNemar's test, groups and step benchmarks."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from report_example import settings

from mmprm.config import Config
from mmprm.data import tables
from mmprm.report.page import render


def row(metric: str, value: float | None, **more: Any) -> dict[str, Any]:
    ends = {"ci_low": None if value is None else value - 0.05, "ci_high": None if value is None else value + 0.05}
    return (
        {"benchmark": "test", "variant": "soft", "n": 4, "metric": metric, "value": value, "problems": 9} | ends | more
    )


@pytest.fixture
def page(tmp_path: Path) -> str:
    """The text of the page of a run that has metrics and nothing else."""
    values = {
        "random": 0.31, "majority": 0.42, "weighted_majority": 0.44, "weighted_majority_minus_majority": 0.02,
        "weighted_majority/average": 0.44, "weighted_majority/min": 0.43, "orm/judge": 0.35,
        "orm_minus_random/judge": 0.04, "bon/mean_odds": 0.37, "bon_minus_random/mean_odds": 0.06,
        "bon_minus_orm/judge/mean_odds": 0.02, "oracle": 0.81,
    }  # fmt: skip
    rows = [row(name, value, primary=name.startswith("bon") and "mean_odds" in name) for name, value in values.items()]
    test = {"choice": "bon/mean_odds", "against": "majority", "n": 4, "both": 3, "neither": 3, "only_ours": 1.5}
    test |= {"only_theirs": 5, "by_lot": 1, "p_value": 0.4531, "p_low": 0.3, "p_high": 0.6}
    tables.write_json(
        tmp_path / "bench/test/soft/metrics.json",
        {"rows": rows, "mcnemar": [test], "n_groups": 6, "n_problems": 9, "weighted_majority_by": "average"},
    )
    steps = {"benchmark": "vpb", "variant": "soft", "metric": "macro_f1", "threshold": 0.625, "n_paths": 12}
    steps |= {"threshold_chosen_on": "dev", "development": False, "n_problems": 7, "n_steps": 40, "n_wrong_steps": 11}
    steps |= {"auc_steps": 0.71, "n_paths_too_long": 2}
    lines = [row("macro_f1", 0.61, subset="all"), row("f1_wrong", 0.5, subset="all")]
    lines += [row("macro_f1", None, subset="MathVision")]
    tables.write_json(tmp_path / "steps/vpb/soft/metrics.json", steps | {"rows": lines})
    values = settings().model_dump(mode="json")
    tests = {"dev": {"problems": "p", "paths": "d"}, "vpb": {"problems": "p", "paths": "t", "development": "dev"}}
    html = render(Config.model_validate(values | {"step_benchmarks": tests}), tmp_path)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_votes_and_outcome_models_stand_before_the_aggregates_with_their_differences(page: str) -> None:
    lines = ["random 31.0", "majority 42.0", "weighted majority 44.0 39.0–49.0", "votes weighted by min 43.0"]
    lines += ["outcome PRM, judge 35.0", "PRM, mean_odds primary 37.0", "oracle 81.0"]
    places = [page.index(line, page.index("chosen by")) for line in lines]
    assert places == sorted(places)
    assert "votes weighted by average" not in page, "it is the line weighted majority"
    assert "weighted majority 44.0 39.0–49.0 +2.0 −3.0 to +7.0" in page
    assert "outcome PRM, judge 35.0 30.0–40.0 +4.0 −1.0 to +9.0" in page


def test_mcnemar_and_groups_are_said(page: str) -> None:
    assert "1.5 problems right by the PRM alone, 5 by the vote alone, p = 0.45 (1 problems are tied" in page
    assert "95 % have a p from 0.3 to 0.6)" in page
    assert "9 problems, 4 candidates each in 6 groups that share no image" in page


def test_a_step_benchmark_has_a_line_a_subset_and_says_where_its_threshold_is_from(page: str) -> None:
    assert "Steps of vpb PRM soft 12 solutions of 7 problems, 11 of 40 labelled steps wrong" in page
    assert "called wrong below 0.625, chosen on dev. 2 solutions were too long" in page
    assert "macro f1, % primary" in page
    assert re.search(r"all – – – 61\.0 56\.0–66\.0 – 50\.0", page)
    assert re.search(r"MathVision – – – – – –", page)
