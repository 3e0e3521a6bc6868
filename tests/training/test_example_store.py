"""Examples on disk are the examples that were written, and a training set is made of a few problems at a time."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, ProblemFile, read_problems, write_problems
from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.prm import marker_examples
from mmprm.runtime.errors import UserError
from mmprm.training.example_store import ExampleIndex, ExampleWriter, StoredExamples
from mmprm.training.examples import IGNORE, Example, digest


def make(number: int, length: int, trials: bool = False, images: tuple[bytes, ...] = (b"a",)) -> Example:
    rng = np.random.default_rng(number)
    labels = np.where(rng.random(length) < 0.5, IGNORE, rng.random(length)).astype(np.float32)
    tokens = {
        "input_ids": rng.integers(0, 2**17, length),
        "token_type_ids": rng.integers(-(2**40), 2**40, length),  # wider than 32 bits
    }
    return Example(f"p{number // 3}", tokens, labels, images, np.ones(length, np.float32) if trials else None)


def same(one: Example, other: Example) -> bool:
    arrays = [(one.labels, other.labels), *((values, other.tokens[name]) for name, values in one.tokens.items())]
    if (one.trials is None) != (other.trials is None):
        return False
    arrays += [(one.trials, other.trials)] if one.trials is not None and other.trials is not None else []
    alike = all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays)
    return alike and (one.problem_id, one.images, set(one.tokens)) == (
        other.problem_id,
        other.images,
        set(other.tokens),
    )


def stored(file: Path, examples: list[Example]) -> StoredExamples:
    with ExampleWriter(file) as writer:
        for example in examples:
            writer.add(example)
        return writer.examples()


@given(
    st.lists(st.tuples(st.integers(1, 30), st.booleans(), st.sampled_from([(), (b"a",), (b"b", b"c")])), max_size=12)
)
def test_what_was_written_is_read_in_any_order_and_after_pickling(tmp_path_factory, rows) -> None:
    written = [make(number, *row) for number, row in enumerate(rows)]
    found = stored(tmp_path_factory.mktemp("store") / "train", written)
    again = pickle.loads(pickle.dumps(found))
    for read in (found, again):
        assert len(read) == len(written)
        assert all(same(read[place], written[place]) for place in reversed(range(len(written))))
    assert all(map(same, found[1:], written[1:]))
    with pytest.raises(IndexError):
        found[len(written)]
    assert (list(found.example_index.lengths), list(found.example_index.n_labels)) == (
        ExampleIndex.of(written).lengths,
        ExampleIndex.of(written).n_labels,
    )
    assert digest(found, []) == digest(written, []), "a checkpoint knows them as the same data"


def test_images_that_follow_one_another_are_on_disk_once(tmp_path: Path) -> None:
    image = np.random.default_rng(0).bytes(100_000)
    stored(tmp_path / "train", [make(number, 5, images=(image,)) for number in range(20)])
    assert (tmp_path / "train").stat().st_size < 150_000


def test_problems_of_several_tables_are_found_in_any_order(mini_problems: list[Problem], tmp_path: Path) -> None:
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    write_problems(files[0], mini_problems[:7])
    write_problems(files[1], mini_problems[7:])
    found = ProblemFile(*files)
    for problem in mini_problems[::-1]:
        assert problem.problem_id in found and found[problem.problem_id] == problem
    assert "another" not in found
    with pytest.raises(KeyError):
        found["another"]
    some = {problem.problem_id for problem in mini_problems[5:9]}
    assert {problem.problem_id for problem in read_problems(*files, only=some)} == some


def path_row(problem: Problem, number: int, split: str) -> dict:
    return {
        "path_id": f"{problem.problem_id}/{number}",
        "problem_id": problem.problem_id,
        "source": problem.source,
        "split": split,
        "kind": "negative",
        "steps": [f"{number} + 1 = {number + 1}", "so it is 3"][: 1 + number % 2],
        "answer": None,
        "n_correct": [1, 0][: 1 + number % 2],
        "n_rollouts": [2, 2][: 1 + number % 2],
        "hard": [1, 0][: 1 + number % 2],
        "label_source": ["probed", "probed"][: 1 + number % 2],
        "soft": [0.5, 0.0][: 1 + number % 2],
    }


def test_a_training_set_is_the_same_however_many_problems_are_taken_at_a_time(
    mini_problems: list[Problem], mini_policy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered = sorted(mini_problems, key=lambda problem: problem.problem_id)
    write_problems(tmp_path / "seeds.parquet", ordered)
    rows = [path_row(p, n, "dev" if place == 3 else "train") for place, p in enumerate(ordered) for n in range(5)]
    tables.write(tmp_path / "paths.parquet", rows, schemas.PATHS)
    processor = folders.load_processor(mini_policy_folder)
    renderer, by_id = Renderer(processor), {problem.problem_id: problem for problem in ordered}
    builder = marker_examples.ExampleBuilder(ProblemFile(tmp_path / "seeds.parquet"), processor, renderer, "soft", 256)
    train = [row for row in rows if row["split"] == "train"]
    chosen = marker_examples.limit_trajectories(train, 3, seed=1)
    expected, _ = replace(builder, problems=by_id).build(chosen)
    for at_once in (1, 7, 10_000):
        monkeypatch.setattr(marker_examples, "_ROWS_AT_ONCE", at_once)
        found = marker_examples.assemble(tmp_path / "paths.parquet", "train", tmp_path / "train", builder, 3, seed=1)
        assert found.n_trajectories == len(chosen) == 33 and not found.refusals
        assert len(found.examples) == len(expected) and all(map(same, found.examples, expected))
        assert found.label_sum == pytest.approx(sum(e.labels[e.labels != IGNORE].sum() for e in expected))
    held_out = marker_examples.assemble(tmp_path / "paths.parquet", "dev", tmp_path / "dev", builder)
    assert set(held_out.examples.example_index.problem_ids) == {ordered[3].problem_id} and held_out.n_trajectories == 5


def test_a_table_that_has_a_problem_in_two_places_is_refused(
    mini_problems: list[Problem], mini_policy_folder: Path, tmp_path: Path
) -> None:
    first, second = sorted(mini_problems, key=lambda problem: problem.problem_id)[:2]
    write_problems(tmp_path / "seeds.parquet", [first, second])
    rows = [path_row(problem, number, "train") for number in range(2) for problem in (first, second)]
    tables.write(tmp_path / "paths.parquet", rows, schemas.PATHS)
    processor = folders.load_processor(mini_policy_folder)
    problems = ProblemFile(tmp_path / "seeds.parquet")
    builder = marker_examples.ExampleBuilder(problems, processor, Renderer(processor), "soft", 256)
    with pytest.raises(UserError, match="in two places"):
        marker_examples.assemble(tmp_path / "paths.parquet", "train", tmp_path / "train", builder)
