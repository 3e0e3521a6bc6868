"""A world with systematic errors: a share of the solutions takes a wrong route, and the truth of steps finds it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mmprm.config.sources import MiniSource
from mmprm.data.problem import Problem
from mmprm.mini.families import FAMILIES, IN_DOMAIN
from mmprm.mini.problems import draw_task, generate, misled
from mmprm.mini.truth import Truth, make_figure
from mmprm.model.step_text import Status, parse
from mmprm.runtime.errors import UserError

SIZE = 400


def _wrong(problems: list[Problem]) -> set[str]:
    return {p.problem_id for p in problems if parse(p.solution or "").answer != p.answer}


def test_without_a_share_the_tables_are_those_without_the_key() -> None:
    assert generate("sft", SIZE, IN_DOMAIN, 0, 0.0) == generate("sft", SIZE, IN_DOMAIN, 0)
    assert not _wrong(generate("sft", SIZE, IN_DOMAIN, 0))


def test_a_larger_share_adds_wrong_solutions_and_changes_nothing_else() -> None:
    plain = generate("sft", SIZE, IN_DOMAIN, 0)
    drawn = {share: generate("sft", SIZE, IN_DOMAIN, 0, share) for share in (0.2, 0.4, 0.6, 1.0)}
    wrong = [_wrong(problems) for problems in drawn.values()]
    assert wrong[0] < wrong[1] < wrong[2] < wrong[3]
    for problems, share in zip(drawn.values(), drawn, strict=True):
        assert abs(len(_wrong(problems)) / SIZE - share) < 0.07
        for before, now in zip(plain, problems, strict=True):
            assert now.images == before.images and now.answer == before.answer and now.question == before.question
            assert now.solution == before.solution or now.problem_id in wrong[3]


@pytest.mark.parametrize("family", IN_DOMAIN)
def test_every_question_in_domain_has_a_wrong_route(family: str) -> None:
    assert FAMILIES[family].wrong.keys() == FAMILIES[family].questions.keys()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Find the perimeter.", lambda v: v["width"] + v["height"]),
        ("Find the third angle.", lambda v: v["a"] + v["b"]),
        ("Find the total cost.", lambda v: v["pen price"] * v["pen count"]),
        ("Find A * B + C.", lambda v: v["A"] * (v["B"] + v["C"])),
        ("Find A + B * C.", lambda v: (v["A"] + v["B"]) * v["C"]),
        ("Find (A + B) * C.", lambda v: v["A"] + v["B"] * v["C"]),
    ],
)
def test_a_wrong_route_ends_at_its_own_answer_and_its_first_wrong_step_is_found(question: str, answer: object) -> None:
    import random

    (family,) = (name for name in IN_DOMAIN if question in FAMILIES[name].questions)
    lengths = set()
    for seed in range(60):
        rng = random.Random(seed)
        task = draw_task(family, "sft", rng)
        if task.question != question:
            continue
        gold = str(make_figure(task.readings, task.routes).answer[0])
        problem = Problem("p", "mini", question, gold, (b"",), "number", solution="right", family=family)
        solved = misled(problem, task, rng)
        if solved.solution == "right":  # a + b = 90: the third angle too
            assert str(answer(task.readings)) == gold
            continue
        parsed = parse(solved.solution or "")
        assert parsed.status is Status.OK and solved.answer == gold
        assert parsed.answer == str(answer(task.readings)) != gold
        judged = [one.truth for one in make_figure(task.readings, task.routes).judge(parsed.steps)]
        first = judged.index(Truth.WRONG)
        assert set(judged[:first]) <= {Truth.RIGHT} and set(judged) == {Truth.RIGHT, Truth.WRONG}
        assert " = " in parsed.steps[first] and "read" not in parsed.steps[first]
        lengths.add(len(parsed.steps))
    assert lengths


def test_wrong_routes_are_refused_where_they_would_do_nothing() -> None:
    values = {"kind": "mini", "size": 3, "wrong_routes": 0.4}
    with pytest.raises(ValidationError, match="set it for split sft alone"):
        MiniSource.model_validate(values | {"split": "test", "families": ["bars"]})
    with pytest.raises(UserError, match="grid has no wrong route"):
        generate("sft", 4, ["bars", "grid"], 0, 0.4)
    assert "40% of the solutions" in MiniSource.model_validate(values | {"split": "sft", "families": ["bars"]}).about
