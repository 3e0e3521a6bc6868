"""A folder that looks like a clone of the repository, in which `snakemake --profile slurm` runs as the README says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cluster
import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "rules", "slurm", "profiles", "models", "envs", "configs", "workflow_config.yaml")
# Not to wait for the status of jobs that take seconds as long as for that of jobs that take hours.
HASTE = (
    "--slurm-init-seconds-before-status-checks",
    "3",
    "--seconds-between-status-checks",
    "3",
    "--latency-wait",
    "15",
)


@dataclass
class Checkout:
    """Runs of one configuration. `variables` are those of the environment that differ from this process's."""

    folder: Path
    config: dict[str, Any]
    variables: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for part in PARTS:
            (self.folder / part).symlink_to(ROOT / part)
        (self.folder / "run.yaml").write_text(yaml.safe_dump(self.config))

    @property
    def results(self) -> Path:
        return self.folder / "results" / str(self.config["run"])

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Snakemake, in a process group of its own; what it says is in `output-N.txt`, N counting the runs."""
        self.runs += 1
        command = [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", "--nocolor", *arguments]
        paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with (self.folder / f"output-{self.runs}.txt").open("wb") as out:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **paths, **self.variables},
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def said(self) -> str:
        """What the last run has said."""
        return (self.folder / f"output-{self.runs}.txt").read_text()

    def log(self, name: str) -> str:
        """What a job has said; nothing where it has not begun, for Snakemake deletes the log of the attempt before."""
        with suppress(FileNotFoundError):
            return (self.results / f"logs/{name}.log").read_text()
        return ""

    def end(self) -> None:
        """Kill what is left of its jobs: a test that has failed leaves processes behind, some of them stopped."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "cwd").resolve().is_relative_to(self.folder.resolve()):
                    os.kill(int(process.name), signal.SIGKILL)

    def shard_processes(self, shard: str) -> list[int]:
        """The processes of `mmprm annotate` that are at this shard, the longest running first."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = _words(process.name)
                if b"annotate" not in words or b"--shard" not in words:
                    continue
                here = (process / "cwd").resolve() == self.folder.resolve()
                # A grader's worker is a fork of the process that is meant.
                whole = _words(_stat(process.name)[1]) != words
                if here and whole and words[words.index(b"--shard") + 1] == shard.encode():
                    found.append((int(_stat(process.name)[19]), int(process.name)))
        return [number for _, number in sorted(found)]


def _words(process: str) -> list[bytes]:
    return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")


def _stat(process: str) -> list[str]:
    """What follows the name: state, parent, ..., and as number 19 the start."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


class Watch:
    """Watches annotation: stops shards in the middle, and keeps every line that was ever journalled.

    A shard is stopped (SIGSTOP) when it has sampled `lines` requests; `victim` gives it to the test. Only the first
    `most` are: others need room on the nodes.
    """

    def __init__(self, checkout: Checkout, shards: list[str], lines: int, most: int) -> None:
        self.checkout, self.lines, self.most = checkout, lines, most
        self.untouched, self.stopped = list(shards), list[tuple[str, int]]()
        self.kept = checkout.folder / "journals"
        self.kept.mkdir()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop_none(self) -> None:
        """Stop no other shard, and let go on those that stand still."""
        self.most = 0
        for _, process in self.stopped:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def close(self) -> None:
        """Watch no longer."""
        self._end.set()
        self._thread.join()
        self.stop_none()

    def _watch(self) -> None:
        work = self.checkout.results / "work/annotation"
        while not self._end.wait(0.03):
            for path in work.glob("*.jsonl"):
                with suppress(FileExistsError, FileNotFoundError):  # kept already; compacted this moment
                    (self.kept / path.name).hardlink_to(path)
            for shard in [shard for shard in self.untouched if self.journalled(shard) >= self.lines]:
                for process in self.checkout.shard_processes(shard)[:1] if self.most else []:
                    os.kill(process, signal.SIGSTOP)
                    self.most -= 1
                    self.untouched.remove(shard)
                    self.stopped.append((shard, process))

    def victim(self) -> tuple[str, int] | None:
        """The next shard that stands still in the middle of its work, and its process; None where there is none yet."""
        assert self._thread.is_alive(), "the watch has failed; see what it wrote to stderr"
        return self.stopped.pop(0) if self.stopped else None

    def journalled(self, shard: str) -> int:
        """How many requests of a shard were ever written down whole."""
        return len(self.keys(shard))

    def keys(self, shard: str) -> list[str]:
        """The keys of all requests of a shard that were ever written down, by whatever process."""
        lines = [line for path in self.kept.glob(f"*-{shard}-*.jsonl") for line in path.read_bytes().splitlines(True)]
        return [json.loads(line)["key"] for line in lines if line.endswith(b"}\n")]


def job_of(slurm: Path, process: int) -> tuple[str, str]:
    """The SLURM job of a process, and its node."""
    pairs = [pair.split(b"=", 1) for pair in Path(f"/proc/{process}/environ").read_bytes().split(b"\0") if b"=" in pair]
    variables = {os.fsdecode(name): os.fsdecode(value) for name, value in pairs}
    return variables["SLURM_JOB_ID"], variables["SLURMD_NODENAME"]


def parents(process: int, within: list[int]) -> list[int]:
    """The processes above one, as far as they are among these: the shell of a job, its Snakemakes, its srun."""
    found: list[int] = []
    while (process := int(_stat(str(process))[1])) in within:
        found.append(process)
    return found


def hasten(slurm: Path) -> None:
    """Let jobs that SLURM has put back into the queue start at once: by itself it lets them wait for two minutes."""
    rows = cluster.command(slurm, "squeue", "--noheader", "--states=PD", "--format=%i %r").splitlines()
    for job in (row.split()[0] for row in rows if row.endswith(" BeginTime")):
        with suppress(subprocess.CalledProcessError):  # started, or cancelled, this moment
            cluster.command(slurm, "scontrol", "update", f"JobId={job}", "StartTime=now")
