"""Intake of large sources: killed at any moment, in any number of processes, in bounded memory, it gives one result."""

from __future__ import annotations

import functools
import io
import json
import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from table_pictures import picture
from waiting import python_that_kills_itself, wait_for

from mmprm import config
from mmprm.data import schemas, tables
from mmprm.problems import parts, rows
from mmprm.problems.groups import Groups
from mmprm.problems.intake import make_source
from mmprm.problems.parts import IntakePart
from mmprm.runtime.errors import UserError

NAMES = ("real.parquet", "real.refused.parquet", "real.intake.json")


def settings_of(source: dict[str, Any], **bounds: Any) -> config.Config:
    return config.load(
        {
            "run": "test",
            "sources": {"real": source, "drawn": {"kind": "mini", "split": "sft", "size": 1, "families": ["bars"]}},
            "intake": {"max_refused_share": 1} | bounds,
            "policy": {"base": "none", "sources": ["drawn"]},
            "seeds": {"sources": ["drawn"]},
            "benchmarks": {"real": {"source": "real"}},
        }
    )


def take(folder: Path, settings: config.Config, work: Path | None = None, workers: int = 1) -> dict[str, bytes]:
    """The bytes of the three files that intake writes."""
    make_source(settings, "real", folder / "real.parquet", folder / "real.refused.parquet", work, workers)
    return {name: (folder / name).read_bytes() for name in NAMES}


def pool(folder: Path, size: int, bad: Callable[[int], bool] = lambda number: number % 50 == 0) -> dict[str, Any]:
    """A source of JSON Lines whose ids are out of order and not all different, and whose pictures are shared."""
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.png").write_bytes(picture(number))
    rng = random.Random(0)
    lines = []
    for number in range(size):
        row = {"id": f"p{rng.randrange(20 * size)}", "question": f"What is {number}?", "answer": str(number)}
        row |= {"image": f"{rng.randrange(40)}.png"} | ({"answer": " "} if bad(number) else {})
        lines.append("{torn" if number % 97 == 1 and bad(0) else json.dumps(row))
    (folder / "pool.jsonl").write_text("\n".join(lines) + "\n")
    return {"kind": "table", "path": str(folder / "pool.jsonl")}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many rows a part has, where they are few."""
    monkeypatch.setattr(parts, "ROWS", 60)
    return 60


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Six parts and a bit."""
    return pool(tmp_path_factory.mktemp("source") / "pool", 6 * parts.ROWS + 100)


@pytest.fixture(scope="module")
def undisturbed(source: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return take(tmp_path_factory.mktemp("undisturbed"), settings_of(source))


@pytest.mark.heavy
def test_after_kills_in_reading_and_in_writing_the_tables_are_those_of_an_undisturbed_run(
    source: dict[str, Any], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    (tmp_path / "config.json").write_text(settings_of(source).model_dump_json())
    options = ["intake", "--source", "real"]
    options += ["--config", str(tmp_path / "config.json"), "--work", str(work)]
    options += ["--out", str(tmp_path / "real.parquet"), "--refused", str(tmp_path / "real.refused.parquet")]

    def finished() -> dict[Path, int]:
        """The parts that are whole, and when they were written."""
        return {path: path.stat().st_mtime_ns for path in work.glob("checked-*/*.parquet")}

    whole = f"len(list(Path({str(work)!r}).glob('checked-*/*.parquet')))"
    in_writing = f"any(Path({str(tmp_path)!r}).glob('.real.parquet.*.tmp'))"
    moments = [(1, f"{whole} >= 1"), (2, f"{whole} >= 3"), (1, f"{whole} >= 5"), (1, in_writing)]
    before: dict[Path, int] = {}
    for threads, moment in moments:
        command = [*python_that_kills_itself(moment, "from mmprm.cli import app; app()"), *options]
        run = subprocess.Popen([*command, "--threads", str(threads)], stderr=subprocess.DEVNULL, start_new_session=True)
        assert run.wait() == -signal.SIGKILL, moment
        wait_for(functools.partial(lambda group: not processes_of(group), run.pid), "the end of its processes")
        assert before.items() <= finished().items(), "what was whole was not made again"
        before = finished()
        assert not (tmp_path / "real.parquet").exists()
    command = [str(Path(sys.executable).with_name("mmprm")), *options]
    last = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    assert f"going on after row {6 * parts.ROWS + 100}" in last.stderr
    assert {name: (tmp_path / name).read_bytes() for name in NAMES} == undisturbed
    assert not list(work.iterdir())


def processes_of(session: int) -> list[Path]:
    """The processes of a session that run still."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_session) == session and state != "Z":
            found.append(process)
    return found


def test_the_tables_do_not_depend_on_the_number_of_processes(
    source: dict[str, Any], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    assert take(tmp_path, settings_of(source), tmp_path / "work", workers=3) == undisturbed
    problems = tables.read_rows(tmp_path / "real.parquet", schemas.PROBLEMS)
    ids = [row["problem_id"] for row in problems]
    assert ids == sorted(set(ids)) and len(ids) > 5 * parts.ROWS
    refused = tables.read_rows(tmp_path / "real.refused.parquet", schemas.REFUSED)
    assert [row["row"] for row in refused] == sorted(row["row"] for row in refused)
    counts = json.loads((tmp_path / "real.intake.json").read_text())
    reasons: dict[str, int] = defaultdict(int)
    for row in refused:
        reasons[row["reason"]] += 1
    assert set(reasons) == {"duplicate_id", "empty_answer", "bad_row"} and counts["refused"] == dict(reasons)
    assert counts["rows"] == len(problems) + len(refused) == 6 * parts.ROWS + 100
    images = [image for row in problems for image in row["images"]]
    assert (counts["problems"], counts["with_images"], counts["images"]) == (len(problems), len(problems), len(images))
    assert counts["image_bytes"] == sum(map(len, images))
    assert (counts["licence"], counts["weight"], counts["kind"]) == ("unknown", 1.0, "table")


def test_of_two_rows_with_one_id_the_first_that_can_be_taken_is(tmp_path: Path) -> None:
    lines = [
        {"id": name, "question": f"{n}?", "answer": a} for n, (name, a) in enumerate(["b ", "a1", "b2", "b3", "a4"])
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = {"kind": "table", "path": str(tmp_path / "t.jsonl"), "columns": {"image": ""}}
    take(tmp_path, settings_of(source))
    taken = tables.read_rows(tmp_path / "real.parquet", schemas.PROBLEMS)
    assert [(row["problem_id"], row["answer"]) for row in taken] == [("real/a", "1"), ("real/b", "2")]
    refused = tables.read_rows(tmp_path / "real.refused.parquet", schemas.REFUSED)
    details = [(row["row"], row["reason"], row["detail"]) for row in refused]
    assert details == [
        (0, "empty_answer", "t.jsonl, line 1: answer is blank"),
        (3, "duplicate_id", "t.jsonl, line 4: row 2 (from 0) has the same id, and was taken"),
        (4, "duplicate_id", "t.jsonl, line 5: row 1 (from 0) has the same id, and was taken"),
    ]


def broken_off(monkeypatch: pytest.MonkeyPatch, after: int, run: Callable[[], Any]) -> None:
    """Stops a run when so many parts are whole."""
    real, made = tables.write, []

    def write(path: Path, *arguments: Any, **more: Any) -> None:
        real(path, *arguments, **more)
        made.append(path)
        if len(made) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(tables, "write", write)
        run()


@pytest.mark.parametrize("change", ["damaged", "file", "settings"])
def test_parts_that_are_damaged_or_of_another_file_or_other_settings_are_not_gone_on_from(
    change: str, small_parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = pool(tmp_path / "pool", 3 * small_parts)
    work = tmp_path / "work"
    settings = settings_of(source)
    broken_off(monkeypatch, 2, lambda: take(tmp_path, settings, work))
    (checked,) = work.glob("checked-*")
    if change == "damaged":
        with sorted(checked.glob("*.rows"))[1].open("r+b") as file:
            file.truncate(1000)
    elif change == "file":
        path = Path(source["path"])
        path.write_text(path.read_text().replace("What is", "Which is"))
    else:
        settings = settings_of(source, max_image_pixels=10_000)
    capsys.readouterr()
    found = take(tmp_path, settings, work)
    said = f"going on after row {small_parts}," in capsys.readouterr().err
    assert said == (change == "damaged")
    assert not list(work.iterdir())
    (tmp_path / "fresh").mkdir()
    assert found == take(tmp_path / "fresh", settings)


def test_a_licence_or_a_weight_is_no_reason_to_check_the_rows_again(
    small_parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = pool(tmp_path / "pool", 2 * small_parts)
    broken_off(monkeypatch, 1, lambda: take(tmp_path, settings_of(source), tmp_path / "work"))
    take(tmp_path, settings_of(source | {"licence": "MIT", "weight": 2.5}), tmp_path / "work")
    assert f"going on after row {small_parts}," in capsys.readouterr().err
    counts = json.loads((tmp_path / "real.intake.json").read_text())
    assert (counts["licence"], counts["weight"]) == ("MIT", 2.5)


def test_a_source_that_cannot_keep_the_bound_is_not_read_to_its_end_and_goes_on_where_the_bound_is_raised(
    small_parts: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = 4 * small_parts
    source = pool(tmp_path / "pool", size, bad=lambda number: 0 < number < small_parts)  # all of the first part
    stopped = tmp_path / "real.refused.stopped.parquet"
    with pytest.raises(UserError, match=rf"{small_parts - 1} of {small_parts} rows.*judge_after \(50\)"):
        take(tmp_path, settings_of(source, max_refused_share=0.3, judge_after=50), tmp_path / "work")
    assert len(tables.read_rows(stopped, schemas.REFUSED)) == small_parts - 1
    parts = set(tmp_path.glob("work/*/*"))
    with pytest.raises(UserError, match=r"judge_after \(50\)"):
        take(tmp_path, settings_of(source, max_refused_share=0.3, judge_after=50), tmp_path / "work")
    assert set(tmp_path.glob("work/*/*")) == parts and len(parts) == 2, "nothing more was read"
    # How many rows JSON Lines have is not known, but a limit bounds it: with 0.2 the bound is past hope at once.
    limited = settings_of(source | {"limit": size}, max_refused_share=0.2, judge_after=None)
    with pytest.raises(UserError, match=rf"of {small_parts} rows.*at most {size:,} rows"):
        take(tmp_path, limited)
    with pytest.raises(UserError, match=rf"of {size} rows"):  # nothing is known, so all is read
        take(tmp_path, settings_of(source, max_refused_share=0.2, judge_after=None))
    capsys.readouterr()
    take(tmp_path, settings_of(source, max_refused_share=0.3), tmp_path / "work")
    assert f"going on after row {small_parts}," in capsys.readouterr().err and not stopped.exists()


def test_a_parquet_source_tells_its_rows_beforehand(small_parts: int, tmp_path: Path) -> None:
    size = 3 * small_parts
    answers = [" " if number < small_parts else "1" for number in range(size)]
    columns = {"id": list(map(str, range(size))), "question": ["q"] * size, "answer": answers}
    pq.write_table(pa.table(columns), tmp_path / "pool.parquet")
    source = {"kind": "table", "path": str(tmp_path / "pool.parquet"), "columns": {"image": ""}}
    assert rows.count([tmp_path / "pool.parquet"] * 2) == 2 * size
    with pytest.raises(UserError, match=rf"{small_parts} of {small_parts} rows.*at most {size:,} rows"):
        take(tmp_path, settings_of(source, max_refused_share=0.2))


@pytest.mark.heavy
def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    """400 MB of pictures that are small only in the file (flat bitmaps), in one row group."""
    size = 5000
    image = Image.new("RGB", (160, 160), "white")
    out = io.BytesIO()
    image.save(out, "BMP")
    bitmap = out.getvalue()
    columns = {name: [str(number) for number in range(size)] for name in ("id", "question", "answer")}
    columns["image"] = [bitmap[:-4] + number.to_bytes(4, "big") for number in range(size)]
    table = pa.table(columns)
    small = {"use_dictionary": False, "write_batch_size": 16}  # pages, of which one is read at a time
    pq.write_table(table, tmp_path / "pool.parquet", compression="zstd", row_group_size=size, **small)
    del columns, table
    settings = settings_of({"kind": "table", "path": str(tmp_path / "pool.parquet")})
    (tmp_path / "config.json").write_text(settings.model_dump_json())
    # Of the process itself: getrusage would count what this one had when it started it.
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True
    )
    assert json.loads((tmp_path / "real.intake.json").read_text())["image_bytes"] == size * len(bitmap)
    assert int(done.stdout) * 1024 < size * len(bitmap)


MEASURED = """
import re, sys
from pathlib import Path
from mmprm import config
from mmprm.problems.intake import make_source
folder = Path(sys.argv[1])
make_source(config.read(folder / "config.json"), "real", folder / "real.parquet", folder / "real.refused.parquet")
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def parted(sizes: list[int], done: set[int]) -> Iterator[tuple[int, int]]:
    """(first, rows) of the parts that `cut_parts` cuts from rows of these sizes in bytes, for those done to be left."""
    cut = list(parts.cut_parts(iter([{"image": bytes(size)} for size in sizes]), 0, {}))
    whole = {first: len(stretch) for first, stretch in cut}
    left = {first: n for first, n in whole.items() if first in done}
    again = parts.cut_parts(iter([{"image": bytes(size)} for size in sizes]), 0, left)
    yield from sorted([*left.items(), *((first, len(stretch)) for first, stretch in again)])


@given(
    st.lists(st.integers(0, 50), max_size=60),
    st.sets(st.integers(0, 60)),
    st.integers(1, 7),
    st.integers(1, 120),
)
def test_the_parts_are_the_same_whichever_were_done(sizes: list[int], done: set[int], n: int, n_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "ROWS", n)
        patched.setattr(parts, "BYTES", n_bytes)
        whole = list(parted(sizes, set()))
        assert list(parted(sizes, done)) == whole
    ends = [0]
    for first, count in whole:
        assert first == ends[-1] and 1 <= count <= n
        assert sum(sizes[first : first + count - 1]) < n_bytes
        ends.append(first + count)
    assert ends[-1] == len(sizes)


@given(
    st.lists(st.tuples(st.sampled_from(["", "", "x", "y", "z"]), st.lists(st.integers(0, 12), max_size=3)), max_size=25)
)
def test_groups_are_those_of_whoever_shares_a_picture_or_a_group(members: list[tuple[str, list[int]]]) -> None:
    ids = [f"p{number:02d}" for number in range(len(members))]
    pictures = [[f"picture {key:08d}".encode() for key in keys] for _, keys in members]
    groups = Groups(
        pa.chunked_array([ids], pa.string()),
        pa.chunked_array([[own for own, _ in members]], pa.string()),
        pa.chunked_array([pictures], pa.list_(pa.binary(16))),
    )
    # By definition: the closure of sharing.
    together = [{number} for number in range(len(members))]
    for one in range(len(members)):
        for other in range(one):
            shares = {*members[one][1]} & {*members[other][1]} or members[one][0] == members[other][0] != ""
            if shares and together[one] is not together[other]:
                together[one] |= together[other]
                for member in together[one]:
                    together[member] = together[one]
    for number in range(len(members)):
        names = [members[member][0] for member in sorted(together[number]) if members[member][0]]
        alone = "" if len(together[number]) == 1 else ids[min(together[number])]
        assert groups[number] == (names[0] if names else alone)


def test_a_tally_looks_at_parts_in_the_order_of_their_rows() -> None:
    late = parts.IntakeProgress([IntakePart(20, 10, {"bad_row": 9})], 0.5, 10, None)
    assert late.hopeless is None and late.rows == 0
    late.add(IntakePart(0, 10, {}))
    assert late.rows == 10
    late.add(IntakePart(10, 10, {"bad_row": 2}))
    assert (late.rows, late.refused, late.hopeless) == (30, 11, None)
    late.add(IntakePart(30, 10, {"bad_row": 10}))
    assert late.hopeless is not None and [part.first for part in late.parts] == [0, 10, 20, 30]


def test_a_process_that_dies_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UserError, match="fewer threads or more memory"):
        list(parts.check_parts(iter([(0, [1]), (1, [1])]), _die, 2))


def _die(first: int, found: Any) -> IntakePart:
    os._exit(1)
