"""The scheduler: many searches at once, each answered from the journal where that is possible."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_engine import ScriptedEngine, ToyPolicy, toy_problem
from toy_world import ExactGrader, Grading, ask, grow, run_scheduler

from mmprm.annotation.omegaprm import omegaprm
from mmprm.config import Annotation
from mmprm.data.problem import Problem
from mmprm.engine.base import Request
from mmprm.rollouts.scheduler import AFTER_OTHERS

LIMITS = Annotation(k=6, max_searches=10, max_rollouts=90)
PROBLEMS = [toy_problem(number) for number in range(12)]
POLICY = ToyPolicy(garbage=0.1)


def searches() -> list[tuple[str, Any]]:
    return [(problem.problem_id, omegaprm(problem, LIMITS, ask)) for problem in PROBLEMS]


def tables_of(outcomes: Any) -> list[Any]:
    return [(o.value.node_rows(), o.value.rollout_rows(), o.value.status_row()) for o in outcomes.values()]


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


class DyingEngine(ScriptedEngine):
    """Is killed at a step."""

    steps_left = 10

    def step(self) -> Any:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise Killed
        return super().step()


def test_scheduled_searches_give_the_trees_that_they_give_alone(tmp_path: Path) -> None:
    outcomes, _ = run_scheduler(searches(), ScriptedEngine(POLICY), tmp_path)
    alone = [grow(problem, LIMITS, POLICY)[0] for problem in PROBLEMS]
    assert [tree.node_rows() for tree in alone] == [outcome.value.node_rows() for outcome in outcomes.values()]


@given(at_once=st.integers(1, 5), open_limit=st.integers(1, 9), shuffle=st.none() | st.integers(0, 99))
@settings(max_examples=25)
def test_a_search_that_lets_others_go_first_waits_for_all_that_have_not_begun(
    tmp_path_factory: pytest.TempPathFactory, at_once: int, open_limit: int, shuffle: int | None
) -> None:
    begun: list[str] = []

    def polite(problem: Problem) -> Generator[Any, Any, list[int]]:
        seen = []
        for length in range(3):
            begun.append(problem.problem_id)
            rollouts = yield ask(problem, ("2 + 2 = 4",) * length, 2)
            seen.append(len(rollouts))
            yield AFTER_OTHERS
        return seen

    engine = ScriptedEngine(POLICY, shuffle=shuffle, at_once=at_once)
    named = [(problem.problem_id, polite(problem)) for problem in PROBLEMS]
    outcomes, _ = run_scheduler(named, engine, tmp_path_factory.mktemp("work"), open_limit=open_limit)
    assert [outcome.value for outcome in outcomes.values()] == [[2, 2, 2]] * len(PROBLEMS)
    assert begun[: len(PROBLEMS)] == [problem.problem_id for problem in PROBLEMS]
    if shuffle is None:  # who waits longest is next: an engine that goes by turns does round after round
        assert begun == begun[: len(PROBLEMS)] * 3
    assert engine.most_pending <= open_limit


def test_many_problems_wait_for_the_engine_at_once_up_to_the_limit(tmp_path: Path) -> None:
    """Defect 9: one problem at a time."""
    engine = ScriptedEngine(POLICY)
    run_scheduler(searches(), engine, tmp_path / "a", open_limit=64)
    assert engine.most_pending == len(PROBLEMS)
    engine = ScriptedEngine(POLICY)
    run_scheduler(searches(), engine, tmp_path / "b", open_limit=5)
    assert engine.most_pending == 5


@settings(max_examples=10, deadline=None)
@given(shuffle=st.integers(0, 10_000), at_once=st.integers(1, 9), open_limit=st.integers(1, 20))
def test_the_order_in_which_requests_finish_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, shuffle: int, at_once: int, open_limit: int
) -> None:
    folder = tmp_path_factory.mktemp("order")
    plain, _ = run_scheduler(searches(), ScriptedEngine(POLICY), folder / "plain")
    engine = ScriptedEngine(POLICY, shuffle=shuffle, at_once=at_once)
    shuffled, _ = run_scheduler(searches(), engine, folder / "shuffled", open_limit=open_limit)
    assert tables_of(plain) == tables_of(shuffled)


@settings(max_examples=25, deadline=None)
@given(
    policy=st.builds(ToyPolicy, error=st.floats(0, 0.6), garbage=st.floats(0, 0.4), wordings=st.integers(1, 3)),
    limits=st.builds(Annotation, k=st.integers(1, 8), max_searches=st.integers(1, 12), max_rollouts=st.integers(8, 90)),
    steps=st.integers(0, 40),
)
def test_a_replay_equals_the_first_run_wherever_that_was_killed(
    tmp_path_factory: pytest.TempPathFactory, policy: ToyPolicy, limits: Annotation, steps: int
) -> None:
    def fresh() -> list[tuple[str, Any]]:
        return [(problem.problem_id, omegaprm(problem, limits, ask)) for problem in PROBLEMS[:4]]

    folder = tmp_path_factory.mktemp("replay")
    first, _ = run_scheduler(fresh(), ScriptedEngine(policy), folder / "whole")
    engine = ScriptedEngine(policy)
    replayed, scheduler = run_scheduler(fresh(), engine, folder / "whole")
    assert tables_of(replayed) == tables_of(first)
    assert not engine.sampled and scheduler.sampled_completions == 0
    dying = DyingEngine(policy, shuffle=1)
    dying.steps_left = steps
    with contextlib.suppress(Killed):
        run_scheduler(fresh(), dying, folder / "killed")
    resumed, _ = run_scheduler(fresh(), ScriptedEngine(policy), folder / "killed")
    assert tables_of(resumed) == tables_of(first)


def test_a_killed_run_resumes_with_the_same_trees_and_resamples_nothing(tmp_path: Path) -> None:
    whole = ScriptedEngine(POLICY)
    expected, _ = run_scheduler(searches(), whole, tmp_path / "whole")
    first = DyingEngine(POLICY, shuffle=1)
    with pytest.raises(Killed):
        run_scheduler(searches(), first, tmp_path / "killed")
    assert len(first.sampled) == 80
    second = ScriptedEngine(POLICY)
    resumed, scheduler = run_scheduler(searches(), second, tmp_path / "killed")
    assert tables_of(resumed) == tables_of(expected)
    assert not set(first.sampled) & set(second.sampled)
    assert sorted(first.sampled + second.sampled) == sorted(whole.sampled)
    assert scheduler.replayed_requests == len(first.sampled)


def test_a_finished_run_is_replayed_without_an_engine(tmp_path: Path) -> None:
    expected, _ = run_scheduler(searches(), ScriptedEngine(POLICY), tmp_path)

    def no_engine(*_: Any) -> str:
        raise AssertionError("the engine was asked")

    replayed, scheduler = run_scheduler(searches(), ScriptedEngine(no_engine), tmp_path)
    assert tables_of(replayed) == tables_of(expected)
    assert scheduler.replayed_completions == sum(outcome.value.n_rollouts for outcome in expected.values())
    assert scheduler.stats.completions == scheduler.sampled_completions == 0


def test_a_raised_budget_reuses_all_that_was_sampled_below_it(tmp_path: Path) -> None:
    low = ScriptedEngine(POLICY)
    run_scheduler(searches(), low, tmp_path)
    more = LIMITS.model_copy(update={"max_rollouts": 180})
    high = ScriptedEngine(POLICY)
    _, scheduler = run_scheduler([(p.problem_id, omegaprm(p, more, ask)) for p in PROBLEMS], high, tmp_path)
    assert scheduler.replayed_requests == len(low.sampled)
    assert not set(low.sampled) & set(high.sampled)


def test_a_damaged_line_is_sampled_again_and_the_result_is_the_same(tmp_path: Path) -> None:
    expected, _ = run_scheduler(searches(), ScriptedEngine(POLICY), tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"step", b"stop", 1)
    path.write_bytes(b"".join(lines)[:-5])
    engine = ScriptedEngine(POLICY)
    replayed, _ = run_scheduler(searches(), engine, tmp_path)
    assert len(engine.sampled) == 2
    assert tables_of(replayed) == tables_of(expected)


def test_a_slow_comparison_holds_up_neither_the_engine_nor_the_other_searches(tmp_path: Path) -> None:
    expected, _ = run_scheduler(searches(), ScriptedEngine(POLICY), tmp_path / "a")
    engine = ScriptedEngine(POLICY)
    slow = PROBLEMS[0].problem_id
    left_at_waits = []

    class SlowGrader(ExactGrader):
        held: Grading | None = None

        def start(self, items: Sequence[tuple[str | None, Problem]]) -> Grading:
            grading = super().start(items)
            if items[0][1].problem_id == slow:
                self.held = grading = replace(grading, done=False)
            return grading

        def wait(self, seconds: float) -> None:
            if seconds > 0 and self.held is not None:
                left_at_waits.append((engine.pending, seconds))
                object.__setattr__(self.held, "done", True)

    outcomes, _ = run_scheduler(searches(), engine, tmp_path / "b", SlowGrader())
    assert tables_of(outcomes) == tables_of(expected)
    assert left_at_waits and {pending for pending, _ in left_at_waits} == {0}
    assert len(engine.sampled) == len(set(engine.sampled))


def test_one_failed_request_fails_its_problem_and_no_other(tmp_path: Path) -> None:
    def fail(request: Request) -> str | None:
        broken = request.problem.problem_id == "toy-0004" and request.prefix
        return "the prompt is too long" if broken else None

    expected, _ = run_scheduler(searches(), ScriptedEngine(POLICY), tmp_path / "a")
    outcomes, _ = run_scheduler(searches(), ScriptedEngine(POLICY, fail=fail), tmp_path / "b")
    tree = outcomes["toy-0004"].value
    assert (tree.status, tree.reason, len(tree.nodes)) == ("failed", "the prompt is too long", 1)
    del expected["toy-0004"], outcomes["toy-0004"]
    assert tables_of(outcomes) == tables_of(expected)


def test_a_request_that_failed_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    broken = ScriptedEngine(POLICY, fail=lambda request: "out of memory")
    outcomes, _ = run_scheduler(searches(), broken, tmp_path)
    assert all(outcome.value.reason == "out of memory" for outcome in outcomes.values())
    expected, _ = run_scheduler(searches(), ScriptedEngine(POLICY), tmp_path / "other")
    assert tables_of(run_scheduler(searches(), ScriptedEngine(POLICY), tmp_path)[0]) == tables_of(expected)


def test_undecided_verdicts_are_graded_again_on_resume_and_nothing_is_resampled(tmp_path: Path) -> None:
    """Defect 2: with the judge down the public code wrote "wrong" and never tried again."""
    down = ExactGrader(everything_undecided=True)
    outcomes, _ = run_scheduler(searches(), ScriptedEngine(POLICY), tmp_path, down)
    assert {outcome.value.status for outcome in outcomes.values()} == {"failed"}
    engine = ScriptedEngine(POLICY)
    resumed, scheduler = run_scheduler(searches(), engine, tmp_path)
    expected, _ = run_scheduler(searches(), ScriptedEngine(POLICY), tmp_path / "other")
    assert tables_of(resumed) == tables_of(expected)
    assert scheduler.replayed_requests == len(PROBLEMS)
    roots = {ask(problem, (), LIMITS.k).key for problem in PROBLEMS}
    assert not roots & set(engine.sampled)
    third = ExactGrader()
    run_scheduler(searches(), ScriptedEngine(POLICY), tmp_path, third)
    assert third.graded == 0  # the new verdicts were recorded


def test_a_new_version_of_the_grader_grades_again_and_samples_nothing(tmp_path: Path) -> None:
    run_scheduler(searches(), ScriptedEngine(POLICY), tmp_path)
    engine, grader = ScriptedEngine(POLICY), ExactGrader()
    run_scheduler(searches(), engine, tmp_path, grader, grading="exact-2")
    assert not engine.sampled
    assert grader.graded > 0


def test_a_search_may_ask_for_a_list_even_for_the_same_state_twice(tmp_path: Path) -> None:
    def both(number: int) -> Generator[Any, Any, Any]:
        problem = PROBLEMS[number]
        once = yield ask(problem, (), 2)
        twice = yield [ask(problem, (), 2), ask(problem, once[0].steps[:1], 3), ask(problem, once[0].steps[:1], 3)]
        return once, twice

    engine = ScriptedEngine(ToyPolicy(), shuffle=3)
    outcomes, _ = run_scheduler([(str(number), both(number)) for number in range(4)], engine, tmp_path)
    for outcome in outcomes.values():
        once, twice = outcome.value
        assert twice[0] == once
        assert twice[1] == twice[2]
        assert len(twice[1]) == 3
    assert len(engine.sampled) == 8
    again, _ = run_scheduler(
        [(str(n), both(n)) for n in range(4)], ScriptedEngine(ToyPolicy()), tmp_path, grading="exact-2"
    )
    assert again == outcomes


def test_an_engine_that_loses_a_request_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    class Forgetful(ScriptedEngine):
        def submit(self, request: Request) -> None:
            pass

    with pytest.raises(RuntimeError, match="lost 12 requests"):
        run_scheduler(searches(), Forgetful(POLICY), tmp_path)


def test_too_few_completions_fail_the_problem(tmp_path: Path) -> None:
    class Short(ScriptedEngine):
        def step(self) -> Any:
            return [type(one)(one.key, one.completions[:-1]) for one in super().step()]

    outcomes, _ = run_scheduler(searches(), Short(POLICY), tmp_path)
    assert outcomes["toy-0000"].value.reason == "the engine returned 5 completions of 6"
