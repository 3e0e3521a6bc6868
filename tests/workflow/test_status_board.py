"""The board of a run: what Snakemake's records and the ends of the logs say of its stages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from status_records import failed, finished, record, started

from mmprm.workflow.terminal.board import Board, StageState
from mmprm.workflow.terminal.log_ends import last_lines, last_progress
from mmprm.workflow.terminal.status_lines import in_words

NOW = 1_800_000_000.0

# As a run of configs/ci.yaml wrote them, and one of the annotation of real problems.
TRAINING = "mmprm: policy: 41 of 80 updates, loss 0.4102, 0.12 updates/s, 5 min left"
SEARCH = (
    "mmprm: annotation {}-of-4: {} of 100 problems, {} rollouts/s, 2100 tokens/s, mean batch 64, "
    "71% of prompt tokens cached, at most {} left"
)


class Run:
    """A board whose clock stands still, and its logs."""

    def __init__(self, folder: Path, **totals: int) -> None:
        self.folder, self.now = folder, NOW
        self.board = Board(totals, lambda: self.now)

    def start(self, number: int, rule: str, **wildcards: str) -> Path:
        log = self.folder / f"{number}.log"
        self.board.take(started(number, rule, log, **wildcards))
        return log

    def write(self, number: int, *lines: str) -> None:
        log = self.folder / f"{number}.log"
        log.write_text("\n".join(lines) + "\n")
        os.utime(log, (self.now, self.now))
        self.board.read_logs()

    def words(self, rule: str) -> str:
        return ", ".join(in_words(self.board.stages[rule], self.now))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_a_training_shows_its_updates_and_its_own_estimate(folder: Path) -> None:
    run = Run(folder, train_policy=1)
    run.start(1, "train_policy")
    run.now += 340
    run.write(1, "mmprm: policy: 40 of 80 updates, loss 0.4, 0.12 updates/s, 6 min left", TRAINING, "a warning")
    assert run.words("train_policy") == "41 of 80 updates, loss 0.4102, 0.12 updates/s, running for 6 min, 5 min left"


def test_the_shards_of_a_stage_are_one_sum(folder: Path) -> None:
    run = Run(folder, annotate=4)
    for shard in range(3):
        run.start(shard, "annotate", shard=f"{shard}-of-4")
    run.now += 600
    run.write(0, SEARCH.format(0, 97, 50, "9 s"))
    run.board.take(finished(0))
    run.write(1, SEARCH.format(1, 60, 70.5, "3 min"))
    run.write(2, SEARCH.format(2, 40, 50.5, "5 min"))
    stage = run.board.stages["annotate"]
    # The shard that ended counts whole; of the one that has not begun, nobody knows how many problems it has.
    assert stage.count == "200 of 300 problems"
    assert stage.rates == "121 rollouts/s, 4200 tokens/s"
    assert stage.share == pytest.approx((1 + 0.6 + 0.4 + 0) / 4)
    assert stage.left(run.now) == "about 10 min left"  # half in ten minutes


def test_jobs_that_all_run_have_as_long_to_go_as_the_slowest(folder: Path) -> None:
    run = Run(folder, annotate=2)
    for shard, left in ((0, "3 min"), (1, "2.0 h")):
        run.start(shard, "annotate", shard=str(shard))
        run.write(shard, SEARCH.format(shard, 50, 10, left))
    assert run.board.stages["annotate"].left(run.now) == "2.0 h left"


def test_what_an_earlier_attempt_wrote_says_nothing_of_a_job_in_the_queue(folder: Path) -> None:
    run = Run(folder, annotate=2)
    run.now -= 3600
    run.write(1, SEARCH.format(1, 99, 50, "1 s"))
    run.now += 3600
    run.start(1, "annotate", shard="1-of-2")
    run.board.read_logs()
    assert run.words("annotate") == "0 of 2 jobs done, 1 waiting, running for 0 s"


def test_a_stage_ends_with_its_last_job(folder: Path) -> None:
    run = Run(folder, intake=2)
    run.start(1, "intake", source="pool")
    run.start(2, "intake", source="test")
    assert run.board.take(finished(1)) is None
    ended = run.board.take(finished(2))
    assert isinstance(ended, StageState) and ended.name == "intake" and not run.board.active
    assert run.board.jobs == (2, 2)


def test_a_job_that_was_started_again_has_not_failed(folder: Path) -> None:
    run = Run(folder, annotate=1)
    log = run.start(1, "annotate", shard="0-of-1")
    cluster = folder / "slurm/7.log"
    run.board.take(failed(1, "annotate", log, cluster))
    assert [(job.name, job.logs) for job in run.board.failures] == [("annotate (shard 0-of-1)", (log, cluster))]
    run.start(1, "annotate", shard="0-of-1")
    assert not run.board.failures and len(run.board.active) == 1


def test_an_interrupt_is_no_failure_of_a_job(folder: Path) -> None:
    run = Run(folder, annotate=1)
    run.board.take(record(None, "Terminating processes on user request, this might take some time."))
    assert run.board.interrupted


def test_a_log_cannot_steer_the_terminal(folder: Path) -> None:
    log = folder / "a.log"
    log.write_text("\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\n 10%\r 90%\r100% loaded\n\n\x00\x9b2Jend\n")
    assert last_lines(log, 9) == ["0;titlered", "100% loaded", "2Jend"]


def test_the_end_of_a_large_log_is_enough(folder: Path) -> None:
    log = folder / "a.log"
    log.write_text("é" * 50_000 + "\n" + "x\n" * 500 + TRAINING + "\n" + "y" * 5000 + "\n")
    assert [len(line) for line in last_lines(log, 2)] == [len(TRAINING), 1000]
    reading = last_progress(log)
    assert reading is not None and (reading.done, reading.total, reading.seconds_left) == (41, 80, 300)


def test_a_log_that_is_not_there_has_no_lines(folder: Path) -> None:
    assert last_lines(folder / "s3:/none.log (send to storage)", 5) == []
