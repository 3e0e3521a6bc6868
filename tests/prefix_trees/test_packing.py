"""Trees of paths: every path is found again, a token sees its ancestors, and the model computes the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.data.problem import Problem
from mmprm.prefix_trees import attention, packing
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.prm.step_scores import Item

# Few tokens, so that prefixes are shared.
PATHS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=8)


def paths_of(ids: Sequence[Sequence[int]]) -> list[packing.Tokens]:
    return [{"input_ids": np.asarray(path), "kind": np.asarray(path) % 2} for path in ids]


@given(ids=PATHS)
def test_every_path_stands_in_the_tree_with_its_own_positions(ids: list[list[int]]) -> None:
    packed = packing.pack(paths_of(ids))
    for path, place in zip(ids, packed.path_indices, strict=True):
        assert packed.tokens["input_ids"][place].tolist() == path
        assert packed.tokens["kind"][place].tolist() == [token % 2 for token in path]
        assert packed.depth[place].tolist() == list(range(len(path)))


@given(ids=PATHS)
def test_each_shared_prefix_stands_once(ids: list[list[int]]) -> None:
    prefixes = {tuple(path[:length]) for path in ids for length in range(1, len(path) + 1)}
    assert packing.pack(paths_of(ids)).length == len(prefixes)


@given(ids=PATHS)
def test_a_token_sees_itself_and_its_ancestors_and_nothing_else(ids: list[list[int]]) -> None:
    packed = packing.pack(paths_of(ids))
    expected = np.zeros((packed.length, packed.length), dtype=bool)
    for place in packed.path_indices:
        for depth, token in enumerate(place):
            expected[token, place[: depth + 1]] = True
    assert (packed.mask() == expected).all()


@given(ids=PATHS, budget=st.integers(1, 20))
def test_trees_stay_within_the_budget_and_every_path_is_in_one(ids: list[list[int]], budget: int) -> None:
    found = packing.pack_within(paths_of(ids), budget)
    assert sorted(index for group, _ in found for index in group) == list(range(len(ids)))
    for group, packed in found:
        assert packed.length <= budget or len(group) == 1
        for index, place in zip(group, packed.path_indices, strict=True):
            assert packed.tokens["input_ids"][place].tolist() == ids[index]
            assert packed.depth[place].tolist() == list(range(len(ids[index])))
        prefixes = {tuple(ids[index][:length]) for index in group for length in range(1, len(ids[index]) + 1)}
        assert packed.length == len(prefixes), "what a tree's paths share stands once in it"


def test_a_tree_within_the_budget_is_not_split() -> None:
    ids = [[0, 1, 2], [0, 1], [0, 2], [0, 1, 2]]
    ((group, packed),) = packing.pack_within(paths_of(ids), 4)
    whole = packing.pack(paths_of(ids))
    assert (packed.tokens["input_ids"] == whole.tokens["input_ids"]).all() and (packed.mask() == whole.mask()).all()
    paths = [packed.path_indices[group.index(index)].tolist() for index in range(4)]
    assert paths == [indices.tolist() for indices in whole.path_indices]


@pytest.mark.parametrize("paths", [[], [{"input_ids": np.zeros(0, dtype=int)}]])
def test_nothing_cannot_be_packed(paths: list[packing.Tokens]) -> None:
    with pytest.raises(ValueError, match="nothing to pack"):
        packing.pack(paths)
    assert packing.pack_within([], 4) == []


def solutions(problem: Problem) -> list[Item]:
    """Solutions that share some of their steps: others, shorter ones, one without an answer, one twice."""
    steps = ("1 + 1 = 2", "2 + 2 = 4", "4 * 3 = 12", "12 - 5 = 7")
    items: list[Item] = [(problem, steps[:length], str(answer)) for length in range(1, 5) for answer in (3, 7)]
    items += [(problem, steps[:2], None), (problem, (*steps[:1], "9 - 2 = 7", *steps[2:]), "7"), items[0]]
    return items


@pytest.mark.parametrize("budget", [10_000, 260, 1])
def test_the_scores_are_those_of_one_solution_at_a_time(
    sized_problems: list[Problem], any_policy_folder: Path, budget: int
) -> None:
    items = [item for problem in sized_problems for item in solutions(problem)]
    items = [items[(7 * place) % len(items)] for place in range(len(items))]  # not problem by problem
    alone, trees = TransformersScorer(any_policy_folder), TreeScorer(any_policy_folder, budget=budget)
    for one, packed in zip(alone.score(items), trees.score(items), strict=True):
        assert len(one.probabilities) == len(packed.probabilities) > 0
        assert packed.probabilities == pytest.approx(one.probabilities, abs=1e-5)
    if budget == 10_000:
        assert trees.prompt_tokens < 0.3 * alone.prompt_tokens


def test_so_are_the_concentrations_of_a_prm_of_counts(
    sized_problems: list[Problem], counts_folder: Path, any_policy_folder: Path
) -> None:
    items = [item for problem in sized_problems for item in solutions(problem)]
    alone, trees = TransformersScorer(counts_folder).score(items), TreeScorer(counts_folder).score(items)
    others = TreeScorer(any_policy_folder).score(items)  # the same model, but of another label
    for one, packed, other in zip(alone, trees, others, strict=True):
        assert one.concentrations is not None and len(one.concentrations) == len(one.probabilities)
        assert packed.concentrations == pytest.approx(one.concentrations, rel=1e-4)
        assert (packed.probabilities, None) == (other.probabilities, other.concentrations)
    assert len({round(value, 4) for one in alone for value in one.concentrations or ()}) > len(sized_problems)


def test_a_solution_that_is_too_long_has_no_score_and_the_others_have_theirs(
    mini_problems: list[Problem], mini_policy_folder: Path
) -> None:
    items = solutions(mini_problems[0])
    long = (mini_problems[0], ("7 * 8 = 56",) * 100, "56")
    scores = TreeScorer(mini_policy_folder, longest=400).score([long, *items])
    assert scores[0].probabilities == []
    assert scores[1:] == TreeScorer(mini_policy_folder).score(items)


def test_the_scores_of_trees_for_cuda_are_those_of_trees_for_the_cpu(
    mini_problems: list[Problem], mini_policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a batch for CUDA brings, read by the model here: FlexAttention runs on any machine, only slower."""
    items = solutions(mini_problems[0])
    scorer = TreeScorer(mini_policy_folder, budget=260)
    expected = scorer.score(items)
    laid_out = attention.model_inputs
    monkeypatch.setattr(attention, "model_inputs", lambda packed, positions, _: laid_out(packed, positions, "cuda"))
    for one, other in zip(scorer.score(items), expected, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
