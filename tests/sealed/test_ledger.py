"""The ledger of looks: a seed is drawn once, a look is entered once, whatever is killed or runs at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from evidence_run import ROOT, evidence_run

from mmprm.config import load
from mmprm.runtime.errors import UserError
from mmprm.sealed import ledger
from mmprm.sealed.ledger import Look
from mmprm.sealed.recipe import recipe_digest, settings_digest

LOOK = Look(
    test="sealed",
    number=0,
    seed=0,
    problems="p",
    settings="s",
    models={"policy": "1", "soft": "2"},
    registration="r",
    registered="c of 2026-11-29",
    commit="c-dirty",
    run="small",
    time="2026-11-29T08:00:00+00:00",
    machine={"system": "Linux", "kind": "x86_64", "cores": 2, "gpus": []},
    version="0",
)


def test_the_first_look_draws_a_seed_and_later_ones_have_it(tmp_path: Path) -> None:
    path = tmp_path / "evidence/ledger.jsonl"
    first = ledger.enter(path, LOOK)
    other = ledger.enter(path, replace(LOOK, settings="t", time="2026-12-01T00:00:00+00:00"))
    assert (first.number, other.number) == (1, 2) and first.seed == other.seed < 2**53
    assert ledger.read(path) == [first, other]
    assert [json.loads(line) for line in path.read_text().splitlines()] == [asdict(first), asdict(other)]


@pytest.mark.parametrize("key", ["settings", "models", "registration"])
def test_other_settings_models_or_claims_are_another_look_and_a_repeated_run_is_the_same(
    tmp_path: Path, key: str
) -> None:
    path = tmp_path / "ledger.jsonl"
    first = ledger.enter(path, LOOK)
    again = replace(LOOK, time="2027-01-01T00:00:00+00:00", commit="d", run="again", machine={}, version="1")
    assert ledger.enter(path, again) == first and len(ledger.read(path)) == 1
    changes: dict[str, Any] = {key: {"policy": "3"} if key == "models" else "another"}
    assert ledger.enter(path, replace(LOOK, **changes)).number == 2


@pytest.mark.parametrize("key", ["test", "problems"])
def test_another_test_and_another_recipe_of_problems_have_seeds_of_their_own(tmp_path: Path, key: str) -> None:
    path = tmp_path / "ledger.jsonl"
    changes: dict[str, Any] = {key: "another"}
    first, other = ledger.enter(path, LOOK), ledger.enter(path, replace(LOOK, **changes))
    assert other.number == 1 and other.seed != first.seed
    assert ledger.of_test(ledger.read(path), "sealed", "p") == [first]


def test_a_torn_line_is_no_look_and_the_next_one_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = ledger.enter(path, LOOK)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"test": "sealed", "numb')
    assert ledger.read(path) == [first]
    second = ledger.enter(path, replace(LOOK, settings="t"))
    assert ledger.read(path) == [first, second] and path.read_bytes().startswith(whole)


def test_a_line_that_is_no_look_is_named_and_nothing_is_written_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger.enter(path, LOOK)
    path.write_text(path.read_text() + '{"test": "sealed"}\n')
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"ledger\.jsonl, line 2: not a look"):
        ledger.enter(path, replace(LOOK, settings="t"))
    assert path.read_bytes() == before


def _killed(path: Path, at: str) -> None:
    """Enter the look and die by kill -9: as the line is to be written, or once the disk has it."""
    fsync, append = os.fsync, ledger._append

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def torn(of: Path, line: str) -> None:
        of.write_text(line[:40])
        die()

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        die()

    if at == "written":
        os.fsync = synced
    ledger._append = {"drawn": die, "torn": torn}.get(at, append)
    ledger.enter(path, LOOK)


@pytest.mark.parametrize(("at", "looks"), [("drawn", 0), ("torn", 0), ("written", 1)])
def test_a_kill_between_drawing_and_writing_loses_no_look_and_draws_no_second_seed(
    tmp_path: Path, at: str, looks: int
) -> None:
    path = tmp_path / "ledger.jsonl"
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(path, at))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    before = ledger.read(path)
    assert len(before) == looks, "a seed that nobody has read is none"
    look = ledger.enter(path, LOOK)
    assert ledger.read(path) == [look] and (not before or before == [look])


def _enter(path: Path, settings: str, start: Any) -> None:
    start.wait()
    ledger.enter(path, replace(LOOK, settings=settings))


def test_runs_at_once_draw_one_seed_and_lose_no_line(tmp_path: Path) -> None:
    path, fork = tmp_path / "ledger.jsonl", multiprocessing.get_context("fork")
    start = fork.Event()
    processes = [fork.Process(target=_enter, args=(path, str(number % 4), start)) for number in range(8)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    looks = ledger.read(path)
    assert sorted(look.settings for look in looks) == ["0", "1", "2", "3"]
    assert [look.number for look in looks] == [1, 2, 3, 4] and len({look.seed for look in looks}) == 1


def test_the_published_look_is_of_the_overlays_that_are_kept() -> None:
    config = load(json.loads(evidence_run("sealed").model_dump_json()))  # as jobs read it: results/<run>/config.json
    looks = ledger.of_test(ledger.read(ROOT / "evidence/ledger.jsonl"), "mini", recipe_digest(config, "mini"))
    assert [look.settings for look in looks] == [settings_digest(config, "mini")]
