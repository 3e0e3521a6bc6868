"""Tagging by rules, as a stage: what is kept, what is refused and why, and what the counts say."""

from __future__ import annotations

from pathlib import Path

import pytest
from tagging_server import FILES, Tagging, problem, run_config

from mmprm.config import load
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems, write_problems
from mmprm.llm import batch_runner
from mmprm.mini.problems import FAMILIES, generate
from mmprm.model.step_text import Status, parse
from mmprm.runtime.errors import UserError
from mmprm.tagging.tag import tag

RAW = "First we count them all.\n\nThen one more is added.\n\nThe answer is {}."
CHOICES = ("3 cm", "4 cm", "5 cm")


def test_a_kept_solution_parses_and_its_answer_is_the_problems(tmp_path: Path) -> None:
    found = Tagging(tmp_path, [problem(3, RAW.format(4))]).run(run_config())
    (solution,) = found.solutions.values()
    parsed = parse(solution)
    assert parsed.status is Status.OK and parsed.answer == "4"
    assert parsed.steps == ("First we count them all.", "Then one more is added.", "The answer is 4.")
    assert found.counts["kept_by_method"] == {"blank_lines": 1} and found.counts["steps"] == {"3": 1}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (problem(3, None), "no_solution"),
        (problem(3, "  \n "), "no_solution"),
        (problem(3, RAW.format(5)), "answer_differs"),
        (problem(3, "First look at it.\n\nThen think about it well."), "no_final_answer"),
        (problem(3, "4"), "too_few_steps"),
        (problem(3, "<step>It is 4.</step>"), "malformed_tags"),
        (problem(3, "<step>Look.</step> so <answer>4</answer>"), "malformed_tags"),
        (problem(3, "<step>Look.</step><step>Add.</step><answer>5</answer>"), "answer_differs"),
        (problem(3, "<step>Look.</step><answer>4</answer>"), "too_few_steps"),
        (problem(3, "x" * 2100 + ".\n\nThe answer is 4."), "step_too_long"),
        (problem(3, "word " * 20_000 + "\n\nThe answer is 4."), "too_long"),
        (problem(3, RAW.format("A"), answer="B", choices=CHOICES), "answer_differs"),
    ],
)
def test_a_solution_that_cannot_be_used_is_refused_with_its_reason(tmp_path: Path, given: Problem, reason: str) -> None:
    found = Tagging(tmp_path, [given, problem(9, RAW.format(10))]).run(run_config())
    assert found.reasons == {"raw/0003": reason} and list(found.solutions) == ["raw/0009"]
    (row,) = tables.read_rows(tmp_path / FILES[1], schemas.REFUSED)
    assert (row["source"], row["row"]) == ("raw", 0) and row["detail"]
    assert found.counts["refused_by_reason"] == {reason: 1}
    assert (found.counts["problems"], found.counts["kept"], found.counts["refused"]) == (2, 1, 1)


@pytest.mark.parametrize("said", ["The answer is (B).", "So it is 4 cm, that is B.", "Therefore \\boxed{B}"])
def test_the_answer_to_a_choice_is_its_letter(tmp_path: Path, said: str) -> None:
    asked = problem(3, f"First we measure the side.\n\n{said}", answer="B", choices=CHOICES)
    (solution,) = Tagging(tmp_path, [asked]).run(run_config()).solutions.values()
    assert parse(solution).answer in ("B", "4 cm")


def test_an_answer_as_a_formula_is_compared_in_another_process_and_comes_out_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds up no other, the order of verdicts does not show, nor that old verdicts are forgotten."""
    monkeypatch.setattr(batch_runner, "_FORGET", 7)
    hard = problem(0, "Expand the square first.\n\nSo the answer is $(x+1)^2$.", answer="$x^2+2x+1$")
    asked = [hard, *(problem(number, RAW.format(number + 1)) for number in range(1, 40))]
    solutions = Tagging(tmp_path, asked).run(run_config()).solutions
    assert list(solutions) == [one.problem_id for one in asked]
    assert "(x+1)^2" in (parse(solutions["raw/0000"]).answer or "")


def test_a_switch_lets_a_solution_without_an_answer_take_the_problems(tmp_path: Path) -> None:
    asked = [problem(3, "First look at it.\n\nThen think about it well."), problem(5, RAW.format(7))]
    found = Tagging(tmp_path, asked).run(run_config(answer_from_gold=True))
    assert parse(found.solutions["raw/0003"]).answer == "4"
    assert found.counts["answers_from"] == {"gold": 1}
    assert found.reasons == {"raw/0005": "answer_differs"}, "what states another answer is still wrong"


def test_a_tagged_answer_behind_untagged_steps_is_the_answer_and_no_step(tmp_path: Path) -> None:
    asked = problem(3, "First we count them all.\n\nThen one more is added.\n<answer>4</answer>")
    (solution,) = Tagging(tmp_path, [asked]).run(run_config()).solutions.values()
    assert solution == ("<step>First we count them all.</step><step>Then one more is added.</step><answer>4</answer>")


def test_control_strings_in_a_raw_solution_are_neutralised(tmp_path: Path) -> None:
    asked = problem(3, "We see <image> and </step> here.\n\nThen <prm> one more.\n\nThe answer is 4.")
    (solution,) = Tagging(tmp_path, [asked]).run(run_config()).solutions.values()
    assert parse(solution).steps[:2] == ("We see ‹image› and ‹/step› here.", "Then ‹prm› one more.")


def test_drawn_solutions_are_tagged_already_and_pass_through_as_they_are(tmp_path: Path) -> None:
    drawn = generate("sft", 24, list(FAMILIES), seed=0)
    found = Tagging(tmp_path, drawn).run(run_config())
    assert found.solutions == {one.problem_id: one.solution for one in drawn}
    assert found.counts["kept_by_method"] == {"tagged": 24} and found.counts["model"] is None
    kept = {one.problem_id: one for one in read_problems(tmp_path / FILES[0])}
    assert kept == {one.problem_id: one for one in drawn}, "nothing else of a problem changes"


def test_too_many_refused_solutions_stop_the_stage_and_lie_beside_it(tmp_path: Path) -> None:
    asked = [problem(number, RAW.format(number + (number % 2))) for number in range(10)]  # every other one is wrong
    tagging = Tagging(tmp_path, asked)
    with pytest.raises(UserError, match=r"5 kept, 5 refused \(5 answer_differs\).*max_refused_share is 0.4"):
        tagging.run(run_config(max_refused_share=0.4))
    assert not any((tmp_path / name).exists() for name in FILES)
    assert len(tables.read_rows(tmp_path / "out.refused.stopped.parquet", schemas.REFUSED)) == 5
    assert len(tagging.run(run_config(max_refused_share=0.5)).solutions) == 5
    assert not (tmp_path / "out.refused.stopped.parquet").exists()
    with pytest.raises(UserError, match="0 kept, 10 refused"):
        tagging.run(run_config(min_steps=9, max_refused_share=1.0))


def test_several_sources_become_one_table_by_id_and_none_is_taken_twice(tmp_path: Path) -> None:
    numbered = [problem(number, RAW.format(number + 1)) for number in range(300)]
    for name, part in (("a", numbered[::2]), ("b", numbered[1::2])):
        write_problems(tmp_path / f"{name}.parquet", part)
    out = [tmp_path / name for name in FILES]
    both = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    tag(run_config(), "tagged", both, tmp_path / "work", *out)
    assert [one.problem_id for one in read_problems(out[0])] == [one.problem_id for one in numbered]
    with pytest.raises(UserError, match="'raw/0000' occurs twice"):
        tag(run_config(), "tagged", [both[0], both[0]], tmp_path / "work", *out)
    with pytest.raises(UserError, match=r"none\.parquet: no such table"):
        tag(run_config(), "tagged", [tmp_path / "none.parquet"], tmp_path / "work", *out)


def settings(**sources: object) -> dict[str, object]:
    drawn = {"kind": "mini", "split": "sft", "size": 4, "families": ["bars"]}
    test = {**drawn, "split": "test"}
    own = {"kind": "table", "path": "own.jsonl"}
    values = {"drawn": drawn, "test": test, "own": own, **sources}
    runs = {"run": "t", "policy": {"base": "b", "sources": ["drawn"]}, "seeds": {"sources": ["drawn"]}}
    return {**runs, "sources": values, "benchmarks": {"t": {"source": "test"}}}


def test_the_configuration_is_wrong_where_there_is_nothing_to_tag() -> None:
    tagged = {"kind": "tagged", "sources": ["drawn"]}
    assert load(settings(tagged=tagged)).sources["tagged"].by == "rules"
    with pytest.raises(UserError, match=r"sources\.tagged\.sources: 'own' brings no solutions.*solution: theirs"):
        load(settings(tagged={**tagged, "sources": ["own"]}))
    with pytest.raises(UserError, match=r"'own' brings no solutions"):  # through a curated one too
        load(settings(best={"kind": "curated", "sources": ["own"]}, tagged={**tagged, "sources": ["best"]}))
    with pytest.raises(UserError, match=r"'k12' \(kind mm_k12\) brings no solutions"):
        load(settings(k12={"kind": "mm_k12", "path": "k12.json"}, tagged={**tagged, "sources": ["k12"]}))
    with pytest.raises(UserError, match="'drawn' and 'drawn' share problems"):
        load(settings(tagged={**tagged, "sources": ["drawn", "drawn"]}))
    with pytest.raises(UserError, match="by model needs a model"):
        load(settings(tagged={**tagged, "by": "model"}))
    with pytest.raises(UserError, match="min_steps: 9 is more than max_steps, 3"):
        load(settings(tagged={**tagged, "min_steps": 9, "max_steps": 3}))
    with pytest.raises(UserError, match="kind server needs the address"):
        load(settings(tagged={**tagged, "by": "model", "model": {"model": "m"}}))
    with pytest.raises(UserError, match=r"benchmarks\.t\.source: 'test' shares problems with 'tests'"):
        values = settings(tests={**tagged, "sources": ["test"]})
        load({**values, "policy": {"base": "b", "sources": ["tests"]}})
