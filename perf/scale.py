"""What a run costs at its largest: gathering labels, assembling a training set, planning jobs. Out: one JSON line.

The annotation is synthetic: trees of real searches over sums (as perf.search makes them, at the paper's budget)
under many problem ids, in the real tables, as arrow writes them. Each problem has a picture of its own, and texts go
through the tokenizer and processor of models/mini-base. Every part runs in a process of its own, whose peak memory is
measured; the first two also on a tenth of the rollouts: what is bounded needs about as much memory in both.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from mmprm.annotation.omegaprm import omegaprm
from mmprm.annotation.tree import Tree
from mmprm.config import Annotation, Config, Sampling, load
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem
from mmprm.data.shards import names
from mmprm.rollouts.rollout import RequestFactory
from perf.common import finish, machine, need, say, user_errors
from perf.search import answer, sum_problems

ROOT = Path(__file__).parents[1]
BASE = ROOT / "models/mini-base"
_TEMPLATES = 16
_PAPER = Annotation(k=16, max_searches=200, max_rollouts=1000)


def config() -> Config:
    """Return the CI run with a PRM that takes sequences as long as these."""
    values = yaml.safe_load((ROOT / "configs/ci.yaml").read_text(encoding="utf-8"))
    values["prm"]["training"] |= {"max_length": 8192}
    return load(values)


def scripted_tree(problem: Problem) -> Tree:
    """Search with the scripted policy, and return the tree."""
    search = omegaprm(problem, _PAPER, RequestFactory("scripted", Sampling(), 0, "annotation"))
    rollouts: Any = None
    while True:
        try:
            request = search.send(rollouts)
        except StopIteration as end:
            tree: Tree = end.value
            return tree
        rollouts = answer(request)


class Templates:
    """The tables of a few trees, to be written under the id of any problem."""

    def __init__(self) -> None:
        self.problems = list(sum_problems(_TEMPLATES))
        trees = [scripted_tree(problem) for problem in self.problems]
        self.n_rollouts = sum(tree.n_rollouts for tree in trees) / len(trees)
        self._of = {
            "nodes": (schemas.NODES, [tree.node_rows() for tree in trees]),
            "rollouts": (schemas.ROLLOUTS, [tree.rollout_rows() for tree in trees]),
            "status": (schemas.STATUS, [[tree.status_row()] for tree in trees]),
        }
        self._tables = {name: [tables.as_table(rows, schema) for rows in of] for name, (schema, of) in self._of.items()}

    def write(self, shard: Path, numbers: range) -> None:
        """Write the annotation of the problems of these numbers."""
        for name, (schema, _) in self._of.items():
            tables.write_parts(shard / f"{name}.parquet", self._renamed(name, numbers), schema)

    def _renamed(self, name: str, numbers: range) -> Iterator[pa.Table]:
        for number in numbers:
            table = self._tables[name][number % _TEMPLATES]
            yield table.set_column(0, "problem_id", pa.array([problem_id(number)] * len(table), pa.string()))


def problem_id(number: int) -> str:
    """Return an id; ids sort by number."""
    return f"sum-{number:08d}"


def make(folder: Path, rollouts: int, shards: int) -> None:
    """Write seeds and annotation into `folder`: about so many rollouts, in at most so many shards."""
    from mmprm.mini.problems import FAMILIES, generate

    templates = Templates()
    n_problems = max(1, round(rollouts / templates.n_rollouts))
    shards = min(shards, n_problems)
    (picture,) = generate("sft", 1, list(FAMILIES)[:1], seed=0)[0].images

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(n_problems):
            # What follows a PNG's end is not read: another picture for whoever compares them.
            images = (picture + number.to_bytes(8, "big"),)
            problem = replace(
                templates.problems[number % _TEMPLATES], problem_id=problem_id(number), source="test", images=images
            )
            yield {name: getattr(problem, name) for name in schemas.PROBLEMS.names}

    tables.write(folder / "seeds.parquet", rows(), schemas.PROBLEMS)
    bounds = [index * n_problems // shards for index in range(shards + 1)]
    for index, name in enumerate(names(shards)):
        templates.write(folder / "annotation" / name, range(bounds[index], bounds[index + 1]))


def gather(folder: Path) -> dict[str, Any]:
    """Gather the labels of all shards."""
    from mmprm.labels.cleaning import Cleaning
    from mmprm.labels.gather import gather_labels

    shards = sorted(path for path in (folder / "annotation").iterdir())
    settings, files = config(), [folder / name for name in ("seeds.parquet", "paths.parquet", "statistics.json")]
    gather_labels(settings, files[0], shards, files[1], files[2], Cleaning(settings.labels))
    statistics = json.loads((folder / "statistics.json").read_text(encoding="utf-8"))
    return {name: statistics[name] for name in ("rollouts", "problems", "paths")} | {"shards": len(shards)}


def assemble(folder: Path) -> dict[str, Any]:
    """Assemble the training set of a PRM with soft labels."""
    from mmprm.data.problem import ProblemFile
    from mmprm.model import folders
    from mmprm.model.step_text import Renderer
    from mmprm.prm.marker_examples import ExampleBuilder, assemble

    processor = folders.load_processor(BASE)
    folders.add_control_tokens(processor)
    renderer = Renderer(processor, "")
    problems = ProblemFile(folder / "seeds.parquet")
    store = folder / "examples"
    builder = ExampleBuilder(problems, processor, renderer, "soft", 8192)
    found = assemble(folder / "paths.parquet", "train", store, builder)
    tokens = sum(found.examples.example_index.lengths)
    size = sum(file.stat().st_size for file in store.iterdir()) / 2**20
    return {"examples": len(found.examples), "tokens": tokens, "file_mb": round(size)}


def dry_run(folder: Path, shards: int) -> dict[str, Any]:
    """Run `snakemake -n` of the CI run with so many shards."""
    values = yaml.safe_load((ROOT / "configs/ci.yaml").read_text(encoding="utf-8")) | {"shards": {"annotation": shards}}
    base = folder / values["policy"]["base"]
    base.mkdir(parents=True, exist_ok=True)
    (base / "config.json").write_text("{}")
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "all", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "2", "--configfile", str(folder / "config.yaml")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {"shards": shards}


def measured(part: str, folder: Path, *more: int) -> dict[str, Any]:
    """Run a part in a process of its own; return its result with its seconds and its peak memory."""
    command = [sys.executable, "-m", "perf.scale", "--part", part, "--folder", str(folder), *map(str, more)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"perf.scale: {part} ended with status {process.returncode}")
    seconds, peak = round(time.perf_counter() - begun, 1), round(usage.ru_maxrss / 1024)
    result: dict[str, Any] = json.loads(output.splitlines()[-1]) | {"seconds": seconds}
    # The memory of a dry run is that of Snakemake's process, a child of the part.
    result["peak_mb"] = result.pop("child_peak_mb", peak)
    say(f"{part}: {result}")
    return result


PARTS: dict[str, Callable[..., dict[str, Any]]] = {"gather": gather, "assemble": assemble, "dry_run": dry_run}


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--rollouts", type=int, default=10_000_000, help="of the annotation (10000000)")
    parser.add_argument("--shards", type=int, default=1000, help="of the annotation (1000)")
    parser.add_argument("--planned-shards", type=int, default=10_000, help="of the dry run (10000)")
    parser.add_argument("--folder", type=Path, help="where the tables are made (a temporary folder)")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("more", type=int, nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.part:
        result = PARTS[given.part](given.folder, *given.more)
        if given.part == "dry_run":
            result["child_peak_mb"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
        finish(result)
        return
    with user_errors("scale"), tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        need(BASE)
        result = {"gather": [], "assemble": []}
        for rollouts in (given.rollouts // 10, given.rollouts):
            folder = Path(scratch) / str(rollouts)
            begun = time.perf_counter()
            make(folder, rollouts, given.shards)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
            say(f"{rollouts} rollouts made in {time.perf_counter() - begun:.0f} s, {size:.0f} MB")
            for part in result:
                result[part].append(measured(part, folder))
        (planned := Path(scratch) / "planned").mkdir()
        finish({**result, "dry_run": measured("dry_run", planned, given.planned_shards), "machine": machine()})


if __name__ == "__main__":
    main()
