"""The search alone: golden values, hand-made policies whose truth is known, and properties over random ones."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_engine import ToyPolicy, step_is_right, toy_problem
from toy_world import ExactGrader, ask, grow, make_rollouts

from mmprm.annotation.omegaprm import CandidateQueue, first_error, omegaprm, q_value, u_value
from mmprm.annotation.tree import Tree
from mmprm.config import Annotation
from mmprm.data.problem import Problem
from mmprm.model.step_text import render_solution
from mmprm.rollouts.rollout import RequestFailed

ABC = Problem(problem_id="abc", source="test", question="?", answer="ok")


def scripted(texts: dict[tuple[str, ...], list[str]]):
    """A policy that writes, for a prefix, the given texts in turn (draw after draw); none elsewhere."""
    turns: dict[tuple[str, ...], int] = {}

    def policy(problem: Problem, prefix: tuple[str, ...], rng: random.Random) -> str:
        turn = turns.get(prefix, 0)
        turns[prefix] = turn + 1
        return texts[prefix][turn % len(texts[prefix])]

    return policy


def right(*steps: str) -> str:
    return render_solution(steps, "ok")


def wrong(*steps: str) -> str:
    return render_solution(steps, "bad")


def by_steps(tree: Tree) -> dict[tuple[str, ...], dict]:
    return {tuple(row["steps"]): row for row in tree.node_rows()}


def test_q_has_the_golden_value() -> None:
    values = Annotation(alpha=0.5, beta=0.9, length_scale=500)
    assert q_value(0.5, 100, values) == pytest.approx(0.69236, abs=1e-5)


def test_u_has_the_golden_value() -> None:
    assert u_value(2, 9, Annotation(c_puct=0.125)) == 0.125


def test_the_binary_search_probes_middles_and_finds_the_first_error() -> None:
    policy = scripted(
        {
            (): [right("a", "x"), wrong("a", "b", "c", "d", "e", "f", "g")],
            ("a", "b", "c", "d"): [wrong("e"), wrong("f")],
            ("a", "b"): [right("z"), right("z")],
            ("a", "b", "c"): [right("z"), right("z")],
        }
    )
    tree, requests = grow(ABC, Annotation(k=2), policy)
    assert [request.prefix for request in requests] == [(), ("a", "b", "c", "d"), ("a", "b"), ("a", "b", "c")]
    assert (tree.status, tree.reason, tree.n_searches) == ("done", "pool empty", 1)


def test_the_first_error_hangs_from_the_last_correct_state() -> None:
    """Defect 3: the wrong state is probed first, when only the root was known to be right."""
    policy = scripted(
        {
            (): [right("a", "x"), wrong("a", "b", "c", "d", "e", "f", "g")],
            ("a", "b", "c", "d"): [wrong("e"), wrong("f")],
            ("a", "b"): [right("z"), right("z")],
            ("a", "b", "c"): [right("z"), right("z")],
        }
    )
    nodes = by_steps(grow(ABC, Annotation(k=2), policy)[0])
    assert nodes["a", "b", "c", "d"]["parent_id"] == nodes["a", "b", "c"]["node_id"]
    assert nodes["a", "b", "c"]["parent_id"] == nodes["a", "b"]["node_id"]
    assert nodes[()]["parent_id"] is None


def test_an_unparsed_rollout_counts_as_not_correct_and_is_never_searched() -> None:
    """Defect 1: the public code made it an empty rollout with the best length term and searched it early."""
    policy = scripted({(): [right("a"), "<step>broken", "", wrong("w"), "<answer>ok</answer>"], ("w",): [wrong()]})
    tree, _ = grow(ABC, Annotation(k=5), policy)
    root = tree.node_rows()[0]
    assert (root["n_rollouts"], root["n_correct"], root["n_unparsed"]) == (5, 1, 3)
    assert root["mc"] == pytest.approx(0.2)
    assert [row["searched"] for row in tree.rollout_rows() if row["node_id"] == 0] == [False, False, False, True, False]


def test_an_undecided_rollout_is_not_counted_as_wrong() -> None:
    """Defect 2."""
    policy = scripted({(): [right("a"), render_solution(["a"], "maybe"), wrong("b")], ("b",): [wrong()]})
    tree, _ = grow(ABC, Annotation(k=3), policy, ExactGrader(undecided=["maybe"]))
    root = tree.node_rows()[0]
    assert (root["n_rollouts"], root["n_correct"], root["n_undecided"], root["mc"]) == (2, 1, 1, 0.5)
    assert [row["searched"] for row in tree.rollout_rows() if row["node_id"] == 0] == [False, False, True]


def test_a_state_with_no_right_but_an_undecided_rollout_is_not_taken_for_wrong() -> None:
    maybe = render_solution(["z"], "maybe")
    policy = scripted({(): [right("a"), wrong("a", "b", "c")], ("a", "b"): [maybe, wrong("y")], ("a",): [right("z")]})
    tree, requests = grow(ABC, Annotation(k=2), policy, ExactGrader(undecided=["maybe"]))
    assert [request.prefix for request in requests] == [(), ("a", "b")]  # the search gives up, and guesses nothing
    assert tree.status == "done"


def test_a_question_without_any_verdict_is_failed_and_not_skipped_as_wrong() -> None:
    policy = scripted({(): [wrong("a"), right("b")]})
    tree, _ = grow(ABC, Annotation(k=2), policy, ExactGrader(everything_undecided=True))
    assert tree.status == "failed"
    assert "undecided" in tree.reason


@pytest.mark.parametrize(("text", "reason"), [(right("a"), "all right"), (wrong("a"), "none right")])
def test_a_question_that_is_always_or_never_solved_is_skipped_with_its_reason(text: str, reason: str) -> None:
    tree, requests = grow(ABC, Annotation(k=4), scripted({(): [text]}))
    assert (tree.status, tree.reason, len(requests)) == ("skipped", reason, 1)


def test_an_error_in_the_answer_is_told_from_one_in_the_last_step() -> None:
    in_answer = scripted({(): [right("a"), wrong("a", "b")], ("a",): [right()], ("a", "b"): [right()]})
    tree, requests = grow(ABC, Annotation(k=2), in_answer)
    assert [request.prefix for request in requests] == [(), ("a",), ("a", "b")]
    assert by_steps(tree)["a", "b"]["mc"] == 1
    in_step = scripted({(): [right("a"), wrong("a", "b")], ("a",): [right()], ("a", "b"): [wrong()]})
    nodes = by_steps(grow(ABC, Annotation(k=2), in_step)[0])
    assert nodes["a", "b"]["mc"] == 0
    assert nodes["a", "b"]["parent_id"] == nodes["a",]["node_id"]


def test_a_state_is_probed_once() -> None:
    """Two wrong rollouts share their first steps: the second search reuses what the first one sampled."""
    policy = scripted(
        {
            (): [right("a"), wrong("a", "b", "c"), wrong("a", "b", "d")],
            ("a", "b"): [wrong("q")],
            ("a",): [right()],
        }
    )
    tree, requests = grow(ABC, Annotation(k=3), policy)
    assert tree.n_searches == 2
    assert [request.prefix for request in requests] == [(), ("a", "b"), ("a",)]


def test_equal_wrong_solutions_are_searched_once() -> None:
    policy = scripted({(): [right("a"), wrong("b"), wrong("b"), wrong("b")], ("b",): [wrong()]})
    assert grow(ABC, Annotation(k=4), policy)[0].n_searches == 1


def test_a_prefix_of_a_right_solution_is_right_even_where_its_own_rollouts_all_fail() -> None:
    """`a` fails twice, but the root's right rollout goes through it: the error is looked for after it."""
    policy = scripted({(): [right("a", "z"), wrong("a", "b")], ("a",): [wrong("y"), wrong("x")], ("a", "b"): [wrong()]})
    tree, requests = grow(ABC, Annotation(k=2), policy)
    nodes = by_steps(tree)
    assert [request.prefix for request in requests] == [(), ("a",), ("a", "b")]
    assert nodes["a",]["mc"] == 0
    assert nodes["a", "b"]["parent_id"] == 0  # the parent has MC > 0


def test_a_probe_that_does_not_fit_into_the_budget_ends_the_search() -> None:
    policy = scripted({(): [right("a"), wrong("a", "b")], ("a",): [right()], ("a", "b"): [wrong()]})
    tree, requests = grow(ABC, Annotation(k=2, max_rollouts=5), policy)
    assert (tree.status, tree.reason, tree.n_rollouts, len(requests)) == ("done", "rollout budget", 4, 2)


def test_the_search_limit_ends_the_search() -> None:
    tree, _ = grow(toy_problem(3), Annotation(k=8, max_searches=2), ToyPolicy())
    assert (tree.n_searches, tree.reason) == (2, "search limit")


def test_solutions_above_the_step_limit_are_not_searched() -> None:
    policy = scripted({(): [right("a"), wrong("a", "b", "c")]})
    tree, requests = grow(ABC, Annotation(k=2, max_steps=2), policy)
    assert (tree.reason, tree.n_searches, len(requests)) == ("pool empty", 0, 1)


def test_every_state_of_the_first_solutions_is_probed_before_any_search_whatever_their_verdicts() -> None:
    answers = {(): ["hm", wrong("a", "b"), right("c", "d"), right("c", "d"), wrong("e")]}
    answers |= {prefix: [wrong("x")] for prefix in [("a",), ("a", "b"), ("c",), ("c", "d"), ("e",)]}
    asked = [request.prefix for request in grow(ABC, Annotation(k=5, dense_solutions=2), scripted(answers))[1]]
    assert asked[:5] == [(), ("a",), ("a", "b"), ("c",), ("c", "d")]
    assert asked[5:] == [("e",)], "a search finds the states of dense solutions there"
    tree, requests = grow(ABC, Annotation(k=5, dense_solutions=2, max_rollouts=19), scripted(answers))
    assert (len(requests), tree.n_rollouts, tree.reason) == (3, 15, "rollout budget")


def test_the_requests_of_a_search_are_the_same_with_dense_solutions() -> None:
    """So that a journal's draws serve both; only their order and number change."""
    for number in range(20):
        plain, dense = (
            {request.key for request in grow(toy_problem(number), Annotation(k=4, **more), ToyPolicy(error=0.2))[1]}
            for more in ({}, {"dense_solutions": 2, "max_rollouts": 4000})
        )
        assert plain & dense


def test_a_larger_budget_begins_with_the_same_requests() -> None:
    small = grow(toy_problem(5), Annotation(k=6, max_rollouts=36), ToyPolicy())[1]
    large = grow(toy_problem(5), Annotation(k=6, max_rollouts=90), ToyPolicy())[1]
    assert len(large) > len(small)
    assert large[: len(small)] == small


def test_a_failed_request_ends_the_tree_as_failed_and_keeps_its_nodes() -> None:
    search = omegaprm(ABC, Annotation(k=2), ask)
    request = next(search)
    search.send(make_rollouts(request, [right("a"), wrong("a", "b")], ExactGrader()))
    with pytest.raises(StopIteration) as end:
        search.throw(RequestFailed("the prompt is too long"))
    tree = end.value.value
    assert (tree.status, tree.reason, len(tree.nodes)) == ("failed", "the prompt is too long", 1)


def test_near_misses_and_short_rollouts_come_first() -> None:
    long = " ".join(["word"] * 50)
    policy = scripted({(): [right("a"), wrong(long), wrong("b")], (long,): [wrong()], ("b",): [wrong()]})
    requests = grow(ABC, Annotation(k=3, length_scale=10), policy)[1]
    assert [request.prefix for request in requests] == [(), ("b",), (long,)]


def test_a_state_that_was_searched_often_gives_way_to_one_that_was_not() -> None:
    order = []
    for c_puct in (0.0, 5.0):
        tree, queue = Tree("p"), CandidateQueue(Annotation(c_puct=c_puct))
        for prefix, n_right in (((), 2), (("a",), 1)):  # MC 1/2 and 1/3: the first has the higher Q
            request = ask(ABC, prefix, 4)
            texts = [right("r")] * n_right + [wrong(f"{prefix} {i}") for i in range(2)]
            queue.push(tree.add(prefix, make_rollouts(request, texts, ExactGrader())))
        order.append([queue.pop().node.node_id for _ in range(4)])
    assert order == [[0, 0, 1, 1], [0, 1, 0, 1]]


states = st.lists(  # (right rollouts, words of each wrong one), or None: take a pair
    st.none() | st.tuples(st.integers(0, 3), st.lists(st.integers(1, 4), max_size=5)), max_size=24
)


@given(states, st.sampled_from([0.0, 0.1, 1.0, 10.0]))
def test_the_queue_gives_what_a_scan_of_all_waiting_pairs_would(moves: list, c_puct: float) -> None:
    values = Annotation(c_puct=c_puct, length_scale=3)
    tree, queue = Tree("p"), CandidateQueue(values)
    waiting: list[tuple] = []
    taken = 0
    for number, move in enumerate(moves):
        if move is not None:
            n_right, wrong_words = move
            request = ask(ABC, (f"state {number}",), 9)
            texts = [right("r")] * n_right + [wrong(f"{i} " * words) for i, words in enumerate(wrong_words)]
            node = tree.add(request.prefix, make_rollouts(request, texts, ExactGrader()))
            queue.push(node)
            if n_right:
                waiting += [(node, n_right + i, words + 1) for i, words in enumerate(wrong_words)]
        elif waiting:
            worths = [
                q_value(node.counts.mc, n_words, values) + u_value(node.visits, taken, values)
                for node, _, n_words in waiting
            ]
            best = waiting.pop(worths.index(max(worths)))
            chosen = queue.pop()
            assert (chosen.node, chosen.index, chosen.n_words) == best
            taken += 1
        assert len(queue) == len(waiting)


def test_with_many_rollouts_the_located_errors_are_the_true_ones() -> None:
    for number in range(6):
        tree, _ = grow(toy_problem(number), Annotation(k=48, max_rollouts=5000, max_searches=30), ToyPolicy(error=0.2))
        wrong_states = {node.steps for node in tree.nodes if node.counts.is_wrong}
        located = 0
        for node in tree.nodes:
            for place in node.searched:
                path = node.steps + node.rollouts[place].steps
                true = next((i + 1 for i, step in enumerate(path) if not step_is_right(step)), len(path) + 1)
                assert first_error(path, tree.right.length(path), wrong_states) == true
                located += 1
        assert located > 3


random_policies = st.builds(
    ToyPolicy,
    error=st.floats(0, 0.6),
    wrong_answer=st.floats(0, 0.4),
    garbage=st.floats(0, 0.4),
    wordings=st.integers(1, 4),
)
random_settings = st.builds(
    Annotation, k=st.integers(1, 8), max_searches=st.integers(1, 12), max_rollouts=st.integers(8, 90)
)
trees = settings(max_examples=60, deadline=None)


@trees
@given(random_policies, random_settings, st.integers(0, 1000), st.integers(2, 8))
def test_counts_add_up_and_the_budgets_hold(policy: ToyPolicy, limits: Annotation, number: int, terms: int) -> None:
    problem = toy_problem(number, terms)
    tree, requests = grow(problem, limits, policy, ExactGrader(undecided=[str(int(problem.answer) + 1)]))
    rollouts = tree.rollout_rows()
    for row in tree.node_rows():
        verdicts = [r["verdict"] for r in rollouts if r["node_id"] == row["node_id"]]
        assert len(verdicts) == limits.k == row["n_rollouts"] + row["n_undecided"]
        assert row["n_correct"] == verdicts.count("correct")
        assert row["n_unparsed"] == verdicts.count("unparsed")
        assert row["mc"] == (row["n_correct"] / row["n_rollouts"] if row["n_rollouts"] else None)
    status = tree.status_row()
    assert status["n_rollouts"] == len(rollouts) == limits.k * len(requests) <= limits.max_rollouts
    assert status["n_searches"] == sum(row["visits"] for row in tree.node_rows()) <= limits.max_searches
    assert status["n_searches"] == sum(row["searched"] for row in rollouts)
    assert all(row["verdict"] == "incorrect" for row in rollouts if row["searched"])
    assert status["status"] in ("done", "skipped", "failed")


@trees
@given(random_policies, random_settings, st.integers(0, 1000))
def test_the_same_answers_give_the_same_tree(policy: ToyPolicy, limits: Annotation, number: int) -> None:
    first, again = grow(toy_problem(number), limits, policy)[0], grow(toy_problem(number), limits, policy)[0]
    assert first.node_rows() == again.node_rows()
    assert first.rollout_rows() == again.rollout_rows()
    assert first.status_row() == again.status_row()


@trees
@given(random_policies, random_settings, st.integers(0, 1000))
def test_every_parent_is_the_longest_right_prefix_among_the_nodes(
    policy: ToyPolicy, limits: Annotation, number: int
) -> None:
    nodes = grow(toy_problem(number), limits, policy)[0].node_rows()
    for node in nodes[1:]:
        above = [n for n in nodes if len(n["steps"]) < len(node["steps"]) and n["n_correct"] > 0]
        above = [n for n in above if node["steps"][: len(n["steps"])] == n["steps"]]
        assert node["parent_id"] == max(above, key=lambda n: len(n["steps"]))["node_id"]
