"""A look enters the ledger before a problem is drawn, and the problems follow from its seed alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sealed_world import CLAIM, loaded, register, values

from mmprm import config as configuration
from mmprm.data.problem import Problem, read_problems, write_problems
from mmprm.runtime.errors import UserError
from mmprm.sealed import ledger
from mmprm.sealed.look import draw_sealed, open_seal, sample
from mmprm.sealed.recipe import recipe_digest, settings_digest


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("policy", "prm/soft"):
        Path(name).mkdir(parents=True)
        Path(name, "config.json").write_text(f'{{"of": "{name}"}}')


def look(test: str = "sealed", **changes: Any) -> dict[str, Any]:
    """look.json of a look with these changes of the configuration."""
    open_seal(loaded(**changes), test, Path("policy"), [Path("prm/soft")], Path("look.json"))
    found: dict[str, Any] = json.loads(Path("look.json").read_text())
    return found


def drawn(source: str, **changes: Any) -> list[Problem]:
    draw_sealed(
        loaded(**changes), source, Path("look.json"), [Path("reserve.parquet")], Path("p.parquet"), Path("r.parquet")
    )
    return read_problems(Path("p.parquet"))


def test_a_look_says_what_it_is_of_and_what_was_claimed() -> None:
    register({"sealed": CLAIM})
    found = look()
    (entered,) = ledger.read(Path("evidence/ledger.jsonl"))
    assert (found["number"], found["seed"], found["run"]) == (1, entered.seed, "small")
    assert found["claims"]["bars"][0]["above"] == 0 and entered.registration is not None
    assert set(entered.models) == {"policy", "soft"} and len(set(entered.models.values())) == 2
    assert entered.machine["cores"] and entered.time.endswith("+00:00")


def test_a_repeated_look_is_one_and_another_model_is_another() -> None:
    register({"sealed": CLAIM})
    first, again = look(), look()
    assert first == again
    Path("prm/soft/config.json").write_text('{"of": "a later training"}')
    later = look()
    assert (later["number"], later["seed"]) == (2, first["seed"])


def test_a_look_that_is_refused_leaves_no_line() -> None:
    with pytest.raises(UserError, match="says nothing of it"):
        look()
    assert not Path("evidence/ledger.jsonl").exists() and not Path("look.json").exists()
    assert look(evidence={"unregistered": True})["claims"] is None


def test_drawn_problems_follow_from_the_seed_of_the_look_and_not_from_the_runs() -> None:
    unregistered = {"evidence": {"unregistered": True}}
    first = look(**unregistered)
    problems = drawn("sealed", **unregistered)
    assert len(problems) == 8 and {problem.source for problem in problems} == {"sealed"}
    second = look(seed=5, **unregistered)
    assert second["number"] == 2 and second["seed"] == first["seed"]
    assert drawn("sealed", seed=5, **unregistered) == problems
    Path("evidence/ledger.jsonl").unlink()
    look(**unregistered)
    assert drawn("sealed", **unregistered) != problems, "another seed"


def test_a_part_of_a_table_is_drawn_by_the_seed_in_whole_groups() -> None:
    of = [Problem(f"reserve/{n:03}", "reserve", f"q {n}", "7", group=f"g{n // 3}") for n in range(90)]
    write_problems(Path("reserve.parquet"), of)
    unregistered = {"evidence": {"unregistered": True}}
    look("part", **unregistered)
    part = drawn("part", **unregistered)
    assert len(part) == 9, "at least 8, in groups of three"
    groups = [problem.group for problem in part]
    assert all(groups.count(group) == 3 for group in groups)
    assert {problem.problem_id for problem in part} < {problem.problem_id for problem in of}
    assert sample(Path("reserve.parquet"), 8, 1) != sample(Path("reserve.parquet"), 8, 2)
    with pytest.raises(UserError, match="90 problems, fewer than the 91 to draw"):
        sample(Path("reserve.parquet"), 91, 1)


def test_problems_are_drawn_by_no_look_at_another_test() -> None:
    unregistered = {"evidence": {"unregistered": True}}
    look("part", **unregistered)
    with pytest.raises(UserError, match=r"look\.json: a look at other problems than those of sealed"):
        drawn("sealed", **unregistered)
    look(**unregistered)
    sources = values()["sources"]
    sources["sealed"]["size"] = 12
    with pytest.raises(UserError, match=r"look\.json: a look at other problems"):
        drawn("sealed", sources=sources, **unregistered)
    Path("look.json").write_text("[]")
    with pytest.raises(UserError, match=r"look\.json: not a look"):
        drawn("sealed", **unregistered)


def test_what_changes_no_result_is_no_other_look_and_what_does_is() -> None:
    base = values()
    plain = configuration.load(base)
    same = [{"report": {"title": "x"}}, {"shards": {"bench": 4}}, {"engine": {"max_running": 3}}, {"run": "other"}]
    same += [{"prm": {"training": {"learning_rate": 4e-6, "batch_size": 512, "save_every": 7}}}]
    for changes in same:
        assert settings_digest(loaded(**changes), "sealed") == settings_digest(plain, "sealed"), changes
    for changes in ({"seed": 1}, {"bench": {"n": 8}}, {"prm": {"replicates": 2}}, {"prm": {"variants": {"hard": {}}}}):
        assert settings_digest(loaded(**changes), "sealed") != settings_digest(plain, "sealed"), changes
    assert len({recipe_digest(plain, "sealed"), recipe_digest(plain, "part")}) == 2
    assert recipe_digest(loaded(seed=3, bench={"n": 8}), "sealed") == recipe_digest(plain, "sealed")
    base["sources"]["reserve"]["path"] = "other.jsonl"
    assert recipe_digest(configuration.load(base), "part") != recipe_digest(plain, "part")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sealed": {"x": {"source": "test"}}}, "'test' is neither of kind mini with split sealed nor of kind sample"),
        ({"sealed": {"test": {"source": "sealed"}}}, "sealed.test: a benchmark has this name too"),
        ({"sealed": {"a": {"source": "sealed"}, "b": {"source": "sealed"}}}, "sealed.b.source: 'sealed' is sealed.a's"),
        ({"benchmarks": {"test": {"source": "sealed"}}}, "benchmarks.test.source: 'sealed' is drawn at the first look"),
        ({"seeds": {"sources": ["part"]}}, "seeds.sources: 'part' is drawn at the first look"),
        (
            {"policy": {"base": "b", "sources": ["reserve"]}},
            "sealed.part.source: 'part' shares problems with 'reserve'",
        ),
        ({"sealed": {"x": {"source": "none"}}}, "sealed.x.source: there is no source 'none'"),
    ],
)
def test_a_sealed_source_is_for_its_test_alone(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as raised:
        loaded(**changes)
    assert said in str(raised.value)


def test_a_sealed_source_has_no_seed_in_the_configuration() -> None:
    sources = values()["sources"]
    sources["sealed"]["seed"] = 3
    with pytest.raises(UserError, match=r"sources\.sealed\.seed: it is drawn at the first look at sealed\.sealed"):
        loaded(sources=sources)
