"""kill -9 of whole runs at random moments: are their tables those of an undisturbed run? Out: one JSON line.

    python -m perf.kills --folder FOLDER --runs 10 --kills 3

A run is `snakemake` with configs/ci.yaml in a folder of its own. Its process group is killed at a random moment, it is
started again and killed again, so many times, and then it is let run to its end. A moment is drawn from the first
2 / (kills + 1) of the undisturbed run's time, so that the kills spread over all of it. Compared are the SHA-256 of all
tables, and of the measures in JSON. FOLDER keeps the undisturbed run, a line for each finished run, and the folders of
those that differ: started again with it, the script continues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmprm.runtime.errors import UserError
from perf.common import finish, machine, say, user_errors

ROOT = Path(__file__).parents[1]
# What holds no times: usage.json, timings and the report do.
MEASURES = ("metrics.json", "summary.json", "statistics.json", "quality.json", "*.heldout.json")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the runs; may have been begun before")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--kills", type=int, default=3, help="of each run; fewer where it ends before")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/ci.yaml")
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    with user_errors("kills"):
        plan = Plan(arguments.runs, arguments.kills, arguments.seed, arguments.config, arguments.cores)
        finish(measure(arguments.folder.resolve(), plan))


@dataclass(frozen=True)
class Plan:
    """What is run, and how often it is killed; `seed` is that of the moments."""

    runs: int
    kills: int
    seed: int
    config: Path
    cores: int


def measure(folder: Path, plan: Plan) -> dict[str, Any]:
    """Kill and finish so many runs in all; returns what the JSON line says."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = undisturbed(folder, plan)
    noted = folder / "runs.jsonl"
    lines = noted.read_text(encoding="utf-8").splitlines() if noted.is_file() else []
    done = {row["run"]: row for row in map(json.loads, lines)}
    for number in range(plan.runs):
        if number not in done:
            done[number] = one_run(folder, number, plan, expected)
            with noted.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[number]) + "\n")
            say(f"run {number}: {json.dumps(done[number])}")
    rows = [done[number] for number in range(plan.runs)]
    kills = [kill for row in rows for kill in row["kills"]]
    return {
        "what": "kill -9 of whole runs",
        "machine": machine(),
        "config": plan.config.name,
        "runs": plan.runs,
        "kills": len(kills),
        "same": sum(not row["different"] for row in rows),
        "tables": len(expected["files"]),
        "undisturbed_seconds": expected["seconds"],
        "killed_in": dict(Counter(rule for kill in kills for rule in kill["in"] or ["between jobs"])),
        "different": {row["run"]: row["different"] for row in rows if row["different"]},
    }


def undisturbed(folder: Path, plan: Plan) -> dict[str, Any]:
    """Run once without a kill, or read what an earlier call has noted: {seconds, files}."""
    noted = folder / "undisturbed.json"
    if not noted.is_file():
        place = fresh(folder / "undisturbed")
        started = time.monotonic()
        complete(place, plan)
        values: dict[str, Any] = {"seconds": round(time.monotonic() - started, 1), "files": digests(place)}
        noted.write_text(json.dumps(values), encoding="utf-8")
        say(f"undisturbed: {values['seconds']} s, {len(values['files'])} tables")
    read: dict[str, Any] = json.loads(noted.read_text(encoding="utf-8"))
    return read


def one_run(folder: Path, number: int, plan: Plan, expected: dict[str, Any]) -> dict[str, Any]:
    """Kill a run again and again, and finish it; {run, kills: [{after, in}], different}."""
    place, moments = fresh(folder / f"run-{number}"), random.Random(f"{plan.seed}/{number}")
    kills: list[dict[str, Any]] = []
    for _ in range(plan.kills):
        moment = moments.uniform(0.0, expected["seconds"] * 2 / (plan.kills + 1))
        log = place / f"killed-{len(kills)}.txt"
        if ended(place, plan, log, moment):
            break
        kills.append({"after": round(moment, 1), "in": unfinished(log.read_text(encoding="utf-8"))})
    complete(place, plan)
    made = digests(place)
    names = sorted(made.keys() | expected["files"].keys())
    different = [name for name in names if made.get(name) != expected["files"].get(name)]
    if not different:
        shutil.rmtree(place)
    return {"run": number, "kills": kills, "different": different}


def ended(place: Path, plan: Plan, log: Path, seconds: float) -> bool:
    """Run for so long and kill the process group; True where the run had ended before."""
    with log.open("w", encoding="utf-8") as file:
        run = subprocess.Popen(command(place, plan), cwd=place, start_new_session=True, stdout=file, stderr=file)
        try:
            status = run.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
    if status:
        raise UserError(f"{log}: the run failed before it was killed")
    return True


def fresh(place: Path) -> Path:
    """Make an empty folder."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def command(place: Path, plan: Plan) -> list[str]:
    """Return the command of a run in a folder."""
    values = yaml.safe_load(plan.config.read_text(encoding="utf-8"))
    values["policy"]["base"] = str(ROOT / values["policy"]["base"])
    file = place / "config.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", str(plan.cores)]
    return [*snakemake, "--directory", str(place), "--configfile", str(file), "--nocolor"]


def complete(place: Path, plan: Plan) -> None:
    """Run to the end; UserError where that fails."""
    log = place / "finished.txt"
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(command(place, plan), cwd=place, stdout=file, stderr=file, check=False)
    if done.returncode:
        raise UserError(f"{log}: the run failed; its end says why")


def digests(place: Path) -> dict[str, str]:
    """Return the SHA-256 of all tables and measures of a run, by their names in the folder of results."""
    (results,) = (path for path in (place / "results").iterdir() if (path / "config.json").is_file())
    files = [path for pattern in ("*.parquet", *MEASURES) for path in results.rglob(pattern)]
    named = {path.relative_to(results).as_posix(): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(named.items())
        if not name.startswith("work/") and path.is_file()
    }


def unfinished(output: str) -> list[str]:
    """Return the rules whose jobs had begun and not ended, by Snakemake's output."""
    ended = set(re.findall(r"^Finished jobid: (\d+) ", output, re.MULTILINE))
    begun = re.findall(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    jobid: (\d+)$", output, re.MULTILINE)
    return sorted({rule for rule, number in begun if number not in ended})


if __name__ == "__main__":
    main()
