"""Stores of examples: made by several processes, killed and resumed, damaged and mended, the same in every case."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from test_example_store import path_row, same
from waiting import wait_for

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, ProblemFile, row_of, write_problems
from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.prm import marker_examples
from mmprm.runtime.errors import UserError
from mmprm.training import assembly, policy_examples
from mmprm.training.assembly import ExampleSet, Recipe, RowRange, assemble
from mmprm.training.example_shards import ShardWriter
from mmprm.training.examples import Example

ROWS, GROUP = 24, 3
# As `assemble_solutions`, but from the fourth shard on no process comes to its end.
HANGS = """
import sys, time
from pathlib import Path
from mmprm.training import policy_examples

class Hanging(policy_examples._Solutions):
    def __call__(self, part, writer):
        super().__call__(part, writer)
        if part.start >= 9:
            time.sleep(3600)

if __name__ == "__main__":
    policy_examples._Solutions, policy_examples._SHARD_ROWS = Hanging, 3
    policy_examples.assemble_solutions([Path(sys.argv[1])], Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.fixture
def rows(mini_problems: list[Problem]) -> list[Problem]:
    """Problems of which every fifth has no solution."""
    made = [replace(mini_problems[n % 12], problem_id=f"row-{n:03d}") for n in range(ROWS)]
    return [replace(row, solution=None) if n % 5 == 4 else row for n, row in enumerate(made)]


@pytest.fixture
def table(rows: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Their table; three of them make a shard."""
    monkeypatch.setattr(policy_examples, "_SHARD_ROWS", GROUP)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = tmp_path / "rows.parquet"
    tables.write(path, map(row_of, rows), schemas.PROBLEMS, group=GROUP)
    return path


@pytest.fixture
def expected(rows: list[Problem], mini_policy_folder: Path) -> tuple[list[Example], list[str]]:
    """The examples, and the ids of the refused rows."""
    processor = folders.load_processor(mini_policy_folder)
    examples, refusals = policy_examples.supervised_examples(rows, processor, Renderer(processor), 8192)
    return examples, [refusal.problem_id for refusal in refusals]


def check(found: ExampleSet, expected: tuple[Sequence[Example], Sequence[str]]) -> None:
    examples, refused = expected
    assert len(found.examples) == len(examples) and all(map(same, found.examples, examples))
    assert [refusal.problem_id for refusal in found.refusals] == refused
    assert found.n_rows == ROWS


@pytest.mark.heavy
def test_a_killed_assembly_goes_on_to_the_same_store(
    table: Path, expected: tuple[list[Example], list[str]], mini_policy_folder: Path, tmp_path: Path, monkeypatch
) -> None:
    script, store = tmp_path / "hangs.py", tmp_path / "work" / "examples"
    script.write_text(HANGS)
    command = [sys.executable, str(script), str(table), str(mini_policy_folder), str(store)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "2"}, stderr=log)
        half_made = functools.partial(_files, store, ".*.tmp")
        described = functools.partial(_files, store, "*.json")
        in_the_middle = lambda: len(described()) == 3 and len(half_made()) == 2  # noqa: E731
        wait_for(in_the_middle, "three shards, and two half of them", process, tmp_path / "log")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = {file: file.stat().st_mtime_ns for file in store.glob("0*")}
    assert len(before) == 2 * 3
    check(policy_examples.assemble_solutions([table], mini_policy_folder, store), expected)
    assert all(file.stat().st_mtime_ns == changed for file, changed in before.items()), "what was made is kept"
    assert not half_made(), "what was half made is gone"


def _files(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def test_a_damaged_shard_is_named_and_made_again(
    table: Path,
    expected: tuple[list[Example], list[str]],
    mini_policy_folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = tmp_path / "examples"
    check(policy_examples.assemble_solutions([table], mini_policy_folder, store), expected)
    files = sorted(store.glob("0*.arrow"))
    assert len(files) == ROWS // GROUP
    changed, cut, undescribed = files[1], files[2], files[3]
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-100])
    undescribed.with_suffix(".json").write_text("{")
    before = {file: file.stat().st_mtime_ns for file in files}
    caplog.clear()
    check(policy_examples.assemble_solutions([table], mini_policy_folder, store), expected)
    made = [file for file in files if file.stat().st_mtime_ns != before[file]]
    assert made == [changed, cut, undescribed]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2 and f"{changed} is damaged (its checksum" in warnings[0] and str(cut) in warnings[1]


@pytest.mark.parametrize("change", ["max_length", "weights", "instruction", "table", "start"])
def test_shards_of_other_settings_or_tables_are_not_kept(
    change: str, table: Path, rows: list[Problem], mini_policy_folder: Path, mini_model_folder: Path, tmp_path: Path
) -> None:
    store = tmp_path / "examples"
    policy_examples.assemble_solutions([table], mini_policy_folder, store)
    before = {file: file.stat().st_mtime_ns for file in store.glob("0*.arrow")}
    more = {
        "max_length": {"max_length": 500},
        "weights": {"weights": {"mini": 2.0}},
        "instruction": {"instruction": "Go."},
    }
    if change == "table":
        tables.write(table, map(row_of, rows[::-1]), schemas.PROBLEMS, group=GROUP)
    start = tmp_path / "start"
    if change == "start":
        policy = folders.load_processor(mini_policy_folder)
        policy.chat_template += "\n"
        folders.load_model(mini_policy_folder).save_pretrained(start)
        policy.save_pretrained(start)
    policy_examples.assemble_solutions(
        [table], start if change == "start" else mini_policy_folder, store, **more.get(change, {})
    )
    assert all(file.stat().st_mtime_ns != changed for file, changed in before.items())


def test_a_row_is_as_often_among_the_examples_as_its_weight_says(
    table: Path,
    expected: tuple[list[Example], list[str]],
    rows: list[Problem],
    mini_policy_folder: Path,
    tmp_path: Path,
) -> None:
    weights, by_id = {"mini": 1.5}, {row.problem_id: row for row in rows}
    found = policy_examples.assemble_solutions([table], mini_policy_folder, tmp_path / "e", weights=weights, seed=3)
    times = [policy_examples.times_repeated(by_id[each.problem_id], weights, 3) for each in expected[0]]
    assert set(times) == {1, 2}
    repeated = [example for example, n in zip(expected[0], times, strict=True) for _ in range(n)]
    assert len(found.examples) == len(repeated) and all(map(same, found.examples, repeated))
    assert list(found.examples.example_index.problem_ids) == [example.problem_id for example in repeated]


@pytest.mark.heavy
def test_the_paths_of_a_prm_are_kept_too(
    mini_problems: list[Problem], mini_policy_folder: Path, tmp_path: Path
) -> None:
    ordered = sorted(mini_problems, key=lambda problem: problem.problem_id)
    write_problems(tmp_path / "seeds.parquet", ordered)
    rows = [path_row(problem, number, "train") for problem in ordered for number in range(5)]
    tables.write(tmp_path / "paths.parquet", rows, schemas.PATHS, group=7)  # a problem in two row groups
    processor = folders.load_processor(mini_policy_folder)
    problems = ProblemFile(tmp_path / "seeds.parquet")
    builder = marker_examples.ExampleBuilder(problems, processor, Renderer(processor), "soft", 256)
    given = (tmp_path / "paths.parquet", "train", tmp_path / "train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marker_examples, "_SHARD_ROWS", 12)
        patch.setenv("OMP_NUM_THREADS", "2")  # in two processes
        first = marker_examples.assemble(*given, builder, 3)
        files = sorted((tmp_path / "train").glob("0*"))
        before = {file: file.stat().st_mtime_ns for file in files}
        again = marker_examples.assemble(*given, builder, 3)
        assert len(files) == 2 * 4 and all(file.stat().st_mtime_ns == before[file] for file in files)
        expected, _ = builder.build(marker_examples.limit_trajectories(rows, 3, 0))
        for found in (first, again):
            assert len(found.examples) == len(expected) == 36 and all(map(same, found.examples, expected))
        write_problems(tmp_path / "seeds.parquet", [replace(row, question="Which?") for row in ordered])
        changed = replace(builder, problems=ProblemFile(tmp_path / "seeds.parquet"))
        patch.setenv("OMP_NUM_THREADS", "1")
        other = marker_examples.assemble(*given, changed, 3)
        assert not any(map(same, other.examples, expected)), "of other questions"


def _refuse(part: RowRange, writer: ShardWriter) -> None:
    raise UserError(f"row {part.start} cannot be read")


def _die(part: RowRange, writer: ShardWriter) -> None:
    os._exit(9)


@pytest.mark.parametrize(
    ("fill", "message"), [(_refuse, "row 0 cannot be read"), (_die, "died.*finished shards are kept")]
)
def test_an_error_of_a_process_is_that_of_the_assembly(
    fill: Callable[[RowRange, ShardWriter], None], message: str, table: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(assembly, "cores", lambda: 2)
    parts = policy_examples.shards_of(table)
    with pytest.raises(UserError, match=message):
        assemble(tmp_path / "examples", Recipe("test", parts, fill, ""))
