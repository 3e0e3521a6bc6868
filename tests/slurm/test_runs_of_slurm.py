"""The whole pipeline through `snakemake --profile slurm`, with six faults in the middle of its annotation.

Each fault hits a shard that has sampled a part of its requests. In the end there are the tables of a run on one machine
without faults, and no request that was ever written down was sampled again.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import checkout
import cluster
import pyarrow.parquet as pq
import pytest
import yaml
from checkout import Checkout, Watch
from waiting import is_alive, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.heavy]

PAUSE = 0.2  # seconds: some conditions ask SLURM, whose commands take the processor from what they wait for
FAULTS = ("cancelled", "crashed", "cut off", "over time", "preempted", "left alone")
COUNT = 8  # more shards than faults: one may have too little to do to be hit in the middle
SHARDS = [f"{index}-of-{COUNT}" for index in range(COUNT)]
LINES = 3  # a shard is hit when it has written down so many requests
TABLES = (
    "problems/*.parquet", "seeds/*.parquet", "annotation/*/*.parquet", "labels/*.parquet", "labels/*.json",
    "bench/**/candidates.parquet", "bench/**/scores.parquet", "bench/**/metrics.json", "prm/*.heldout.json",
    "policy/model.safetensors", "prm/soft/model.safetensors",
)  # fmt: skip


def small_config() -> dict[str, Any]:
    """configs/ci.yaml with more to search, and an engine that takes little at once: for faults to find it at work.

    The engine is transformers, which starts in half the processor time of vLLM; there are fourteen starts.
    """
    config: dict[str, Any] = yaml.safe_load((checkout.ROOT / "configs/ci.yaml").read_text())
    config["sources"]["pool"]["size"] = 48
    config["annotation"] |= {"max_searches": 12, "max_rollouts": 72}
    config["engine"] |= {"kind": "transformers", "open_problems": 4}
    return config


@dataclass
class Story:
    """A run that had every fault: the shard that each hit, and what came of it."""

    local: Checkout
    run: Checkout
    slurm: Path
    watch: Watch
    shards: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    sampled: dict[str, int] = field(default_factory=dict)  # requests that were written down before the fault

    def hit(self, fault: str, process: subprocess.Popen[bytes]) -> tuple[str, int, str, str]:
        """The next victim, noted under its fault: shard, process, job and node."""
        found: list[tuple[str, int]] = []

        def ready() -> bool:
            assert process.poll() is None, self.run.said()
            found.extend(filter(None, [self.watch.victim()]))
            return bool(found)

        self.until(ready, f"a shard to be {fault}")
        ((shard, victim),) = found
        job, node = checkout.job_of(self.slurm, victim)
        self.shards[fault], self.jobs[fault], self.sampled[fault] = shard, job, self.watch.journalled(shard)
        return shard, victim, job, node

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something to happen, while no job waits for its turn without need."""

        def there() -> bool:
            checkout.hasten(self.slurm)
            return condition()

        wait_for(there, what, pause=PAUSE)

    def gone(self, victim: int) -> None:
        self.until(lambda: not is_alive(victim), f"the end of process {victim}")

    def states(self, fault: str) -> list[str]:
        """What SLURM's accounting says of all that became of the job of this fault, in order."""
        words = ("sacct", "-D", "-X", "-n", "-P", "-o", "State", "-j", self.jobs[fault])
        return [line.split()[0] for line in cluster.command(self.slurm, *words).splitlines()]

    def resources(self, fault: str) -> list[tuple[str, str]]:
        """(time limit, memory) of each attempt at the shard of this fault."""
        comment = f"rule_annotate_wildcards_{self.shards[fault]}"
        words = ("sacct", "-X", "-n", "-P", "-o", "Comment,Timelimit,ReqMem", "--starttime=now-1days")
        rows = [line.split("|") for line in cluster.command(self.slurm, *words).splitlines()]
        return [(limit, memory) for said, limit, memory in rows if said == comment]


@pytest.fixture(scope="module")
def story(slurm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("slurm-runs")
    local = Checkout(folder / "local", small_config())
    undisturbed = local.start("--cores", "1")  # a node's jobs have one core, and rounding depends on their number
    config = small_config() | {"shards": {"annotation": COUNT}}
    run = Checkout(folder / "slurm", config, cluster.environment(slurm))
    watch = Watch(run, SHARDS, LINES, len(FAULTS))
    told = Story(local, run, slurm, watch)
    process = run.start("--profile", "slurm", *checkout.HASTE)
    try:
        process = with_faults(told, process)
        told.until(lambda: process.poll() is not None, "the end of the run")
        assert process.returncode == 0, run.said()
        assert undisturbed.wait() == 0, local.said()
    finally:
        watch.close()
        for one in (process, undisturbed):
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGKILL)
        for one in (local, run):
            one.end()
    yield told


def with_faults(story: Story, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Do to the run what can happen to it; returns the Snakemake that goes on at the end."""
    slurm, run = story.slurm, story.run
    # A time limit is looked at twice a minute: it is let run out while the others have theirs.
    _, late, job, _ = story.hit("over time", process)
    cluster.command(slurm, "scontrol", "update", f"JobId={job}", "EndTime=now")

    _, victim, job, _ = story.hit("cancelled", process)
    cluster.command(slurm, "scancel", job)
    story.gone(victim)
    story.gone(late)

    # It stays down while its jobs run elsewhere.
    _, victim, _, crashed = story.hit("crashed", process)
    cluster.lose(slurm, crashed, crash=True)
    story.gone(victim)

    # An orphan on a node that SLURM has lost sight of goes on; its successor waits until it has ended. What is left of
    # the orphan's job fails at last, and takes nothing away.
    shard, victim, _, node = story.hit("cut off", process)
    shell, *around = checkout.parents(victim, within=cluster.tasks(node))
    for task in (shell, *around):
        os.kill(task, signal.SIGSTOP)
    cluster.lose(slurm, node, crash=False)
    story.until(lambda: "working on it; waiting for its end" in run.log(f"annotate/{shard}"), "a successor that waits")
    assert len(run.shard_processes(shard)) == 2 and is_alive(victim)
    os.kill(victim, signal.SIGCONT)
    story.gone(victim)
    story.until(lambda: story.states("cut off")[-1] == "COMPLETED", "the end of the successor")
    os.kill(shell, signal.SIGKILL)
    for task in around:
        os.kill(task, signal.SIGCONT)
    for task in around:
        story.gone(task)
    assert (run.results / f"annotation/{shard}/status.parquet").exists()
    for lost in (crashed, node):
        cluster.restore(slurm, lost)

    _, victim, _, node = story.hit("preempted", process)
    urgent = ["--partition=urgent", f"--nodelist={node}", "--cpus-per-task=8", "--mem=1000", "--output=/dev/null"]
    cluster.command(slurm, "sbatch", *urgent, "--wrap=true")
    story.gone(victim)

    # The Snakemake of the first attempt is still to make the second.
    story.until(lambda: len(story.resources("over time")) > 1, "another attempt at the shard that was over time")
    _, victim, _, _ = story.hit("left alone", process)
    story.watch.stop_none()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert is_alive(victim) and list((run.folder / ".snakemake/locks").iterdir())
    return run.start("--profile", "slurm", *checkout.HASTE)


def content(results: Path, pattern: str) -> dict[str, Any]:
    """What the files of a pattern say, whatever the number of shards: rows in the order of their first columns."""
    found: dict[str, Any] = {}
    for path in sorted(results.glob(pattern)):
        name = re.sub(r"\d+-of-\d+", "*", str(path.relative_to(results)))
        if path.suffix == ".parquet":
            found.setdefault(name, []).extend(pq.read_table(path).to_pylist())
        else:
            found[name] = json.loads(path.read_text()) if path.suffix == ".json" else path.read_bytes()
    return {
        name: sorted(value, key=lambda row: json.dumps(row, default=repr)) if isinstance(value, list) else value
        for name, value in found.items()
    }


@pytest.mark.parametrize("pattern", TABLES)
def test_a_run_on_slurm_with_six_faults_has_the_tables_of_one_machine_without(story: Story, pattern: str) -> None:
    expected = content(story.local.results, pattern)
    assert expected and content(story.run.results, pattern) == expected


def test_every_fault_was_what_slurm_calls_it(story: Story) -> None:
    assert set(story.shards) == set(FAULTS) and len(set(story.shards.values())) == len(FAULTS)
    assert story.states("cancelled")[0] == "CANCELLED"
    assert story.states("over time")[0] == "TIMEOUT"
    assert story.states("crashed")[0] == story.states("cut off")[0] == "NODE_FAIL"
    assert story.states("preempted")[0] == "PREEMPTED"
    assert story.states("left alone")[0] == "CANCELLED"  # by the next Snakemake
    assert "cancelled" in story.run.said() and "SLURM jobs of a run that was killed" in story.run.said()


def test_no_request_that_was_written_down_was_sampled_again(story: Story) -> None:
    """In flight were at most `engine.open_problems` requests a fault."""
    local = pq.read_table(next((story.local.results / "work/annotation").glob("*.parquet")))["key"].to_pylist()
    written = Counter(key for shard in SHARDS for key in story.watch.keys(shard))
    assert set(written) == set(local)
    assert [key for key, times in written.items() if times > 1] == []
    assert min(story.sampled.values()) >= LINES, "each fault came in the middle"


def test_what_was_sampled_before_each_fault_was_taken_up(story: Story) -> None:
    for fault, shard in story.shards.items():
        replayed = re.search(r"replayed (\d+) requests", story.run.log(f"annotate/{shard}"))
        usage = json.loads((story.run.results / f"annotation/{shard}/usage.json").read_text())
        assert replayed is not None and int(replayed[1]) >= story.sampled[fault]
        assert int(replayed[1]) + usage["requests"] == story.watch.journalled(shard)
    # The successor of one that was cut off found all of it done.
    usage = json.loads((story.run.results / f"annotation/{story.shards['cut off']}/usage.json").read_text())
    assert usage["requests"] == 0


def test_a_cluster_has_more_than_one_gpu_for_a_run(story: Story) -> None:
    assert "Provided remote nodes" in story.run.said() and "Provided resources: gpu" not in story.run.said()


def test_an_attempt_after_a_failure_has_twice_the_time_and_the_memory(story: Story) -> None:
    (_, memory), second = story.resources("over time")[:2]  # the time of the first was cut by the test
    assert memory == "62.50G" and second == ("2-00:00:00", "125G")


def test_snakemake_reports_how_well_its_jobs_used_what_they_asked_for(story: Story) -> None:
    (report,) = (story.run.folder / "logs/slurm").glob("efficiency_report_mmprm_*.csv")
    assert "rule_annotate_wildcards_" in report.read_text()
