"""The whole pipeline on the kept base model: killed three times, finished, run again. What is promised of it, seen.

All tests look at one run of configs/ci.yaml, with a table of good and bad problems beside its drawn ones.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from snake import ROOT, Plan, Workflow
from toy_world import rows
from waiting import wait_for

from mmprm.annotation.annotate import annotate
from mmprm.annotation.plan import draw, estimate, times
from mmprm.config import read
from mmprm.data.problem import read_problems
from mmprm.data.shards import Shard
from mmprm.data.tables import write_json
from mmprm.engine.base import Engine
from mmprm.engine.factory import open_engine
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.evaluation.sample_candidates import sample_candidates
from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.preflight.examine import examine
from mmprm.preflight.stage_plan import plan_stages
from mmprm.prm.marker_examples import ExampleBuilder
from mmprm.seeds.sample import sample_seeds
from mmprm.training.policy_examples import supervised_examples

pytestmark = pytest.mark.slow

# Row of the problem table -> why it is refused.
REFUSED = {
    1: "corrupt_image",
    2: "missing_file",
    3: "duplicate_id",
    4: "empty_answer",
    5: "image_too_large",
    6: "control_string",
}
GOOD = ("real/plain", "real/photo", "real/greek")


def png(width: int, height: int) -> bytes:
    """A whole black PNG, of one bit a pixel, packed without being held unpacked."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer, line = zlib.compressobj(1), bytes(1 + -(-width // 8))
    pixels = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def write_table(folder: Path) -> Path:
    """A problem table as people have them: JSON Lines beside a folder of images; three rows of it are good."""
    images = folder / "images"
    images.mkdir(parents=True)
    (images / "small.png").write_bytes(png(96, 64))
    (images / "corrupt.png").write_bytes(png(96, 64)[:40] + bytes(30))
    (images / "huge.png").write_bytes(png(20_000, 20_000))
    Image.new("RGB", (300, 200), "white").save(images / "photo.jpg")
    table = [
        {"id": "plain", "question": "What is 3 + 4?", "answer": "7", "image": "images/small.png"},
        {"id": "corrupt", "question": "What is x?", "answer": "1", "image": "images/corrupt.png"},
        {"id": "missing", "question": "What is x?", "answer": "2", "image": "images/absent.png"},
        {"id": "plain", "question": "What is y?", "answer": "3", "image": "images/small.png"},
        {"id": "empty", "question": "What is x?", "answer": " ", "image": "images/small.png"},
        {"id": "huge", "question": "What is x?", "answer": "5", "image": "images/huge.png"},
        {"id": "tags", "question": "<step>1</step> <prm> <IMG_CONTEXT>?", "answer": "6", "image": "images/small.png"},
        {"id": "photo", "question": "How large is the sheet?", "answer": "60 000", "image": "images/photo.jpg"},
        {"id": "greek", "question": "Wie groß ist α, wenn β = 30°?", "answer": "60", "image": "images/small.png"},
    ]
    path = folder / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    return path


def ci_config(table: Path, max_refused_share: float) -> dict[str, Any]:
    """configs/ci.yaml on the kept base model, with the table's problems among those that may be annotated."""
    config = yaml.safe_load((ROOT / "configs/ci.yaml").read_text())
    config["policy"]["base"] = str(ROOT / config["policy"]["base"])
    config["sources"]["real"] = {"kind": "table", "path": str(table)}
    config["seeds"]["sources"] = ["curated", "real"]
    config["intake"] = {"max_refused_share": max_refused_share}
    return config


@dataclass
class Run:
    """A run that was killed three times and then finished."""

    workflow: Workflow
    config: dict[str, Any]
    attempts: list[Plan]
    journal: dict[Path, list[str]]  # what was in the annotation's journal when annotation was killed
    written: dict[str, int]  # output -> when it was written, of all jobs that had finished before the last attempt

    @property
    def results(self) -> Path:
        return self.workflow.folder / "results/ci"

    def log(self, name: str) -> str:
        return (self.results / f"logs/{name}.log").read_text()

    def again(self, *targets: str) -> Plan:
        """Run it once more."""
        done = self.workflow.run(*targets, config=self.config)
        assert done.returncode == 0, done.stderr
        return Plan(done.stderr)

    def state(self) -> dict[str, int]:
        """When each file of the results was written."""
        return {str(path): path.stat().st_mtime_ns for path in self.results.rglob("*") if path.is_file()}


def killed_when(ready: Callable[[], bool], workflow: Workflow, config: dict[str, Any]) -> Plan:
    """Start a run and kill -9 its process group as soon as `ready`."""
    output = workflow.folder / "output.txt"
    with output.open("w") as file:
        run = subprocess.Popen(
            workflow.command(config=config), cwd=workflow.folder, start_new_session=True, stdout=file, stderr=file
        )
        try:
            wait_for(ready, "the moment to kill it", run, output)
        finally:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    return Plan(output.read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Killed in the policy stage, in annotation and in PRM training, each time started again."""
    workflow = Workflow(tmp_path_factory.mktemp("end-to-end"))
    config = ci_config(write_table(workflow.folder / "data"), max_refused_share=0.7)
    work = workflow.folder / "results/ci/work"

    def checkpoint_of(stage: str) -> Callable[[], bool]:
        return lambda: any((work / stage / "checkpoints").glob("checkpoint-*/complete.json"))

    def journal() -> dict[Path, list[str]]:
        return {path: path.read_text().splitlines() for path in (work / "annotation").glob("*.jsonl")}

    attempts = [killed_when(checkpoint_of("policy"), workflow, config)]
    attempts.append(killed_when(lambda: sum(map(len, journal().values())) >= 3, workflow, config))
    at_kill = journal()
    attempts.append(killed_when(checkpoint_of("prm/soft"), workflow, config))
    done_before = [path for attempt in attempts for path in attempt.finished]
    written = {path: (workflow.folder / path).stat().st_mtime_ns for path in done_before}
    last = workflow.run(config=config)
    assert last.returncode == 0, last.stderr
    return Run(workflow, config, [*attempts, Plan(last.stderr)], at_kill, written)


def test_a_run_that_was_killed_in_three_stages_finishes_and_no_finished_job_runs_again(run: Run) -> None:
    assert (run.results / "report.html").stat().st_size > 10_000
    ended = Counter(path for attempt in run.attempts for path in attempt.finished)
    assert set(ended.values()) == {1}
    assert {"annotation/0-of-1/status.parquet", "bench/summary.json", "report.html"} <= {
        path.removeprefix("results/ci/") for path in ended
    }
    for killed, output in zip(run.attempts, ("policy", "annotation", "prm/soft"), strict=False):
        assert not any(f"/{output}/" in path for path in killed.finished)
    for path, when in run.written.items():
        assert (run.workflow.folder / path).stat().st_mtime_ns == when, path


def test_killed_trainings_went_on_from_their_checkpoints(run: Run) -> None:
    for log in ("train_policy", "train_prm/soft"):
        resumed = re.search(r"resuming after update (\d+) of (\d+)", run.log(log))
        assert resumed is not None and 0 < int(resumed[1]) < int(resumed[2]), run.log(log)


def test_killed_annotation_sampled_nothing_twice(run: Run) -> None:
    (before,) = run.journal.values()
    replayed = re.search(r"replayed (\d+) requests", run.log("annotate/0-of-1"))
    assert replayed is not None and int(replayed[1]) == len(before) > 0
    (compacted,) = (run.results / "work/annotation").glob("[!.]*")
    keys = pq.read_table(compacted)["key"].to_pylist()
    assert len(keys) == len(set(keys)) > len(before)
    usage = json.loads((run.results / "annotation/0-of-1/usage.json").read_text())
    k = run.config["annotation"]["k"]
    assert (usage["replayed_completions"], usage["completions"]) == (k * len(before), k * (len(keys) - len(before)))


@pytest.mark.heavy
def test_annotation_on_vllm_killed_three_times_gives_the_same_trees_and_samples_no_finished_request_again(
    run: Run, tmp_path: Path
) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    inputs = {
        "--config": run.results / "config.json",
        "--policy": run.results / "policy",
        "--seeds": run.results / "seeds/seeds.parquet",
        "--work": work,
        "--out": out,
    }
    command = [str(Path(sys.executable).with_name("mmprm")), "annotate", "--shard", "0-of-1"]
    command += [str(part) for pair in inputs.items() for part in pair]

    def finished() -> int:
        return sum(path.read_bytes().count(b"}\n") for path in work.glob("*.jsonl"))

    for target in (4, 16, 28):
        shard = subprocess.Popen(command, cwd=run.workflow.folder, stderr=subprocess.DEVNULL)
        wait_for(functools.partial(lambda least: finished() >= least, target), f"{target} requests", shard)
        shard.kill()
        shard.wait()
    at_kills = finished()
    subprocess.run(command, cwd=run.workflow.folder, check=True, stderr=subprocess.DEVNULL)
    for name in ("nodes", "rollouts", "status"):
        assert rows(out / f"{name}.parquet") == rows(run.results / f"annotation/0-of-1/{name}.parquet")
    usage = json.loads((out / "usage.json").read_text())
    requests = pq.read_metadata(next(work.glob("*.parquet"))).num_rows
    # Each finished request was sampled once: before a kill, or by the last process.
    assert (at_kills, usage["requests"]) == (requests - usage["requests"], requests - at_kills)
    assert at_kills >= 28


def test_each_bad_row_is_refused_with_its_reason_and_the_rest_runs(run: Run) -> None:
    bad = rows(run.results / "problems/real.refused.parquet")
    assert {row["row"]: row["reason"] for row in bad} == REFUSED
    assert all(row["detail"] for row in bad)
    assert "real: 3 problems, 6 rows refused" in run.log("intake/real")
    decided = {row["problem_id"]: row for row in rows(run.results / "seeds/decisions.parquet")}
    for name in GOOD:  # they were sampled like all others
        assert decided[name]["n_rollouts"] + decided[name]["n_undecided"] == run.config["seeds"]["rollouts"]


def test_too_many_bad_rows_stop_the_run_with_what_to_do(workflow: Workflow) -> None:
    config = ci_config(write_table(workflow.folder / "data"), max_refused_share=0.1)
    done = workflow.run("problems", config=config)
    assert done.returncode != 0
    assert "6 of 9 rows are refused" in done.stderr and "1 duplicate_id" in done.stderr
    assert "intake.max_refused_share is 0.1: fix the rows" in done.stderr
    assert "Traceback" not in done.stderr
    problems = workflow.folder / "results/ci/problems"
    assert not (problems / "real.parquet").exists()
    assert {row["row"]: row["reason"] for row in rows(problems / "real.refused.stopped.parquet")} == REFUSED


def test_the_summary_has_every_metric_of_every_benchmark_and_variant_with_intervals(run: Run) -> None:
    summary = json.loads((run.results / "bench/summary.json").read_text())
    keys = {"benchmark", "variant", "n", "metric", "value", "ci_low", "ci_high", "problems", "primary"}
    assert all(row.keys() == keys for row in summary)
    n = run.config["bench"]["n"]
    values = {row["metric"]: row["value"] for row in summary if (row["benchmark"], row["n"]) == ("test", n)}
    assert {"random", "majority", "oracle"} <= values.keys()
    for aggregate in AGGREGATES:
        chosen = values[f"bon/{aggregate}"]
        assert 0 <= chosen <= values["oracle"]
        for other in ("random", "majority"):
            assert values[f"bon_minus_{other}/{aggregate}"] == pytest.approx(chosen - values[other])
    for row in summary:
        assert -1 <= row["ci_low"] <= row["value"] <= row["ci_high"] <= 1
        assert row["problems"] == run.config["sources"]["test"]["size"]
        assert row["primary"] == row["metric"].endswith("/mean_odds")
    assert 0 < values["random"] < values["oracle"]  # the small policy solves something, and not everything


class Resources(HTMLParser):
    """Everything that a page would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.places: list[str] = re.findall(r"(?:url\(|@import)\s*['\"]?([^'\");]*)", page)
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"src", "srcset", "data", "poster", "background"}
        if tag != "a":  # a link of the reader's choice loads nothing
            names.add("href")
        self.places += [value or "" for name, value in attrs if name.removeprefix("xlink:") in names]


def usage(run: Run, name: str) -> dict[str, Any]:
    """What a stage's engine counted."""
    counted: dict[str, Any] = json.loads((run.results / name).read_text())
    return counted


def tokens_taken(run: Run) -> dict[str, float]:
    """New or trained tokens of each stage, as `mmprm check` counts them."""
    config = read(run.results / "config.json")
    renderer = Renderer(folders.load_processor(run.results / "policy"))
    solved, paths = (run.results / name for name in ("problems/sft.parquet", "labels/paths.parquet"))
    supervised, _ = supervised_examples(read_problems(solved), renderer.processor, renderer, 512)
    by_id = {problem.problem_id: problem for problem in read_problems(run.results / "seeds/seeds.parquet")}
    chosen = [row for row in rows(paths) if row["split"] == "train"]
    marked, _ = ExampleBuilder(by_id, renderer.processor, renderer, "soft", 512).build(chosen)
    return {
        "policy": sum(example.length for example in supervised),
        "seeds": usage(run, "seeds/0-of-1/rollouts.parquet.usage.json")["generated_tokens"],
        "annotation": sum(row["n_tokens"] for row in rows(run.results / "annotation/0-of-1/status.parquet")),
        "prm soft": sum(example.length for example in marked) * config.prm.training.epochs,
        "bench test": usage(run, "bench/test/shards/0-of-1.parquet.usage.json")["generated_tokens"],
    }


def test_what_was_planned_before_the_run_holds_the_tokens_that_each_stage_took(run: Run) -> None:
    config = read(run.results / "config.json")
    planned = {cost.stage: cost.tokens for cost in examine(config).costs(run.results)}
    taken = tokens_taken(run)
    assert list(planned) == list(taken)
    for stage, tokens in planned.items():
        assert tokens is not None and tokens.low <= taken[stage] <= tokens.high, (stage, tokens, taken[stage])


def test_the_plan_from_a_sample_of_the_seeds_holds_the_tokens_of_the_stages_after_it(run: Run) -> None:
    """As `snakemake plan` makes it, of a quarter of the seeds."""
    config = read(run.results / "config.json")
    status = {row["problem_id"]: row for row in rows(run.results / "annotation/0-of-1/status.parquet")}
    drawn = draw(status, max(4, len(status) // 4), config.seed)
    costs = estimate(config, list(status), [status[name] for name in drawn]) | {"replayed_rollouts": 0}
    costs |= times(
        config, costs["tokens"], list(status), usage(run, "annotation/0-of-1/usage.json") | {"device": "CPU"}
    )
    plan = run.results / "plan-of-a-sample.json"  # beside the tables that it counts
    write_json(plan, costs)
    plan_stages(config, run.results / "policy", run.results / "seeds/seeds.parquet", plan)
    stages = json.loads(plan.read_text())["stages"]
    plan.unlink()
    taken = tokens_taken(run)
    for stage, planned in stages.items():
        assert planned["tokens"]["low"] <= taken[stage] <= planned["tokens"]["high"], (stage, planned, taken[stage])


def test_the_report_loads_nothing(run: Run) -> None:
    places = Resources((run.results / "report.html").read_text()).places
    assert places
    assert all(place.startswith(("data:", "#")) for place in places), [place[:80] for place in places]


def test_a_second_run_does_nothing(run: Run) -> None:
    before = run.state()
    assert "Nothing to be done" in run.again().text
    assert run.state() == before


DEPENDS_ON_PATHS = [
    "evaluate_prm", "gather_labels", "measure", "measure_labels", "score_candidates", "summarise", "train_prm",
    "write_data_card", "write_report",
]  # fmt: skip


def test_a_deleted_table_plans_just_what_depends_on_it_and_its_own_target_makes_it_again(run: Run) -> None:
    paths = run.results / "labels/paths.parquet"
    before, content = run.state(), paths.read_bytes()
    paths.unlink()
    assert sorted(rule for rule, _ in run.workflow.plan("report", config=run.config).jobs) == DEPENDS_ON_PATHS
    again = run.again("results/ci/labels/paths.parquet")
    assert [rule for rule, _ in again.jobs] == ["gather_labels"]
    assert paths.read_bytes() == content
    for path, when in before.items():  # so that nothing is new for the tests that follow
        os.utime(path, ns=(when, when))
    assert not run.workflow.plan("report", config=run.config).jobs


@pytest.mark.heavy
def test_a_deleted_table_is_made_again_with_just_what_depends_on_it(run: Run) -> None:
    paths = run.results / "labels/paths.parquet"
    before = run.state()
    content = paths.read_bytes()
    paths.unlink()
    again = run.again("report")
    # evaluate_prm and score_candidates run in either order
    assert sorted(rule for rule, _ in again.jobs) == DEPENDS_ON_PATHS
    assert paths.read_bytes() == content
    after = run.state()
    for stage in ("problems", "policy", "seeds", "annotation", "bench/test/shards", "bench/test/candidates.parquet"):
        place = str(run.results / stage)
        unchanged = {path: when for path, when in before.items() if path.startswith(place)}
        assert unchanged and unchanged == {path: after[path] for path in unchanged}
    assert "Nothing to be done" in run.again().text


class Kept:
    """One engine for many shards, since a start takes seconds; each finds it with an empty cache."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def close(self) -> None:
        self._engine._model.engine.reset_prefix_cache()


@pytest.fixture
def engine(run: Run) -> Iterator[Engine]:
    opened = open_engine(read(run.results / "config.json"), run.results / "policy")
    yield Kept(opened)
    opened.close()


def in_shards(run: Run, count: int, engine: Engine, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of the run's sampled tables, sampled anew in `count` shards that share no journal."""
    config, policy = read(run.results / "config.json"), run.results / "policy"
    problems = {name: run.results / f"problems/{name}.parquet" for name in ("curated", "real", "test")}
    for shard in (Shard(index, count) for index in range(count)):
        place, work = folder / str(shard), folder / f"{shard}/work"
        pool = [problems["curated"], problems["real"]]
        sample_seeds(config, policy, pool, shard, work / "seeds", place / "seeds.parquet", lambda: engine)
        seeds = run.results / "seeds/seeds.parquet"
        annotate(config, policy, seeds, shard, work / "annotation", place, lambda: engine)
        out = place / "candidates.parquet"
        sample_candidates(config, "test", policy, problems["test"], shard, work / "bench", out, lambda: engine)
    names = ("seeds", "nodes", "rollouts", "status", "candidates")
    return {name: rows(*folder.glob(f"*/{name}.parquet")) for name in names}


@pytest.mark.heavy  # evaluation/test_sample_candidates.py and seeds/test_sample.py do it with a scripted engine
@pytest.mark.parametrize("count", [2, 5])
def test_two_and_five_shards_give_the_trees_and_candidates_of_one(
    count: int, run: Run, engine: Engine, tmp_path: Path
) -> None:
    results = run.results
    one = {name: rows(results / f"annotation/0-of-1/{name}.parquet") for name in ("nodes", "rollouts", "status")}
    one["seeds"] = rows(results / "seeds/0-of-1/rollouts.parquet")
    one["candidates"] = rows(results / "bench/test/candidates.parquet")
    many = in_shards(run, count, engine, tmp_path)
    assert {name: len(table) for name, table in many.items()} == {name: len(table) for name, table in one.items()}
    for name, table in one.items():
        assert many[name] == table


@pytest.mark.heavy  # rollouts/test_kills.py kills a stage's process, and Snakemake's retry is tried on SLURM too
def test_an_engine_that_dies_is_started_again_by_its_job_and_goes_on_from_the_journal(run: Run) -> None:
    """Last in this file: it leaves another budget behind."""
    config = run.config | {"annotation": run.config["annotation"] | {"max_searches": 20, "max_rollouts": 96}}
    work, output = run.results / "work/annotation", run.workflow.folder / "died.txt"

    def finished() -> int:
        return sum(path.read_bytes().count(b"}\n") for path in work.glob("*.jsonl"))

    with output.open("w") as file:
        command = run.workflow.command("annotation", config=config)
        workflow = subprocess.Popen(command, cwd=run.workflow.folder, stdout=file, stderr=file)
        wait_for(finished, "the first request", workflow, output)
        (engine,) = run.workflow.processes("annotate")
        os.kill(engine, signal.SIGKILL)
        at_kill = finished()
        assert workflow.wait() == 0, output.read_text()
    assert "Trying to restart job" in output.read_text()
    replayed = re.search(r"replayed (\d+) requests", run.log("annotate/0-of-1"))
    sampled = json.loads((run.results / "annotation/0-of-1/usage.json").read_text())["requests"]
    keys = [key for path in work.glob("*.parquet") for key in pq.read_table(path)["key"].to_pylist()]
    assert replayed is not None and len(keys) == len(set(keys)) == int(replayed[1]) + sampled
    assert at_kill > 0 and sampled > 0
