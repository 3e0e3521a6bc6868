"""Guided decoding over a known policy, with a PRM that knows which steps are right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import ScriptedEngine, ToyPolicy, step_is_right, toy_problem
from toy_world import ExactGrader, make_rollouts, policy_folder, toy_config

from mmprm.config import Sampling
from mmprm.config.experiments import Adaptive, TreeDecoding
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.data.shards import Shard
from mmprm.engine.base import Request
from mmprm.experiments.guided.decode import decode_guided
from mmprm.experiments.guided.strategies import DecodeResult, Partial, decode, is_reliable, repeats
from mmprm.model import folders
from mmprm.prm.step_scores import StepScores, share_above
from mmprm.rollouts.rollout import RequestFactory
from mmprm.runtime.errors import UserError

POLICY = ToyPolicy(error=0.3, wrong_answer=0.05, wordings=3)
ASK = RequestFactory("toy", Sampling(), 0, "test")


def knows(problem: Problem, partials: Sequence[Partial]) -> list[StepScores]:
    """0.95 as long as every step is right, 0.05 from the first wrong one on; an answer as the last step."""
    scores = []
    for steps, answer in partials:
        right = [all(step_is_right(step) for step in steps[: length + 1]) for length in range(len(steps))]
        if answer is not None:
            right.append(right[-1] and answer == problem.answer)
        scores.append(StepScores([0.95 if value else 0.05 for value in right]))
    return scores


def with_concentration(kappa: float) -> Any:
    """`knows` as a PRM of counts, that is as sure everywhere."""

    def score(problem: Problem, partials: Sequence[Partial]) -> list[StepScores]:
        known = knows(problem, partials)
        return [StepScores(one.probabilities, [kappa] * len(one.probabilities)) for one in known]

    return score


def run(
    problem: Problem, strategy: Any, policy: Any = POLICY, score: Any = knows
) -> tuple[DecodeResult, list[list[Request]]]:
    """A decoding by hand; what it found, and its requests round by round."""
    engine, grader = ScriptedEngine(policy), ExactGrader()
    search = decode(problem, strategy, "last", ASK, score)
    rounds: list[list[Request]] = []
    answer: Any = None
    while True:
        try:
            asked = search.send(answer)
        except StopIteration as end:
            return end.value, rounds
        requests = [asked] if isinstance(asked, Request) else asked
        rounds.append(requests)
        answers = []
        for request in requests:
            engine.submit(request)
            answers.append(make_rollouts(request, [c.text for c in engine.step()[0].completions], grader))
        answer = answers[0] if isinstance(asked, Request) else answers


def accuracy(strategy: Any, problems: int = 60) -> float:
    right = 0
    for number in range(problems):
        best = run(toy_problem(number), strategy)[0].best("last")
        right += best is not None and best.rollout.verdict == "correct"
    return right / problems


@pytest.mark.parametrize("kind", ["beam", "dvts"])
def test_a_prm_that_knows_finds_right_solutions_where_the_policy_seldom_does(kind: str) -> None:
    """A solution of five steps is right with probability 0.7 ** 5 * 0.95 = 0.16."""
    assert accuracy(TreeDecoding(kind=kind, n=8, width=4)) > 0.8
    assert accuracy(Adaptive(kind="adaptive", n=1, batch=1)) < 0.35


@pytest.mark.parametrize(("kind", "width"), [("beam", 2), ("beam", 4), ("dvts", 4)])
def test_every_step_draws_n_until_solutions_are_whole(kind: str, width: int) -> None:
    found, rounds = run(toy_problem(1), TreeDecoding(kind=kind, n=8, width=width))
    assert [sum(request.n for request in requests) for requests in rounds][:-1] == [8] * (len(rounds) - 1)
    assert all(request.one_step for requests in rounds for request in requests)
    assert 1 <= len(found.solutions) <= 8 // width
    assert all(len(one.scores.probabilities) == len(one.rollout.steps) + 1 for one in found.solutions)
    assert found.requests == sum(map(len, rounds))


def test_a_beam_keeps_the_best_and_dvts_keeps_one_a_tree() -> None:
    """Of eight first steps the wrong ones come first: a beam takes two right ones, a tree without any keeps its own."""
    wrong, right = "<step>1 + 1 = 3</step>", "<step>1 + {} = {}</step>"
    draws = iter([wrong] * 4 + [right.format(n, n + 1) for n in range(4)] + ["<answer>2</answer>"] * 99)

    def replays(problem: Problem, prefix: tuple[str, ...], rng: Any) -> str:
        return next(draws)

    _, rounds = run(toy_problem(1), TreeDecoding(kind="beam", n=8, width=4), replays)
    assert [request.prefix for request in rounds[1]] == [("1 + 0 = 1",), ("1 + 1 = 2",)]
    draws = iter([wrong] * 4 + [right.format(n, n + 1) for n in range(4)] + ["<answer>2</answer>"] * 99)
    _, rounds = run(toy_problem(1), TreeDecoding(kind="dvts", n=8, width=4), replays)
    assert [request.prefix for request in rounds[1]] == [("1 + 1 = 3",), ("1 + 0 = 1",)]


@pytest.mark.parametrize("kind", ["beam", "dvts"])
def test_a_search_does_not_put_off_its_steps_by_saying_again_what_it_has(kind: str) -> None:
    """The PRM knows what is right; three of four draws, where there is a step already, repeat one of them."""

    def stalls(problem: Problem, prefix: tuple[str, ...], rng: Any) -> str:
        if prefix and rng.random() < 0.75:
            return f"<step>{rng.choice(['', 'so ', 'again, '])}{rng.choice(prefix)}.</step>"
        own = tuple(step for at, step in enumerate(prefix) if not repeats(step, prefix[:at]))
        return POLICY(problem, own, rng)

    def longest(**settings: bool) -> int:
        strategy = TreeDecoding(kind=kind, n=16, width=8, max_steps=20, **settings)
        found = [run(toy_problem(number), strategy, stalls)[0] for number in range(8)]
        return max(len(one.rollout.steps) for each in found for one in each.solutions)

    # A tree of dvts has eight draws a step, which may be repeats all of them.
    assert longest() == (5 if kind == "beam" else 7) < longest(repeats=True)


def test_adaptive_stops_at_a_reliable_solution_and_else_goes_on_before_the_first_doubtful_step() -> None:
    strategy = Adaptive(kind="adaptive", n=12, batch=3)
    stopped = 0
    for number in range(30):
        found, rounds = run(toy_problem(number), strategy)
        assert sum(request.n for (request,) in rounds) <= 12
        assert not any(request.one_step for (request,) in rounds)
        best = found.best("last")
        if len(rounds) < 4:
            assert best is not None and best.scores.probabilities[-1] >= strategy.stop_at
            stopped += 1
        for (request,) in rounds[1:]:
            assert all(step_is_right(step) for step in request.prefix)
        for (one,), (other,) in pairwise(rounds):
            assert one.key != other.key  # the same draws are never paid for again
    assert stopped > 15


def test_a_high_probability_of_few_rollouts_goes_on_and_the_same_of_many_stops() -> None:
    """0.95 at the answer: 0.86 of Beta(1.9, 0.1) lies above 0.9, and 0.97 of Beta(95, 5)."""
    strategy = Adaptive(kind="adaptive", n=12, batch=3)
    stopped = 0
    for number in range(20):
        plain = run(toy_problem(number), strategy)
        assert run(toy_problem(number), strategy, score=with_concentration(100))[1] == plain[1]
        _, rounds = run(toy_problem(number), strategy, score=with_concentration(2))
        assert sum(request.n for (request,) in rounds) == 12
        stopped += len(plain[1]) < 4
        easy = Adaptive(kind="adaptive", n=12, batch=3, credibility=0.8)
        assert run(toy_problem(number), easy, score=with_concentration(2))[1] == plain[1]
    assert stopped > 10


@given(p=st.floats(0, 1), kappa=st.floats(0.001, 500), stop_at=st.floats(0.05, 1), credibility=st.floats(0.05, 0.99))
def test_a_solution_is_reliable_by_its_answer_alone(p: float, kappa: float, stop_at: float, credibility: float) -> None:
    strategy = Adaptive(kind="adaptive", stop_at=stop_at, credibility=credibility)
    for steps in ([], [0.1], [1.0]):
        assert is_reliable(StepScores([*steps, p]), strategy) == (p >= stop_at)
        scores = StepScores([*steps, p], [*(3.0 for _ in steps), kappa])
        assert is_reliable(scores, strategy) == (share_above(stop_at, p, kappa) >= credibility)


@given(p=st.floats(0, 1), kappa=st.floats(0.001, 500), stop_at=st.floats(0.05, 0.95))
def test_more_credibility_never_stops_sooner(p: float, kappa: float, stop_at: float) -> None:
    kinds = [Adaptive(kind="adaptive", stop_at=stop_at, credibility=share) for share in (0.5, 0.8, 0.9, 0.99)]
    found = [is_reliable(StepScores([p], [kappa]), kind) for kind in kinds]
    assert found == sorted(found, reverse=True)


def test_without_a_whole_solution_nothing_is_chosen() -> None:
    found, rounds = run(toy_problem(1), TreeDecoding(kind="beam", n=4, width=2), lambda *_: "no tags")
    assert (found.best("last"), found.solutions, len(rounds)) == (None, [], 1)
    assert run(toy_problem(1), Adaptive(kind="adaptive", n=4, batch=2), lambda *_: "no tags")[0].best("last") is None
    endless = run(
        toy_problem(1), TreeDecoding(kind="beam", n=4, width=2, max_steps=5), lambda *_: "<step>1 + 1 = 2</step>"
    )
    assert (endless[0].solutions, len(endless[1])) == ([], 5)


class Oracle:
    """`knows` as a scorer, or another in its place."""

    prompt_tokens = 0

    def __init__(self, score: Any = knows) -> None:
        self._score = score

    def score(self, items: Sequence[Any]) -> list[StepScores]:
        return [self._score(problem, [(steps, answer)])[0] for problem, steps, answer in items]

    def close(self) -> None:
        pass


CONFIG = toy_config(
    guided={"beam": {"kind": "beam", "n": 8, "width": 4}, "less": {"kind": "adaptive", "n": 8, "batch": 2}}
)


def decoded(folder: Path, strategy: str, shard: Shard, engine: ScriptedEngine, work: str = "work") -> Path:
    policy = policy_folder(folder / "policy")
    problems = folder / "problems.parquet"
    write_problems(problems, [toy_problem(number) for number in range(12)])
    out = folder / f"{strategy}-{shard}-{work}.parquet"
    decode_guided(CONFIG, strategy, "toy", policy, policy, problems, shard, folder / work, out, lambda: engine, Oracle)
    return out


@pytest.mark.parametrize("strategy", ["beam", "less"])
def test_the_table_depends_on_no_shards_and_a_second_run_samples_nothing(tmp_path: Path, strategy: str) -> None:
    whole = decoded(tmp_path, strategy, Shard(0, 1), ScriptedEngine(POLICY))
    parts = [
        decoded(tmp_path, strategy, Shard(index, 3), ScriptedEngine(POLICY, shuffle=index), "other")
        for index in range(3)
    ]
    rows = sorted((row for part in parts for row in pq.read_table(part).to_pylist()), key=lambda row: row["problem_id"])
    assert rows == pq.read_table(whole).to_pylist()
    assert len(rows) == 12 and all(row["sampled_tokens"] > 0 for row in rows)
    again = ScriptedEngine(POLICY)
    assert decoded(tmp_path, strategy, Shard(0, 1), again).read_bytes() == whole.read_bytes()
    assert again.sampled == []


def test_the_table_of_a_prm_of_counts_has_the_concentrations_of_what_was_chosen(tmp_path: Path) -> None:
    plain = decoded(tmp_path, "less", Shard(0, 1), ScriptedEngine(POLICY))
    assert pq.read_schema(plain).names == schemas.GUIDED.names
    prm = policy_folder(tmp_path / "prm")
    folders.write_manifest(prm, {"config": {"prm": {"label": "counts"}}})
    files = (tmp_path / "policy", prm, tmp_path / "problems.parquet", Shard(0, 1), tmp_path / "work")
    engine, out = ScriptedEngine(POLICY), tmp_path / "counts.parquet"
    decode_guided(CONFIG, "less", "toy", *files, out, lambda: engine, lambda: Oracle(with_concentration(100)))
    rows = tables.read_rows(out, schemas.COUNTED_GUIDED)
    assert all(row["concentrations"] == [100.0] * len(row["probabilities"]) for row in rows)
    assert any(row["probabilities"] for row in rows)
    assert tables.read_rows(out, schemas.GUIDED) == tables.read_rows(plain, schemas.GUIDED)
    assert engine.sampled == []  # it asks for what the other has drawn


def test_an_unknown_strategy_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no strategy 'best'; allowed: \['beam', 'less'\]"):
        decoded(tmp_path, "best", Shard(0, 1), ScriptedEngine(POLICY))


def test_the_width_divides_n() -> None:
    with pytest.raises(UserError, match=r"guided.beam\S*: n: 10 is no multiple of width 4"):
        toy_config(guided={"beam": {"kind": "beam", "n": 10, "width": 4}})
