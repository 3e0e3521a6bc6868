"""The scripted engine and the toy policy: draws depend on seeds alone, and the truth of each step is known."""

from __future__ import annotations

import random

from scripted_engine import ScriptedEngine, ToyPolicy, step_is_right, toy_problem
from toy_world import ask

from mmprm.engine.base import Finished
from mmprm.model.step_text import parse

PROBLEMS = [toy_problem(number) for number in range(20)]


def run(engine: ScriptedEngine, n: int = 3) -> list[Finished]:
    for problem in PROBLEMS:
        engine.submit(ask(problem, (), n))
    finished = []
    while engine.pending:
        finished += engine.step()
    return finished


def test_shuffling_changes_the_order_and_not_the_draws() -> None:
    plain, shuffled = run(ScriptedEngine(ToyPolicy())), run(ScriptedEngine(ToyPolicy(), shuffle=1))
    assert [one.key for one in plain] != [one.key for one in shuffled]
    assert {one.key: one for one in plain} == {one.key: one for one in shuffled}


def test_the_draws_of_a_request_differ() -> None:
    (one,) = {len({c.text for c in one.completions}) for one in run(ScriptedEngine(ToyPolicy(wordings=5)), n=4)}
    assert one == 4


def test_a_toy_solution_is_right_just_when_all_its_steps_and_its_answer_are() -> None:
    rng = random.Random(0)
    seen = set()
    for problem in PROBLEMS * 10:
        solution = parse(ToyPolicy(wordings=5)(problem, (), rng))
        steps_right = all(map(step_is_right, solution.steps))
        if solution.answer == problem.answer:
            assert steps_right
        elif steps_right:
            assert int(solution.answer or 0) == int(problem.answer) + 1
        seen.add((steps_right, solution.answer == problem.answer))
    assert seen == {(True, True), (True, False), (False, False)}


def test_a_toy_policy_goes_on_from_any_state() -> None:
    problem = toy_problem(7)
    perfect = ToyPolicy(error=0, wrong_answer=0)
    steps = parse(perfect(problem, (), random.Random(0))).steps
    for length in range(len(steps) + 1):
        rest = parse(perfect(problem, steps[:length], random.Random(0)), prefix_steps=length)
        assert (steps[:length] + rest.steps, rest.answer) == (steps, problem.answer)


def test_garbage_does_not_parse() -> None:
    assert parse(ToyPolicy(garbage=1)(toy_problem(1), (), random.Random(0))).status != "ok"
