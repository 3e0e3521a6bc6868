"""Examples on disk are the examples that were written, and a training set is made of a few problems at a time."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

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
from mmprm.training import checkpoints, example_shards
from mmprm.training.example_shards import write_index, writing_shard
from mmprm.training.example_store import ExampleIndex, StoredExamples, digests
from mmprm.training.examples import IGNORE, Example, digest, digest_of_release_before


def make(number: int, length: int, trials: bool = False, images: tuple[bytes, ...] = (b"a",)) -> Example:
    rng = np.random.default_rng(number)
    labels = np.where(rng.random(length) < 0.5, IGNORE, rng.random(length)).astype(np.float32)
    tokens = {
        "input_ids": rng.integers(0, 2**17, length),
        "token_type_ids": np.repeat(rng.integers(-1, 3, 4), length)[:length],
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


def stored(folder: Path, examples: list[Example], shards: int = 1) -> StoredExamples:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number}.arrow" for number in range(shards)]
    for number, file in enumerate(files):
        with writing_shard(file, "a key") as writer:
            for example in examples[number * len(examples) // shards : (number + 1) * len(examples) // shards]:
                writer.add(example)
    write_index(folder, files)
    return StoredExamples(folder)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.sampled_from([(), (b"a",), (b"b", b"c")])), max_size=12),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_what_was_written_is_read_in_any_order_and_after_pickling(tmp_path_factory, rows, shards, batch) -> None:
    written = [make(number, *row) for number, row in enumerate(rows)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(example_shards, "_BATCH_ROWS", batch)
        found = stored(tmp_path_factory.mktemp("store"), written, shards)
    again = pickle.loads(pickle.dumps(found))
    for read in (found, again):
        assert len(read) == len(written)
        assert all(same(read[place], written[place]) for place in reversed(range(len(written))))
    assert all(map(same, found[1:], written[1:]))
    with pytest.raises(IndexError):
        found[len(written)]
    index = found.example_index
    assert (list(index.lengths), list(index.n_labels)) == (
        ExampleIndex.of(written).lengths,
        ExampleIndex.of(written).n_labels,
    )
    assert list(index.problem_ids) == [index.problem_ids[place] for place in range(len(written))]
    assert list(index.problem_ids) == ExampleIndex.of(written).problem_ids
    assert digest(digests(found), []) == digest(digests(written), []), "a checkpoint knows them as the same data"
    assert digest_of_release_before(found, [[1]]) == digest_of_release_before(written, [[1]])


def test_a_store_is_pickled_as_the_name_of_its_folder(tmp_path: Path) -> None:
    found = stored(tmp_path / "store", [make(number, 500) for number in range(50)])
    assert found[3].length == 500 and sum(found.example_index.lengths) == 50 * 500
    assert len(pickle.dumps(found)) < 400, "whatever has been read"


def test_examples_are_known_by_all_that_they_hold() -> None:
    example = make(0, 9, trials=True)
    changed = [
        replace(example, problem_id="another"),
        replace(example, tokens={**example.tokens, "input_ids": example.tokens["input_ids"] + 1}),
        replace(example, labels=example.labels + 1),
        replace(example, images=(b"a", b"a")),
        replace(example, images=(b"aa",)),
        replace(example, trials=None),
    ]
    assert len({digest(digests([each]), [[0]]) for each in (example, *changed)} | {digest(digests([example]), [])}) == 8


def test_an_image_is_on_disk_once_in_a_shard(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.bytes(100_000) for _ in range(2)]
    examples = [make(number, 5, images=(bytes(images[number % 2]),)) for number in range(200)]
    found = stored(tmp_path / "store", examples)
    assert (tmp_path / "store/0.arrow").stat().st_size < 350_000
    assert all(found[place].images == (images[place % 2],) for place in (0, 1, 63, 64, 150, 199))


def test_the_tokens_of_images_are_on_disk_as_one_run(tmp_path: Path) -> None:
    tokens = np.concatenate([np.arange(20), np.full(3328, 7), np.arange(100)])
    labels = np.concatenate([np.full(3348, int(IGNORE)), np.arange(100)])
    example = Example("p", {"input_ids": tokens}, labels, ())
    found = stored(tmp_path / "store", [example] * 256)
    assert same(found[255], example) and found[0].labels.dtype == labels.dtype
    assert (tmp_path / "store/0.arrow").stat().st_size < 256 * 2500, "3448 tokens of 8 bytes were 27 kB"


def test_an_array_that_is_no_token_ids_is_refused(tmp_path: Path) -> None:
    wide = Example("p", {"input_ids": np.array([1, 2**40])}, np.array([1, 2]), ())
    with pytest.raises(ValueError, match="more than 32 bits"):
        stored(tmp_path / "store", [wide])
    assert not list((tmp_path / "store").iterdir()), "a shard is complete or absent"


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
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # many small shards: in this process
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
        monkeypatch.setattr(marker_examples, "_SHARD_ROWS", 2 * at_once)
        folder = tmp_path / f"train{at_once}"
        found = marker_examples.assemble(tmp_path / "paths.parquet", "train", folder, builder, 3, seed=1)
        assert found.n_rows == len(chosen) == 33 and not found.refusals
        assert len(found.examples) == len(expected) and all(map(same, found.examples, expected))
        assert found.label_sum == pytest.approx(sum(e.labels[e.labels != IGNORE].sum() for e in expected))
    held_out = marker_examples.assemble(tmp_path / "paths.parquet", "dev", tmp_path / "dev", builder)
    assert set(held_out.examples.example_index.problem_ids) == {ordered[3].problem_id} and held_out.n_rows == 5


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


def test_a_checkpoint_of_the_release_before_is_known_by_what_that_release_hashed() -> None:
    """The digest is that of its code."""
    tokens = {"input_ids": np.arange(4), "mm_token_type_ids": np.zeros(4, dtype=np.int64)}
    labels = np.array([IGNORE, 0.5, IGNORE, 1], dtype=np.float32)
    examples = [Example("p", tokens, labels, (b"x", b"yz")), Example("q", tokens, labels, (), np.ones(4, np.float32))]
    assert digest_of_release_before(examples, [[0, 1], [1]]) == "38dfb817a6888ba85aadfc0141b251de"


def test_checkpoints_of_the_release_before_are_kept_and_those_of_another_job_are_not(tmp_path: Path) -> None:
    arguments = SimpleNamespace(process_index=0, world_size=1)
    whole = tmp_path / "checkpoint-3"

    def found(identity: str, before: str | None = None) -> int | None:
        asked = None if before is None else lambda: [before]
        last = checkpoints.last_complete(tmp_path, [identity], arguments, asked)
        return last and last.update

    assert found("old") is None
    tables.write_json(whole / "complete.json", {"processes": 1, "files": {}})
    assert found("old") == 3
    assert found("new", before="old") == 3, "it is known by what the release before hashed"
    assert found("new", before="other") == 3, "and from then on by its own"
    assert found("other", before="another") is None and not whole.exists()
