"""A base that reads text alone: rows with images are skipped and counted at each stage, and nothing stops for them.

That such a base goes through all stages is a row of the matrix of families (tests/matrix).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_families
from real_data import real_samples
from scripted_engine import ScriptedEngine, ToyPolicy, toy_problem
from toy_world import policy_folder, rows, toy_config
from training_fixtures import config_of, labelled_path

from mmprm import config
from mmprm.annotation.annotate import annotate
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems, write_problems
from mmprm.data.shards import Shard
from mmprm.engine.base import Request
from mmprm.evaluation.measure import measure
from mmprm.evaluation.sample_candidates import gather_candidates, sample_candidates
from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.preflight.examine import examine
from mmprm.prm import score_candidates
from mmprm.prm.marker_examples import ExampleBuilder
from mmprm.prm.step_scores import StepScores
from mmprm.problems.intake import make_source
from mmprm.runtime.errors import UserError
from mmprm.seeds.sample import sample_seeds
from mmprm.seeds.select import select_seeds
from mmprm.training.examples import check_refusals
from mmprm.training.policy_examples import supervised_examples


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_families.build_text(tmp_path_factory.mktemp("models") / "llama", "llama")


@pytest.fixture(scope="module")
def renderer(llama: Path) -> Renderer:
    return Renderer(folders.load_processor(llama))


def test_a_problem_with_an_image_is_named_where_the_model_reads_text_alone(
    renderer: Renderer, mini_problems: list[Problem]
) -> None:
    name = mini_problems[0].problem_id
    with pytest.raises(UserError, match=rf"'{name}' has an image, and the model reads text alone"):
        renderer.prompt(mini_problems[0])


def test_fine_tuning_takes_the_rows_without_images_and_counts_the_others(
    renderer: Renderer, mini_problems: list[Problem]
) -> None:
    """Eight of twelve rows are skipped, which is no share of rows that were refused."""
    mixed = [one if n % 3 else replace(one, images=()) for n, one in enumerate(mini_problems)]
    examples, refusals = supervised_examples(mixed, renderer.processor, renderer, 512)
    assert [one.problem_id for one in examples] == [one.problem_id for one in mixed[::3]]
    assert [one.reason for one in refusals] == ["needs_images"] * 8
    check_refusals(refusals, len(mixed), 0.0, "training of policy")
    examples, refusals = supervised_examples(mini_problems, renderer.processor, renderer, 512)
    assert not examples
    with pytest.raises(UserError, match=r"all 12 rows have images, and the model reads text alone: take sources with"):
        check_refusals(refusals, len(mini_problems), 1.0, "training of policy")


def test_a_prm_takes_the_paths_of_problems_without_images(renderer: Renderer, mini_problems: list[Problem]) -> None:
    problems = {one.problem_id: replace(one, images=()) if n % 2 else one for n, one in enumerate(mini_problems)}
    paths = [labelled_path(one, good) for one in problems.values() for good in (True, False)]
    examples, refusals = ExampleBuilder(problems, renderer.processor, renderer, "hard", 512).build(paths)
    readable = [row["problem_id"] for row in paths if not problems[row["problem_id"]].images]
    assert [one.problem_id for one in examples] == readable
    assert {one.reason for one in refusals} == {"needs_images"} and len(refusals) == 12


class Unasked(ScriptedEngine):
    """An engine of a model that reads text alone: as ours it refuses a problem with an image."""

    def __init__(self) -> None:
        super().__init__(ToyPolicy(), fail=self.refuse)

    @staticmethod
    def refuse(request: Request) -> str | None:
        return "UserError: it has an image, and the model reads text alone" if request.problem.images else None


@pytest.fixture
def mixed(tmp_path: Path, mini_problems: list[Problem]) -> Path:
    """A table of 5 problems without and 15 with an image: more than may fail."""
    image = mini_problems[0].images
    toys = [toy_problem(number) for number in range(20)]
    path = tmp_path / "mixed.parquet"
    write_problems(path, [one if number % 4 == 0 else replace(one, images=image) for number, one in enumerate(toys)])
    return path


def kept(path: Path) -> list[str]:
    return [one.problem_id for one in read_problems(path) if not one.images]


def test_seeds_are_drawn_of_problems_without_images(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, settings, drawn = (
        policy_folder(tmp_path / "policy", '{"model_type": "llama"}'),
        toy_config(),
        tmp_path / "d.parquet",
    )
    sample_seeds(settings, policy, [mixed], Shard(), tmp_path / "work", drawn, Unasked)
    assert "15 of 20 problems have images, and the policy reads text alone: they are skipped" in capsys.readouterr().err
    assert json.loads(tables.usage_path(drawn).read_text())["skipped"] == 15
    out = [tmp_path / name for name in ("seeds.parquet", "decisions.parquet", "statistics.json")]
    select_seeds(settings, [mixed], [drawn], *out)
    reasons = {row["problem_id"]: row["reason"] for row in rows(out[1])}
    assert sorted(name for name, why in reasons.items() if why != "needs_images") == kept(mixed)
    assert json.loads(out[2].read_text())["reasons"]["needs_images"] == 15
    pictured = tmp_path / "pictured.parquet"
    write_problems(pictured, [one for one in read_problems(mixed) if one.images])
    sample_seeds(settings, policy, [pictured], Shard(), tmp_path / "work", drawn, Unasked)
    with pytest.raises(UserError, match=r"of 15 problems none is kept \(15 needs_images\)"):
        select_seeds(settings, [pictured], [drawn], *out)


def test_trees_are_grown_of_problems_without_images(mixed: Path, tmp_path: Path) -> None:
    policy = policy_folder(tmp_path / "policy", '{"model_type": "qwen2"}')
    annotate(toy_config(), policy, mixed, Shard(), tmp_path / "work", tmp_path / "out", Unasked)
    status = {row["problem_id"]: (row["status"], row["reason"]) for row in rows(tmp_path / "out/status.parquet")}
    assert sorted(name for name, what in status.items() if what != ("skipped", "needs_images")) == kept(mixed)
    assert all(what[0] != "failed" for what in status.values())


def test_a_benchmark_is_measured_on_its_problems_without_images(mixed: Path, tmp_path: Path) -> None:
    policy, settings = policy_folder(tmp_path / "policy", '{"model_type": "llama"}'), toy_config()
    drawn, out, scores = tmp_path / "drawn.parquet", tmp_path / "all.parquet", tmp_path / "prm/scores.parquet"
    sample_candidates(settings, "toy", policy, mixed, Shard(), tmp_path / "work", drawn, Unasked)
    gather_candidates([drawn], out)
    found = rows(out)
    assert len(found) == 20 * settings.bench.n
    fake = [
        {"problem_id": row["problem_id"], "candidate": row["candidate"]}
        | {"probabilities": [0.5] * (len(row["steps"]) + (row["answer"] is not None))}
        for row in found
    ]
    tables.write(scores, fake, schemas.SCORES)
    measure(settings, "toy", "soft", mixed, out, scores, tmp_path / "metrics.json")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["n_problems"], metrics["n_problems_needs_images"], metrics["n_problems_undecided"]) == (5, 15, 0)
    assert metrics["n_candidates"] == 5 * settings.bench.n and metrics["n_failed"] == 0
    none = [row for row in found if row["finish_reason"] == "needs_images"]
    tables.write(drawn, none, schemas.CANDIDATES)
    with pytest.raises(UserError, match=r"all 15 problems have images, and the policy reads text alone"):
        gather_candidates([drawn], out)


def test_candidates_of_problems_with_images_get_no_score(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Half:
        prompt_tokens = 0

        def score(self, items: Any) -> list[StepScores]:
            assert not any(problem.images for problem, *_ in items)
            return [StepScores([0.5, 0.5]) for _ in items]

        def close(self) -> None:
            pass

    prm = policy_folder(tmp_path / "prm", '{"model_type": "llama"}')
    folders.write_manifest(prm, {"stage": "test"})
    monkeypatch.setattr(score_candidates, "open_scorer", lambda *_: Half())
    problems = {one.problem_id: one for one in read_problems(mixed)}
    solved = {**schemas.NO_COMPLETION, "status": "ok", "steps": ["1 + 1 = 2"], "answer": "2", "candidate": 0}
    solutions = [solved | {"problem_id": name} for name in problems]
    settings = toy_config(bench={"n": 5, "cross_check": 0})
    score_candidates.write_scores(settings, prm, problems, solutions, tmp_path / "scores.parquet")
    scored = {row["problem_id"] for row in rows(tmp_path / "scores.parquet") if row["probabilities"]}
    assert sorted(scored) == kept(mixed) and len(rows(tmp_path / "scores.parquet")) == 20
    assert "15 of 20 candidates are of problems with images, and the PRM reads text alone" in capsys.readouterr().err


def findings(base: Path, **sections: Any) -> dict[str, tuple[str, bool]]:
    """By key, what the preflight says of images."""
    settings = config.load(config_of(base).model_dump(mode="json") | sections)
    told = examine(settings).findings
    return {one.key: (one.text, one.fatal) for one in told if "reads text alone" in one.text}


def test_the_preflight_counts_the_rows_and_stops_where_none_would_be_left(llama: Path, tmp_path: Path) -> None:
    mini = {"kind": "mini", "split": "sft", "size": 12, "families": ["bars"]}
    text = tmp_path / "text.jsonl"
    text.write_text('{"id": 1, "question": "1 + 1?", "answer": "2"}\n')
    sources = {"mini": mini, "test": mini | {"split": "test"}}
    sources["text"] = {"kind": "table", "path": str(text), "columns": {"image": ""}}
    found = findings(llama, sources=sources, seeds={"sources": ["mini", "text"]})
    assert found["seeds.sources"] == (
        f"12 of 12 rows of mini have images, and {llama} reads text alone: they are skipped (needs_images)",
        False,
    )
    said, fatal = found["policy.sources"]
    assert fatal and said.startswith(f"every row of mini has an image, and {llama} reads text alone: take others")
    assert found["benchmarks.test"][1]


def test_a_base_that_reads_images_is_warned_of_nothing(mini_model_folder: Path) -> None:
    assert findings(mini_model_folder) == {}


@pytest.mark.parametrize("stage", ["preflight", "sampling"])
def test_real_problems_with_images_are_skipped(
    stage: str, llama: Path, tmp_path: Path, mini_model_folder: Path
) -> None:
    """MM-K12 and MathVision as published: every row has an image."""
    values = real_samples()
    values["policy"]["base"] = str(llama)
    settings = config.load(values)
    if stage == "preflight":
        told = [one for one in examine(settings).findings if "reads text alone" in one.text]
        assert told and all(one.fatal for one in told)
        return
    make_source(settings, "mm_k12", tmp_path / "real.parquet", tmp_path / "refused.parquet")
    problems = read_problems(tmp_path / "real.parquet")[:15]
    write_problems(tmp_path / "both.parquet", problems + [toy_problem(number) for number in range(5)])
    drawn = tmp_path / "drawn.parquet"
    sample_seeds(toy_config(), llama, [tmp_path / "both.parquet"], Shard(), tmp_path / "work", drawn, Unasked)
    skipped = {row["problem_id"] for row in rows(drawn) if row["finish_reason"] == "needs_images"}
    assert skipped == {one.problem_id for one in problems}
