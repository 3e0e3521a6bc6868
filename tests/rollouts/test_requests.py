"""Requests: their seeds and keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted_engine import ToyPolicy, toy_problem
from toy_world import policy_folder, toy_config

from mmprm.data.problem import Problem
from mmprm.rollouts.rollout import RequestFactory

CONFIG = toy_config()
POLICY = ToyPolicy(garbage=0.2, wordings=3)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return policy_folder(tmp_path / "policy")


def test_seeds_of_requests_depend_on_run_problem_prefix_and_purpose(policy: Path) -> None:
    """Defect 10: sampling was unseeded."""
    problem = toy_problem(1)
    other = Problem(**{**vars(toy_problem(1)), "problem_id": "x"})
    base = RequestFactory.of(CONFIG, policy, "seeds")
    seeds = {
        base(problem, (), 4).seed,
        base(other, (), 4).seed,
        base(problem, ("a",), 4).seed,
        RequestFactory.of(CONFIG, policy, "annotation")(problem, (), 4).seed,
        RequestFactory.of(toy_config(seed=1), policy, "seeds")(problem, (), 4).seed,
    }
    assert len(seeds) == 5
    assert base(problem, (), 4) == base(problem, (), 4)
