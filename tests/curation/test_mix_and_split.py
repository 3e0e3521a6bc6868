"""The target mix and the test by groups."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mmprm.curation.mix import REST, choose_test, largest_size, quotas, take

HALVES = {"answer_type": {"choice": 0.5, "number": 0.5}}


def values(**counts: int) -> tuple[list[str], dict[str, list[str]]]:
    """Ids and a column of so many of each kind."""
    column = [kind for kind, count in counts.items() for _ in range(count)]
    return [f"{kind}{at}" for at, kind in enumerate(column)], {"answer_type": column}


def test_the_mix_is_met_where_there_are_enough_and_kept_where_there_are_not() -> None:
    ids, columns = values(choice=30, number=100, text=50)
    for size, expected in ((40, {"choice": 20, "number": 20}), (80, {"choice": 30, "number": 40})):
        taken = take(ids, columns, HALVES, size, seed=0)
        assert Counter(columns["answer_type"][at] for at in taken) == expected
    assert largest_size(HALVES, columns, 180) == 60


def test_what_the_shares_leave_is_for_all_others() -> None:
    assert quotas({"family": {"bars": 0.3}}, 10) == {"family": {"bars": 3, REST: 7}}
    ids, columns = values(choice=30, number=100, text=50)
    taken = take(ids, columns, {"answer_type": {"choice": 0.25}}, 40, seed=1)
    assert Counter(columns["answer_type"][at] == "choice" for at in taken) == {True: 10, False: 30}


def test_two_columns_are_balanced_together() -> None:
    ids, columns = values(choice=200, number=200)
    columns["family"] = ["bars" if at % 4 else "table" for at in range(400)]
    taken = take(ids, columns, HALVES | {"family": {"bars": 0.5, "table": 0.5}}, 80, seed=0)
    for column in columns.values():
        assert set(Counter(column[at] for at in taken).values()) == {40}


@given(st.dictionaries(st.sampled_from("abcd"), st.sampled_from([0.1, 0.2, 0.25]), min_size=1), st.integers(0, 500))
def test_wanted_numbers_add_up_to_the_size(shares: dict[str, float], size: int) -> None:
    assert sum(quotas({"family": shares}, size)["family"].values()) == size


@given(st.permutations(range(60)), st.integers(0, 60), st.integers(0, 3))
def test_draws_do_not_depend_on_the_order_of_problems(order: list[int], size: int, seed: int) -> None:
    ids, columns = values(choice=30, number=30)
    groups = [f"g{at % 20}" if at < 40 else "" for at in range(60)]
    taken = {ids[at] for at in take(ids, columns, HALVES, size, seed)}
    held_out = {ids[at] for at in choose_test(ids, groups, size, seed)}
    mixed = {"answer_type": [columns["answer_type"][at] for at in order]}
    assert {ids[order[at]] for at in take([ids[at] for at in order], mixed, HALVES, size, seed)} == taken
    again = choose_test([ids[at] for at in order], [groups[at] for at in order], size, seed)
    assert {ids[order[at]] for at in again} == held_out


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.integers(0, 60), st.integers(0, 3))
def test_a_group_is_in_the_test_as_a_whole_or_not_at_all(of: list[int], size: int, seed: int) -> None:
    ids, groups = [str(at) for at in range(len(of))], [f"g{group}" if group else "" for group in of]
    taken = choose_test(ids, groups, size, seed)
    assert len(taken) <= size
    held_out = {groups[at] for at in taken if groups[at]}
    assert not held_out & {groups[at] for at in range(len(of)) if at not in taken}
    assert (
        len(taken) == size
        or all(groups)
        or size >= len(of)
        or all(at in taken for at in range(len(of)) if not groups[at])
    )
