"""From tables to metrics.json and summary.json: what counts, what is chosen, and what stops the stage."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.evaluation import candidates
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.evaluation.measure import measure, summarise
from mmprm.prm import score_stamp
from mmprm.runtime.errors import UserError

N = 4
BASELINES = ("random", "random_parsed", "majority")
KINDS = ("bon", *(f"bon_minus_{other}" for other in BASELINES))
WEIGHTED = ("weighted_majority", *(f"weighted_majority_minus_{other}" for other in BASELINES))
WEIGHTS = ("", "/min", "/max", "/average", "/last", "/product")
METRICS = (
    ["random", "random_parsed", "majority", "oracle"]
    + [f"{kind}/{name}" for kind in KINDS for name in AGGREGATES]
    + [f"{kind}{name}" for kind in WEIGHTED for name in WEIGHTS]
)


def configuration(n: int = N) -> Config:
    return Config.model_validate(
        {
            "run": "test",
            "sources": {
                "mini": {"kind": "mini", "split": "test", "size": 2, "families": [_family()]},
                "pool": {"kind": "mini", "split": "seeds", "size": 2, "families": [_family()]},
            },
            "policy": {"base": "models/mini", "sources": ["pool"]},
            "seeds": {"sources": ["pool"]},
            "benchmarks": {"test": {"source": "mini"}, "far": {"source": "mini", "domain": "out_of_domain"}},
            "bench": {"n": n, "primary": "min", "resamples": 500},
            "prm": {"variants": {"soft": {}, "hard": {"label": "hard"}}},
        }
    )


def _family() -> str:
    from mmprm.mini.problems import FAMILIES

    return next(iter(FAMILIES))


def ok(answer: str, verdict: str, *probabilities: float) -> tuple[dict[str, Any], list[float]]:
    """A candidate of one step: two markers."""
    row = {"text": f"<{answer}>", "steps": ["s"], "answer": answer, "status": "ok", "verdict": verdict}
    return row, list(probabilities)


def broken(status: str = "empty") -> tuple[dict[str, Any], list[float]]:
    return {"text": "", "steps": [], "answer": None, "status": status, "verdict": "unparsed"}, []


@dataclass
class Run:
    """A folder with the three tables; `measured` runs the stage on them."""

    folder: Path
    config: Config = field(default_factory=configuration)

    def write(self, **groups: list[tuple[dict[str, Any], list[float]]]) -> None:
        write_problems(self.folder / "p.parquet", [Problem(name, "s", "q", "7") for name in groups])
        given, scores = [], []
        for name, group in groups.items():
            for number, (row, probabilities) in enumerate(group):
                key = {"problem_id": name, "candidate": number}
                given.append(key | {"method": "m", "n_tokens": 10, "finish_reason": "stop"} | row)
                scores.append(key | {"probabilities": probabilities})
        tables.write(self.folder / "c.parquet", given, schemas.CANDIDATES)
        tables.write(self.folder / "s.parquet", scores, schemas.SCORES)

    def measured(self, benchmark: str = "test", variant: str = "soft", **more: Any) -> dict[str, Any]:
        names = ("p.parquet", "c.parquet", "s.parquet", f"{benchmark}.{variant}.json")
        paths = [self.folder / name for name in names]
        measure(self.config, benchmark, variant, *paths, **more)
        return json.loads(paths[-1].read_text())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


RIGHT, WRONG = ok("7", "correct", 0.9, 0.8), ok("8", "incorrect", 0.2, 0.9)


def test_every_metric_has_a_row_at_every_power_of_two(run: Run) -> None:
    run.write(a=[RIGHT, WRONG, WRONG, WRONG], b=[RIGHT, RIGHT, WRONG, broken()])
    found = run.measured()
    assert {(row["metric"], row["n"]) for row in found["rows"]} == {
        *((metric, n) for metric in METRICS for n in (1, 2, 4)),
        *(("bon_minus_fewer/min", n) for n in (2, 4)),
    }
    assert {row["metric"] for row in found["rows"] if row["primary"]} == {
        *(f"{kind}/min" for kind in KINDS),
        "bon_minus_fewer/min",
    }
    for row in found["rows"]:
        assert row.keys() == {
            *("benchmark", "variant", "n", "metric", "value", "ci_low", "ci_high", "problems", "primary")
        }
        assert row["ci_low"] <= row["value"] <= row["ci_high"] and row["problems"] == 2


@pytest.mark.parametrize("what", ["steps", "answer"])
def test_scores_of_other_candidates_of_as_many_steps_are_refused(run: Run, what: str) -> None:
    run.write(a=[RIGHT, WRONG, WRONG, WRONG], b=[RIGHT, RIGHT, WRONG, broken()])
    table, path = pq.read_table(run.folder / "s.parquet"), run.folder / "c.parquet"
    rows = tables.read_rows(path, schemas.CANDIDATES)
    made_for = {score_stamp.OF: score_stamp.digest(rows, "problem_id", "candidate")}
    before = run.measured()
    pq.write_table(table.replace_schema_metadata(made_for), run.folder / "s.parquet")
    tables.write(path, reversed(rows), schemas.CANDIDATES)
    assert run.measured() == before, "the same candidates, in any order, and with the verdicts of another grading"
    first, second = rows[0], rows[1]
    first[what], second[what] = ["t"] if what == "steps" else second[what], first[what]
    tables.write(path, rows, schemas.CANDIDATES)
    with pytest.raises(UserError, match=r"s\.parquet: made for other candidates"):
        run.measured()


def test_official_scores_of_a_benchmark_of_variants_stand_beside_accuracy(run: Run) -> None:
    values = run.config.model_dump(mode="json") | {"benchmarks": {"test": {"source": "variants"}}}
    values["sources"]["variants"] = {"kind": "dynamath", "path": "dataset.json"}
    run.config = Config.model_validate(values)
    run.write(**{"s/1/1": [RIGHT] * 4, "s/1/2": [RIGHT, RIGHT, WRONG, WRONG], "s/2/1": [WRONG] * 4})
    scores = {(row["choice"], row["score"]): row for row in run.measured()["official"]}
    assert scores["random", "worst_case"]["value"] == pytest.approx((1 * 0.5 + 0) / 2)
    assert scores["bon/min", "worst_case"]["value"] == scores["bon/min", "average"]["value"] == 0.5
    assert scores["random", "average"]["value"] == pytest.approx((0.75 + 0) / 2)
    assert all(0 <= row["ci_low"] <= row["value"] <= row["ci_high"] <= 1 for row in scores.values())


def test_a_kind_of_problem_has_the_values_that_its_problems_have_alone(run: Run) -> None:
    bars = {"a": [RIGHT, WRONG, WRONG, WRONG], "b": [RIGHT, RIGHT, WRONG, broken()]}
    run.write(**bars, c=[WRONG] * 4)
    families = {"a": "bars", "b": "bars", "c": None}
    problems = [Problem(name, "s", "q", "7", family=family) for name, family in families.items()]
    write_problems(run.folder / "p.parquet", problems)
    kinds = {(row["key"], row["kind"]): row for row in run.measured()["by_kind"]}
    assert kinds.keys() == {("family", "bars"), ("family", "")}, (
        "with one type of answer there is nothing to tell apart"
    )
    assert kinds["family", ""]["random"]["value"] == 0 and kinds["family", ""]["problems"] == 1
    run.write(**bars)
    alone = run.measured()
    assert alone["by_kind"] == []
    of_bars = {metric: row for metric, row in kinds["family", "bars"].items() if isinstance(row, dict)}
    assert {"random", "bon/min", "majority", "bon_minus_majority/min"} <= of_bars.keys()
    for metric, row in of_bars.items():
        ends = next(one for one in alone["rows"] if (one["metric"], one["n"]) == (metric, N))
        assert row == {key: pytest.approx(ends[key]) for key in ("value", "ci_low", "ci_high")}


def test_values_of_a_run_small_enough_to_do_by_hand(run: Run) -> None:
    run.write(a=[RIGHT, WRONG, WRONG, WRONG], b=[RIGHT, RIGHT, WRONG, broken()])
    found = run.measured()
    accuracy = found["accuracy"]
    assert accuracy["random"] == pytest.approx((1 / 4 + 2 / 4) / 2), "the broken candidate is wrong in a random pick"
    assert accuracy["random_parsed"] == pytest.approx((1 / 4 + 2 / 3) / 2), "among those that have an answer"
    assert accuracy["majority"] == 0.5
    assert accuracy["oracle"] == accuracy["bon/min"] == 1
    assert accuracy["bon/last"] == 0
    assert accuracy["bon_minus_random/min"] == pytest.approx(1 - 3 / 8)
    assert accuracy["bon_minus_random_parsed/min"] == pytest.approx(1 - 11 / 24)
    assert accuracy["bon_minus_majority/min"] == pytest.approx(0.5)
    assert accuracy["weighted_majority"] == accuracy["weighted_majority/min"] == pytest.approx(1.0), "0.8 beats 3 x 0.2"
    assert accuracy["weighted_majority/last"] == pytest.approx(0.5), "0.8 loses to 3 x 0.9, 1.6 beats 0.9"
    assert accuracy["weighted_majority_minus_majority"] == pytest.approx(0.5)
    at_two = {row["metric"]: row["value"] for row in found["rows"] if row["n"] == 2}
    assert at_two["weighted_majority"] == pytest.approx((3 / 6 + 5 / 6) / 2), "pairs that have a right one"
    assert at_two["majority"] == pytest.approx((3 / 6 / 2 + (1 + 2 * 0.5 + 2) / 6) / 2)
    assert found["pass_at_k"][0]["value"] == found["accuracy"]["random"] and found["pass_at_k"][-1]["k"] == 4
    assert found["auc_within_problem"]["min"] == 1 and found["auc_within_problem"]["last"] == 0
    assert found["distinct_candidates_mean"] == (2 + 3) / 2
    assert found["parsed_share"] == 7 / 8 and found["tokens_mean"] == 10
    curve = next(curve for curve in found["curves"] if curve["metric"] == "oracle")
    assert curve["n"] == [1, 2, 4] and curve["value"][-1] == 1 and curve["value"][0] == pytest.approx(3 / 8)


def test_an_empty_candidate_is_never_chosen_while_another_one_parsed(run: Run) -> None:
    """Defect 6: it scored 0, the best SumLogPr there is. It is wrong where there is nothing else."""
    hopeless = ok("7", "correct", 0.0, 0.0)
    run.write(a=[broken(), broken("truncated"), broken("malformed"), hopeless], b=[broken()] * 4)
    accuracy = run.measured()["accuracy"]
    assert {accuracy[f"bon/{name}"] for name in AGGREGATES} == {0.5}
    assert accuracy["majority"] == accuracy["weighted_majority"] == accuracy["weighted_majority/product"] == 0.5


def test_an_undecided_candidate_is_left_out_and_counted_but_not_wrong(run: Run) -> None:
    """Defect 2: where the judge was down, each rollout was wrong."""
    undecided = ok("?", "undecided", 0.99, 0.99)
    run.write(a=[RIGHT, undecided, undecided, undecided], b=[undecided] * 4, c=[RIGHT] * 4)
    found = run.measured()
    assert found["accuracy"]["random"] == found["accuracy"]["bon/min"] == found["accuracy"]["majority"] == 1
    assert (found["n_problems"], found["n_problems_undecided"], found["n_undecided"]) == (2, 1, 7)


def test_a_run_without_any_verdict_stops(run: Run) -> None:
    run.write(a=[ok("7", "undecided", 0.5, 0.5)] * N)
    with pytest.raises(UserError, match="grader"):
        run.measured()


def test_a_nan_names_its_problem_and_candidate(run: Run) -> None:
    run.write(a=[RIGHT, WRONG, WRONG, WRONG], b=[RIGHT, RIGHT, ok("8", "incorrect", 0.5, math.nan), WRONG])
    with pytest.raises(UserError, match="problem 'b', candidate 2"):
        run.measured()


def test_scores_that_do_not_match_the_markers_are_refused(run: Run) -> None:
    """Defect 7: nothing checked that markers still matched."""
    run.write(a=[RIGHT, WRONG, WRONG, ok("8", "incorrect", 0.5)])
    with pytest.raises(UserError, match="candidate 3 of problem 'a' has 1 probabilities for 2 markers"):
        run.measured()


def test_a_missing_candidate_or_score_stops_the_stage(run: Run) -> None:
    run.write(a=[RIGHT, WRONG, WRONG])
    with pytest.raises(UserError, match="'a' has 3 candidates"):
        run.measured()
    run.write(a=[RIGHT, WRONG, WRONG, WRONG])
    rows = tables.read_rows(run.folder / "s.parquet", schemas.SCORES)
    tables.write(run.folder / "s.parquet", rows[:-1], schemas.SCORES)
    with pytest.raises(UserError, match="candidate 3 of problem 'a' is missing"):
        run.measured()
    write_problems(run.folder / "p.parquet", [Problem("other", "s", "q", "7")])
    with pytest.raises(UserError, match="'a' is not in"):
        run.measured()


def test_a_prm_of_outcomes_alone_chooses_by_its_last_marker_beside_the_others(run: Run) -> None:
    run.write(a=[RIGHT, WRONG, WRONG, broken()], b=[RIGHT, WRONG, WRONG, WRONG], c=[WRONG, RIGHT, WRONG, WRONG])
    scores = tables.read_rows(run.folder / "s.parquet", schemas.SCORES)
    for row in scores:
        first = row["candidate"] == 0
        row["probabilities"] = [0.5, 0.9 if first else 0.1] if row["probabilities"] else []
    tables.write(run.folder / "orm" / "scores.parquet", scores, schemas.SCORES)
    found = run.measured(outcome=[run.folder / "orm" / "scores.parquet"])
    accuracy = found["accuracy"]
    assert accuracy["orm/orm"] == pytest.approx(2 / 3), "the first candidate, wherever it is right"
    assert accuracy["orm_minus_random/orm"] == pytest.approx(2 / 3 - 1 / 4)
    assert accuracy["bon_minus_orm/orm/min"] == pytest.approx(1 / 3)
    assert not any(row["primary"] for row in found["rows"] if row["metric"].startswith("orm"))
    tables.write(run.folder / "orm" / "scores.parquet", scores[:-1], schemas.SCORES)
    with pytest.raises(UserError, match=r"orm/scores\.parquet: candidate 3 of problem 'c' is missing"):
        run.measured(outcome=[run.folder / "orm" / "scores.parquet"])


def test_mcnemar_compares_choices_with_majority_over_many_tie_breaks(run: Run) -> None:
    other = ok("9", "incorrect", 0.1, 0.1)
    groups = {f"win{number}": [RIGHT, WRONG, WRONG, other] for number in range(6)}  # the PRM alone is right
    groups |= {"tie": [RIGHT, WRONG, broken(), broken()], "both": [RIGHT, RIGHT, RIGHT, WRONG]}
    run.write(**groups)
    tests = {test["choice"]: test for test in run.measured()["mcnemar"]}
    assert tests.keys() == {"bon/min", "weighted_majority"}
    found = tests["bon/min"]
    assert (found["only_ours"], found["both"], found["only_theirs"], found["by_lot"]) == (6.5, 1.5, 0, 1)
    assert found["p_value"] == pytest.approx((2 / 2**6 + 2 / 2**7) / 2, rel=0.05), "six or seven won, as the tie falls"
    assert (found["p_low"], found["p_high"]) == (pytest.approx(2 / 2**7), pytest.approx(2 / 2**6))


def test_what_weights_add_to_the_vote_is_split_into_ties_and_others(run: Run) -> None:
    other = ok("9", "incorrect", 0.1, 0.1)
    lost = [RIGHT, other, other, broken()]  # two votes to one, and the weights know better
    run.write(tie=[RIGHT, other, broken(), broken()], lost=lost, both=[RIGHT, RIGHT, RIGHT, WRONG])
    found = run.measured()
    gain = found["weighted_majority_gain"]
    assert (gain["tied"], gain["ties"]) == (1, pytest.approx(0.5 / 3))
    difference = found["accuracy"]["weighted_majority_minus_majority"]
    assert gain["ties"] + gain["others"] == pytest.approx(difference)


def test_a_best_of_n_that_falls_with_n_is_below_zero_against_fewer(run: Run) -> None:
    fooled = [ok("7", "incorrect", 0.99, 0.99), *[RIGHT] * 3]
    run.write(**{f"fooled{number}": fooled for number in range(40)})
    rows = {row["n"]: row for row in run.measured()["rows"] if row["metric"] == "bon_minus_fewer/min"}
    assert rows[2]["value"] == pytest.approx(1 / 2 - 3 / 4) and rows[4]["value"] == pytest.approx(0 - 1 / 2)


def test_problems_of_one_group_are_resampled_together_and_mcnemar_is_not_made(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{image:02}-{version}" for image in range(24) for version in range(4)]
    run.write(**{name: [RIGHT if int(name[:2]) % 2 else WRONG, *[WRONG] * 3] for name in names})
    alone = next(row for row in run.measured()["rows"] if row["metric"] == "oracle" and row["n"] == N)
    monkeypatch.setattr(candidates, "group_of", lambda problem: problem.problem_id[:2])
    found = run.measured()
    together = next(row for row in found["rows"] if row["metric"] == "oracle" and row["n"] == N)
    assert together["value"] == alone["value"] and (found["n_groups"], found["n_problems"]) == (24, 96)
    wide, narrow = (row["ci_high"] - row["ci_low"] for row in (together, alone))
    assert wide == pytest.approx(2 * narrow, rel=0.25), "four versions that all do alike are one"
    assert found["mcnemar"] == []


def test_the_summary_lists_the_rows_of_all_pairs_in_the_order_of_the_configuration(run: Run) -> None:
    run.write(a=[RIGHT, WRONG, WRONG, WRONG])
    pairs = [("far", "hard"), ("test", "hard"), ("test", "soft"), ("far", "soft")]
    found = {pair: run.measured(*pair) for pair in pairs}
    assert found["far", "soft"]["domain"] == "out_of_domain"
    summarise(run.config, [run.folder / f"{b}.{v}.json" for b, v in pairs], run.folder / "summary.json")
    rows = json.loads((run.folder / "summary.json").read_text())
    order = list(dict.fromkeys((row["benchmark"], row["variant"]) for row in rows))
    assert order == [("test", "soft"), ("test", "hard"), ("far", "soft"), ("far", "hard")]
    assert len(rows) == 4 * len(found["test", "soft"]["rows"])
    (run.folder / "torn.json").write_text("{")
    with pytest.raises(UserError, match=r"torn\.json"):
        summarise(run.config, [run.folder / "torn.json"], run.folder / "summary.json")


def test_a_prm_that_knows_gains_over_random_and_one_that_does_not_gains_nothing(run: Run) -> None:
    rng = np.random.default_rng(0)
    knowing, blind = {}, {}
    for problem in range(60):
        rights = rng.random(N) < 0.5
        for groups, effect in ((knowing, 0.4), (blind, 0.0)):
            groups[f"p{problem}"] = [
                ok("7" if right else "8", "correct" if right else "incorrect", *rng.uniform(0, 0.6, 2) + effect * right)
                for right in rights
            ]
    ends = []
    for groups in (knowing, blind):
        run.write(**groups)
        row = next(r for r in run.measured()["rows"] if r["metric"] == "bon_minus_random/min" and r["n"] == N)
        ends.append((row["ci_low"], row["ci_high"]))
    assert ends[0][0] > 0.1
    assert ends[1][0] < 0 < ends[1][1]
