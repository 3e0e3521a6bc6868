"""kill -9 of whole runs at random moments: are their tables those of an undisturbed run? Out: one JSON line.

    python -m perf.kills --folder FOLDER --runs 30

A run is `snakemake` with configs/ci.yaml in a folder of its own: its process group is killed at a moment that is drawn
from the time of the undisturbed run, and it is started again until it ends. Compared are the SHA-256 of all tables, and
of the measures in JSON. FOLDER keeps the undisturbed run, a line for each finished run, and the folders of those that
differ: started again with it, the script continues.
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
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/ci.yaml")
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    with user_errors("kills"):
        finish(measure(arguments.folder.resolve(), arguments.runs, arguments.seed, arguments.config, arguments.cores))


def measure(folder: Path, runs: int, seed: int, config: Path, cores: int) -> dict[str, Any]:
    """Kill and finish so many runs in all; returns what the JSON line says."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = undisturbed(folder, config, cores)
    noted = folder / "runs.jsonl"
    lines = noted.read_text(encoding="utf-8").splitlines() if noted.is_file() else []
    done = {row["run"]: row for row in map(json.loads, lines)}
    for number in range(runs):
        if number not in done:
            done[number] = one_run(folder, number, seed, config, cores, expected)
            with noted.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[number]) + "\n")
            say(f"run {number}: {json.dumps(done[number])}")
    rows = [done[number] for number in range(runs)]
    return {
        "what": "kill -9 of whole runs",
        "machine": machine(),
        "config": config.name,
        "runs": runs,
        "same": sum(not row["different"] for row in rows),
        "tables": len(expected["files"]),
        "undisturbed_seconds": expected["seconds"],
        "killed_in": dict(Counter(rule for row in rows for rule in row["killed_in"] or ["between jobs"])),
        "different": {row["run"]: row["different"] for row in rows if row["different"]},
    }


def undisturbed(folder: Path, config: Path, cores: int) -> dict[str, Any]:
    """Run once without a kill, or read what an earlier call has noted: {seconds, files}."""
    noted = folder / "undisturbed.json"
    if not noted.is_file():
        place = fresh(folder / "undisturbed")
        started = time.monotonic()
        complete(place, config, cores)
        values: dict[str, Any] = {"seconds": round(time.monotonic() - started, 1), "files": digests(place)}
        noted.write_text(json.dumps(values), encoding="utf-8")
        say(f"undisturbed: {values['seconds']} s, {len(values['files'])} tables")
    read: dict[str, Any] = json.loads(noted.read_text(encoding="utf-8"))
    return read


def one_run(folder: Path, number: int, seed: int, config: Path, cores: int, expected: dict[str, Any]) -> dict[str, Any]:
    """Kill a run once, and finish it; {run, killed_at, killed_in, different}."""
    place, moments = folder / f"run-{number}", random.Random(f"{seed}/{number}")
    while True:
        fresh(place)
        moment = moments.uniform(0.0, expected["seconds"])
        log = place / "killed.txt"
        with log.open("w", encoding="utf-8") as file:
            run = subprocess.Popen(
                command(place, config, cores), cwd=place, start_new_session=True, stdout=file, stderr=file
            )
            try:
                status = run.wait(timeout=moment)
            except subprocess.TimeoutExpired:
                break
            finally:
                if run.poll() is None:
                    os.killpg(run.pid, signal.SIGKILL)
                    run.wait()
        if status:
            raise UserError(f"{log}: the run failed before it was killed")
        say(f"run {number}: it ended before {moment:.0f} s; drawing another moment")
    complete(place, config, cores)
    made = digests(place)
    names = sorted(made.keys() | expected["files"].keys())
    different = [name for name in names if made.get(name) != expected["files"].get(name)]
    row = {"run": number, "killed_at": round(moment, 1), "killed_in": unfinished(log.read_text(encoding="utf-8"))}
    if not different:
        shutil.rmtree(place)
    return row | {"different": different}


def fresh(place: Path) -> Path:
    """Make an empty folder."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def command(place: Path, config: Path, cores: int) -> list[str]:
    """Return the command of a run in a folder."""
    values = yaml.safe_load(config.read_text(encoding="utf-8"))
    values["policy"]["base"] = str(ROOT / values["policy"]["base"])
    file = place / "config.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", str(cores)]
    return [*snakemake, "--directory", str(place), "--configfile", str(file), "--nocolor"]


def complete(place: Path, config: Path, cores: int) -> None:
    """Run to the end; UserError where that fails."""
    log = place / "finished.txt"
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(command(place, config, cores), cwd=place, stdout=file, stderr=file, check=False)
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
