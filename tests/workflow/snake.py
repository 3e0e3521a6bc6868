"""A small configuration, and Snakemake run on the real Snakefile in a folder of the test's own."""

from __future__ import annotations

import atexit
import copy
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def small_config() -> dict[str, Any]:
    """configs/ci.yaml with a second variant and a second benchmark, so that there is something not to rerun."""
    config = yaml.safe_load((ROOT / "configs/ci.yaml").read_text())
    config["run"] = "small"
    config["sources"]["ood"] = {"kind": "mini", "split": "test", "size": 4, "families": ["grid"]}
    config["benchmarks"] = {"test": {"source": "test"}, "ood": {"source": "ood", "domain": "out_of_domain"}}
    config["prm"]["variants"] = {"soft": {"label": "soft"}, "slow": {"label": "soft", "learning_rate": 1e-6}}
    config["shards"] = {"annotation": 2}
    return config


def changed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The small configuration with some dotted keys set to other values."""
    config = copy.deepcopy(small_config())
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = config
        for name in sections:
            place = place.setdefault(name, {})
        place[last] = value
    return config


class Workflow:
    """A working directory in which the project's Snakefile is run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        base = folder / "models/mini-base"
        base.mkdir(parents=True)
        (base / "config.json").write_text("{}")

    def command(self, *arguments: str, config: Mapping[str, Any] | None = None) -> list[str]:
        """The command that runs Snakemake with these arguments and this configuration."""
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump(dict(config or small_config())))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
        return [*command, "--directory", str(self.folder), "--configfile", str(file), "--nocolor", *arguments]

    def run(self, *arguments: str, config: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to its end; its output, and its exit status."""
        return self.call(self.command(*arguments, config=config))

    def call(self, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """The same of a command as `command` gives it, and of more environment variables.

        What starts no job is run by a process that has loaded Snakemake already.
        """
        # A PATH without the virtual environment: the workflow itself must find its commands.
        variables = {**os.environ, "PATH": os.defpath, **environment}
        if {"-n", "--touch"} & set(command):
            return self._fork(command, variables)
        return subprocess.run(command, cwd=self.folder, env=variables, text=True, capture_output=True, check=False)

    def _fork(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Have `snake_server` run a command as `command` gives it."""
        server, outputs = _server(), {name: self.folder / f".{name}" for name in ("stdout", "stderr")}
        run = {"arguments": command[3:], "folder": self.folder, "environment": environment, **outputs}
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(run, default=str) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(command, status, *(path.read_text() for path in outputs.values()))

    def finish(self, *targets: str, config: Mapping[str, Any] | None = None) -> Plan:
        """Leave behind what a run of every job would, as far as Snakemake knows; returns the jobs."""
        plan = self.plan(*targets, config=config)
        for path in plan.outputs:
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(path)
        done = self.run("--touch", "--forceall", *targets, config=config)
        assert done.returncode == 0, done.stderr
        return plan

    def processes(self, command: str) -> list[int]:
        """The numbers of the running `mmprm COMMAND` processes of this workflow."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                parts = (process / "cmdline").read_bytes().decode().split("\0")
                folder = (process / "cwd").resolve()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            is_mmprm = command in parts[1:4] and any(part.endswith("/mmprm") for part in parts[:3])
            if is_mmprm and folder == self.folder.resolve():
                found.append(int(process.name))
        return found

    def plan(self, *targets: str, config: Mapping[str, Any] | None = None) -> Plan:
        """What a dry run would do."""
        done = self.run("-n", *targets, config=config)
        assert done.returncode == 0, done.stderr + done.stdout
        return Plan(done.stderr + done.stdout)


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Start the process that runs Snakemake for all tests of this one."""
    script = str(Path(__file__).with_name("snake_server.py"))
    server = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)
    return server


class Plan:
    """The jobs of a run, or of a dry run, from what Snakemake said."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.jobs: list[tuple[str, list[str]]] = []  # rule, outputs
        ended = set(re.findall(r"^Finished jobid: (\d+) ", text, re.M))
        self.finished: list[str] = []  # outputs
        for block in re.split(r"\n\n", text):
            rule = re.search(r"^(?:local)?rule (\w+):", block, re.M)
            output = re.search(r"^    output: (.*)$", block, re.M)
            if rule and output:
                outputs = output[1].split(", ")
                self.jobs.append((rule[1], outputs))
                number = re.search(r"^    jobid: (\d+)$", block, re.M)
                self.finished += outputs if number and number[1] in ended else []

    @property
    def rules(self) -> set[str]:
        return {rule for rule, _ in self.jobs}

    @property
    def outputs(self) -> list[str]:
        return sorted(path for _, paths in self.jobs for path in paths)

    def count(self, rule: str) -> int:
        return sum(name == rule for name, _ in self.jobs)
