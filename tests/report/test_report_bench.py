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
from mmprm.report.headline import headline
from mmprm.report.page import render
from mmprm.report.sections.benchmark_results import finding


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
    ends = {"value": 0.25, "ci_low": 0.125, "ci_high": 0.5}
    shown = ("random", "bon/mean_odds", "majority", "weighted_majority", "oracle")
    minus = {f"bon_minus_{other}/mean_odds": ends for other in ("random", "majority")}
    kind = {"key": "family", "kind": "<i>plane</i>", "problems": 4} | dict.fromkeys(shown, ends) | minus
    tables.write_json(
        tmp_path / "bench/test/soft/metrics.json",
        {"rows": rows, "mcnemar": [test], "n_groups": 6, "n_problems": 9, "weighted_majority_by": "average"}
        | {"by_kind": [kind, kind | {"kind": "", "problems": 5}]},
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


def test_kinds_of_problems_have_a_line_each(page: str) -> None:
    line = " 25.0 12.5–50.0" * 5 + " +25.0 +12.5 to +50.0" * 2
    assert "By family (2), best of 4" in page and "By type of answer" not in page
    assert f"<i>plane</i> 4{line}" in page and f"– 5{line}" in page


def test_a_step_benchmark_has_a_line_a_subset_and_says_where_its_threshold_is_from(page: str) -> None:
    assert "Steps of vpb PRM soft 12 solutions of 7 problems, 11 of 40 labelled steps wrong" in page
    assert "called wrong below 0.625, chosen on dev. 2 solutions were too long" in page
    assert "macro f1, % primary" in page
    assert re.search(r"all – – – 61\.0 56\.0–66\.0 – 50\.0", page)
    assert re.search(r"MathVision – – – – – –", page)


def several(folder: Path, values: dict[str, tuple[float, float, float]]) -> str:
    """The text of the page of a run of three trainings; values: metric -> mean, lowest, highest."""
    rows = [
        row(name, mean, primary=name.startswith("bon") and "mean_odds" in name, trainings=3, sd=0.01)
        | {"lowest": low, "highest": high, "problems": 640}
        for name, (mean, low, high) in values.items()
    ]
    tables.write_json(folder / "bench/test/soft/trainings.json", {"rows": rows, "n_problems": 640, "mcnemar": []})
    for name, loss in (("soft", 0.6), ("soft@1", 0.7), ("soft@2", 0.8)):
        untrained = {"loss": 0.9, "n_markers": 5, "n_problems": 4}
        tables.write_json(
            folder / f"prm/{name}.heldout.json", {"trained": untrained | {"loss": loss}, "untrained": untrained}
        )
    config = settings().model_dump(mode="json")
    config["prm"] |= {"replicates": 3, "variants": {"soft": {}}}
    html = render(Config.model_validate(config), folder)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_values_of_several_trainings_stand_with_the_lowest_and_the_highest(tmp_path: Path) -> None:
    values = {"random": (0.31, 0.31, 0.31), "majority": (0.42, 0.42, 0.42), "bon/mean_odds": (0.37, 0.33, 0.4)}
    values |= {"bon_minus_random/mean_odds": (0.06, 0.02, 0.09), "oracle": (0.8, 0.8, 0.8)}
    page = several(tmp_path, values)
    assert "test in-domain PRM soft 3 trainings" in page and "one training" not in page
    assert "PRM, mean_odds primary 37.0 32.0–42.0 [33.0–40.0] +6.0 +1.0 to +11.0 [+2.0 to +9.0]" in page
    assert "random 31.0 26.0–36.0 " in page and "[31.0" not in page, "what no training changes has no range"
    assert "paired over 640 problems and 3 trainings), single trainings from +2.0 to +9.0. The interval lies" in page
    assert "made longer by what the 3 trainings of a PRM on the same labels add" in page
    assert "cross-entropy against MC values 0.700 [0.600–0.800] 0.900 lower" in page


def test_a_page_of_one_training_says_so_of_every_table(page: str) -> None:
    assert "test in-domain PRM soft one training" in page
    assert page.count("one training") >= 4, "of the headline, the table, the figure, and in the note"
    assert "No interval holds how another training would differ: each PRM is one training." in page
    assert "trainings from" not in page and "[" not in page[page.index("chosen by") : page.index("oracle 81.0")]


def test_a_verdict_on_one_training_is_of_that_training() -> None:
    above = {"value": 0.1, "ci_low": 0.02, "ci_high": 0.2}
    assert finding(above, "majority voting", 640).endswith("better than majority voting, for this one training.")
    assert finding(above | {"trainings": 5}, "majority voting", 640).endswith("better than majority voting.")
    below = {"value": -0.1, "ci_low": -0.2, "ci_high": -0.02}
    assert finding(below, "majority voting", 640).endswith("worse than majority voting, for this one training.")
    assert "too few" in finding(above, "majority voting", 29)
    assert finding(above, "majority voting", 640, one_training=False).endswith("better than majority voting.")


def test_a_published_prm_is_of_no_training(tmp_path: Path) -> None:
    config = settings().model_dump(mode="json", exclude_none=True)
    config["prm"]["variants"]["theirs"] = {"external": {"kind": "scores_file", "path": "their.parquet"}}
    values = {"random": 0.31, "majority": 0.42, "bon/mean_odds": 0.52, "bon_minus_majority/mean_odds": 0.1}
    for variant in ("soft", "theirs"):
        rows = [row(name, value, variant=variant, problems=640) for name, value in values.items()]
        tables.write_json(tmp_path / f"bench/test/{variant}/metrics.json", {"rows": rows, "n_problems": 640})
    lines = "\n".join(headline(Config.model_validate(config), tmp_path))
    ours, theirs = lines.split("PRM theirs (published): ")
    assert "PRM soft (one training): " in ours and "better than majority voting, for this one training." in ours
    assert theirs.endswith("better than majority voting.")
