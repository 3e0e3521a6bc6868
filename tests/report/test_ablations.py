"""The pages and tables of ablations say what the metrics say; label quality stands in the report."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ranked_tables
from report_example import settings

from mmprm import config as configuration
from mmprm.config import Bench, Config
from mmprm.data import tables
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.evaluation.measure import measure_trainings
from mmprm.report.ablations import Ranked, write_ablation
from mmprm.report.sections.label_charts import label_accuracy
from mmprm.runtime.errors import UserError

VARIANTS = {"soft": {}, "hard": {"label": "hard"}, "slow": {"learning_rate": 1e-6}, "few": {"max_paths_per_problem": 2}}
# Of four problems, those in which each ranks the right one of two candidates first.
RIGHT = {"soft": {0}, "hard": {0, 1, 2}, "slow": set(), "few": {3}}


def config(**ablations: dict[str, Any]) -> Config:
    values = settings().model_dump(mode="json")
    values["prm"]["variants"] = VARIANTS
    return configuration.load(values | {"ablations": {name: {"title": name} | one for name, one in ablations.items()}})


def metrics(folder: Path, variant: str, benchmark: str = "test", accuracy: float = 0.5) -> Path:
    """metrics.json as `measure` writes it, with values that tell variant, metric and N apart."""
    names = [
        "random",
        "majority",
        "oracle",
        *(f"{kind}/{a}" for kind in ("bon", "bon_minus_random") for a in AGGREGATES),
    ]
    rows = []
    for n in (1, 2, 4):
        for place, metric in enumerate(names):
            value = accuracy + n / 100 + place / 10_000
            interval = {"ci_low": value - 0.05, "ci_high": value + 0.05}
            row = {"benchmark": benchmark, "variant": variant, "n": n, "metric": metric, "value": value}
            rows.append(row | interval | {"problems": 12, "primary": metric.endswith("/mean_odds")})
    path = folder / benchmark / variant / "metrics.json"
    auc = {"mean_odds": accuracy + 0.123}
    tables.write_json(path, {"benchmark": benchmark, "variant": variant, "rows": rows, "auc_within_problem": auc})
    return path


def ranked(folder: Path, benchmarks: list[str], metrics: list[Path]) -> Ranked:
    """The tables of every variant on some benchmarks, beside their metrics."""
    scores = [path for name in benchmarks for path in ranked_tables.write(folder, name, name, RIGHT, [""] * 4).values()]
    problems = [folder / f"problems/{name}.parquet" for name in benchmarks]
    return Ranked(problems, [folder / f"bench/{name}/candidates.parquet" for name in benchmarks], scores, metrics)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., tuple[str, list[dict[str, str]]]]:
    """Writes an ablation over metrics of its variants; its page, and the rows of its table."""

    def write(**ablation: Any) -> tuple[str, list[dict[str, str]]]:
        chosen = ablation.get("benchmarks") or ["test", "dev"]
        files = [
            metrics(tmp_path, variant, benchmark, 0.4 + place / 20)
            for benchmark in chosen
            for place, variant in enumerate(ablation["variants"])
        ]
        page, table = tmp_path / "page.html", tmp_path / "table.csv"
        write_ablation(config(one=ablation), "one", ranked(tmp_path, chosen, files[::-1]), page, table)
        return page.read_text(), list(csv.DictReader(table.open()))

    return write


def test_the_table_holds_every_metric_of_every_variant_with_what_tells_them_apart(written) -> None:
    page, rows = written(variants=["slow", "soft"], by="learning_rate", benchmarks=["test"])
    assert len(rows) == 2 * 3 * (3 + 2 * len(AGGREGATES))
    assert {(row["variant"], row["setting"]) for row in rows} == {
        ("slow", "1e-06"),
        ("soft", "4e-06"),
    }  # its own, prm's
    (one,) = [row for row in rows if (row["variant"], row["n"], row["metric"]) == ("soft", "4", "random")]
    assert float(one["value"]) == pytest.approx(0.49) and float(one["ci_low"]) == pytest.approx(0.44)
    assert "dev" not in {row["benchmark"] for row in rows}
    assert "49.3" in page or "49.0" in page


def test_the_page_has_a_line_a_variant_the_gain_and_all_aggregates(written) -> None:
    page, rows = written(variants=["soft", "hard"], by="label")
    for variant in ("soft", "hard"):
        for benchmark in ("test", "dev"):
            (best,) = [
                row
                for row in rows
                if (row["variant"], row["benchmark"], row["n"], row["metric"])
                == (variant, benchmark, "4", "bon/mean_odds")
            ]
            assert f"<b>{100 * float(best['value']):.1f}</b>" in page
    for aggregate in AGGREGATES:
        assert aggregate.replace("_", " ") in page or aggregate in page
    assert page.count("<svg") == 2 * 3
    assert "0.523" in page, "the AUC within a problem"
    assert "no evidence for the method" in page, "of dev"
    assert "<script" not in page and "src=" not in page


def test_beside_each_accuracy_stands_the_paired_difference_to_the_first_variant(written) -> None:
    page, rows = written(variants=["soft", "hard", "slow"], benchmarks=["test"])
    at_two = {(row["variant"], row["metric"]): row for row in rows if row["n"] == "2"}
    hard, slow = (at_two[name, "bon/mean_odds"] for name in ("hard", "slow"))
    assert float(hard["minus_first"]) == pytest.approx(2 / 4) and float(slow["minus_first"]) == pytest.approx(-1 / 4)
    assert float(hard["minus_first_low"]) < 0.5 <= float(hard["minus_first_high"])
    without = [at_two["soft", "bon/mean_odds"], at_two["hard", "random"], at_two["hard", "bon_minus_random/mean_odds"]]
    assert {row[f"minus_first{end}"] for row in without for end in ("", "_low", "_high")} == {""}
    assert "<th>minus soft, points</th>" in page
    assert "+50.0" in page and "−25.0" in page


def test_over_several_trainings_the_page_and_the_table_have_means_and_how_far_trainings_are_apart(
    tmp_path: Path,
) -> None:
    values = config(one={"variants": ["soft", "hard"], "benchmarks": ["test"]}).model_dump(mode="json")
    values["prm"]["replicates"] = 2
    right = {"soft": {0}, "soft@1": {0, 1}, "hard": {0, 1, 2}, "hard@1": {0, 1}}
    scores = ranked_tables.write(tmp_path, "test", "test", right, [""] * 4)
    chosen, place = configuration.load(values), tmp_path / "bench/test"
    tables_of = (tmp_path / "problems/test.parquet", place / "candidates.parquet")
    measures = []
    for name in ("soft", "hard"):
        measures.append(place / name / "trainings.json")
        own = [scores[name], scores[f"{name}@1"]]
        measure_trainings(chosen.model_copy(update={"bench": bench(2)}), "test", name, *tables_of, own, measures[-1])
    files = Ranked([tables_of[0]], [tables_of[1]], list(scores.values()), measures)
    page, table = tmp_path / "page.html", tmp_path / "table.csv"
    write_ablation(chosen.model_copy(update={"bench": bench(2)}), "one", files, page, table)
    rows = {(row["variant"], row["n"], row["metric"]): row for row in csv.DictReader(table.open())}
    soft, hard = (rows[name, "2", "bon/mean_odds"] for name in ("soft", "hard"))
    assert (soft["value"], soft["trainings"], soft["lowest"], soft["highest"]) == ("0.375", "2", "0.25", "0.5")
    assert float(hard["minus_first"]) == pytest.approx(0.25), "0.75 and 0.5, less 0.25 and 0.5"
    text = page.read_text()
    assert "2 trainings of each variant" in text and "over problems and trainings" in text and "[25.0–50.0]" in text


def bench(n: int) -> Bench:
    return Bench(n=n, resamples=200)


def test_a_single_variant_has_its_curve_and_aggregates_and_no_comparison(written) -> None:
    page, rows = written(variants=["soft"], benchmarks=["test"])
    assert page.count("<svg") == 2 and "minus soft" not in page
    assert {row["minus_first"] for row in rows} == {""}
    assert {(row["trainings"], row["lowest"], row["sd"]) for row in rows} == {("1", "", "")}
    assert "one training of each variant" in page


def test_what_a_training_has_cost_stands_beside_its_variant(tmp_path: Path) -> None:
    chosen = config(one={"variants": ["soft", "few"], "benchmarks": ["test"]})
    files = ranked(tmp_path, ["test"], [metrics(tmp_path, name) for name in ("soft", "few")])
    manifests = []
    for name, paths in (("soft", 1234), ("few", 321)):
        manifests.append(tmp_path / f"prm/{name}/manifest.json")
        info = {"examples": paths, "markers": 4 * paths, "steps": paths // 10}
        tables.write_json(manifests[-1], {"info": info, "files": {}})
    page, table = tmp_path / "page.html", tmp_path / "table.csv"
    write_ablation(chosen, "one", replace(files, manifests=manifests), page, table)
    found = {(row["variant"], row["paths"], row["markers"], row["updates"]) for row in csv.DictReader(table.open())}
    assert found == {("soft", "1234", "4936", "123"), ("few", "321", "1284", "32")}
    assert "1,234 paths" in page.read_text() and "32 updates" in page.read_text()
    tables.write_json(manifests[-1], {"files": {}})
    with pytest.raises(UserError, match=r"few/manifest\.json: not the manifest of a PRM"):
        write_ablation(chosen, "one", replace(files, manifests=manifests), page, table)


def test_settings_without_a_number_stand_as_names(written) -> None:
    """max_paths_per_problem null is all of them: a point, not a place on an axis of numbers."""
    page, rows = written(variants=["few", "soft"], by="max_paths_per_problem", benchmarks=["test"])
    assert {(row["variant"], row["setting"]) for row in rows} == {("few", "2"), ("soft", "")}
    assert ">all<" in page


def test_missing_and_torn_metrics_are_named(tmp_path: Path) -> None:
    chosen = config(one={"variants": ["soft", "hard"], "benchmarks": ["test"]})
    file = metrics(tmp_path, "soft")
    files = ranked(tmp_path, ["test"], [file])
    with pytest.raises(UserError, match=r"no metrics of \('test', 'hard'\)"):
        write_ablation(chosen, "one", files, tmp_path / "p", tmp_path / "t")
    file.write_text("[]")
    with pytest.raises(UserError, match=r"metrics\.json: a list, not what the stage writes"):
        write_ablation(chosen, "one", files, tmp_path / "p", tmp_path / "t")


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("problems", "problems of test"),
        ("candidates", "candidates of test"),
        ("scores", r"scores of \('test', 'hard'\)"),
    ],
)
def test_a_missing_table_is_named(tmp_path: Path, lost: str, says: str) -> None:
    files = ranked(tmp_path, ["test"], [metrics(tmp_path, name) for name in ("soft", "hard")])
    left = [path for path in getattr(files, lost) if path.parent.name == "soft"]
    chosen = config(one={"variants": ["soft", "hard"], "benchmarks": ["test"]})
    with pytest.raises(UserError, match=f"ablation one: no {says} among"):
        write_ablation(chosen, "one", replace(files, **{lost: left}), tmp_path / "p", tmp_path / "t")


@pytest.mark.parametrize(
    ("ablation", "says"),
    [
        ({"variants": ["sfot"]}, r"ablations\.one\.variants: there is no 'sfot'; allowed: .*'soft'"),
        ({"variants": ["soft"], "benchmarks": ["tset"]}, r"ablations\.one\.benchmarks: there is no 'tset'"),
    ],
)
def test_an_ablation_of_what_is_not_there_is_refused_before_anything_runs(ablation: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        config(one=ablation)


def ratio(value: float | None, count: int = 10) -> dict[str, Any]:
    ends = (None, None) if value is None else (value - 0.02, value + 0.02)
    return {"value": value, "ci_low": ends[0], "ci_high": ends[1], "count": count}


def measure(labels: str, source: str, threshold: float | None = None, k: int | None = None) -> dict[str, Any]:
    found = {"precision": ratio(0.751), "recall": ratio(0.9), "right": ratio(0.8)}
    return {"labels": labels, "source": source, "threshold": threshold, "k": k, **found}


def test_label_quality_has_a_row_a_labelling_and_a_chart_of_each_kind(tmp_path: Path) -> None:
    rows = [measure("hard", "all"), measure("hard", "implied") | {"precision": ratio(None, 0)}]
    rows += [measure("soft", "steps", threshold) for threshold in (0.0, 0.25)]
    rows += [measure("probed states", "states", 0.0, k) for k in (1, 2, 4)]
    first = {"paths": 40, "exact": ratio(0.6), "too_late": ratio(0.2), "too_early": ratio(0.2)}
    found = {"problems": 9, "markers": 50, "markers_unreadable": 3, "errors": {"reading": 4}, "rows": rows}
    tables.write_json(tmp_path / "labels/quality.json", found | {"first_error": first | {"offsets": {"0": 24, "2": 8}}})
    shown = label_accuracy(tmp_path)
    assert shown is not None
    assert [row["name"] for row in shown["rows"]][:3] == ["hard, all", "hard, implied", "soft, wrong where MC ≤ 0"]
    charts = [str(chart) for chart in shown["charts"]]
    assert len(charts) == 3
    assert "no error" in charts[2] and ">2<" in charts[2]


def test_where_no_step_can_be_judged_nothing_is_said(tmp_path: Path) -> None:
    assert label_accuracy(tmp_path) is None
    tables.write_json(tmp_path / "labels/quality.json", {"markers": 0, "rows": []})
    assert label_accuracy(tmp_path) is None
