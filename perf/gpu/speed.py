"""How fast, and in how much memory? Training, scoring and sampling of random models. In: a model. Out: rates, GiB."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import yaml

from mmprm.config import Sampling, Training, load
from mmprm.config.training import Lora
from mmprm.engine.base import Request
from mmprm.engine.transformers_engine import TransformersEngine
from mmprm.model import folders
from mmprm.model.step_text import Renderer, parse
from mmprm.preflight.memory import GIB, Layout, on_device, training_bytes
from mmprm.preflight.shape import read_shape
from mmprm.prm.marker_examples import ExampleBuilder
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.prm.step_scores import Item
from mmprm.runtime.progress import Progress
from mmprm.training.examples import IGNORE, Example
from mmprm.training.job import TrainJob, training_arguments
from mmprm.training.policy_examples import supervised_examples
from mmprm.training.trainer import make_trainer
from mmprm.training.update_plan import update_plan
from perf.gpu.models import paths, problems

ROOT = Path(__file__).parents[2]
WARM_UP, MEASURED = 2, 4  # updates
PACK = 8192  # tokens of a packed forward pass
Json = dict[str, Any]


def _settings(model: str, stage: str, small: bool) -> Training:
    """Return a training: all weights of a model of 1B, adapters of one of 8B, whose weights and AdamW need 130 GB."""
    on_gpu = folders.device() == "cuda"
    large = model == "8b"
    per_update = 8 if stage == "sft" else 64
    return Training(
        learning_rate=1e-5,
        batch_size=4 if small else per_update,
        micro_batch_size=2 if small else (1 if large else 4) if stage == "sft" else 16,
        max_steps=WARM_UP + MEASURED,
        epochs=1,
        precision="bf16" if on_gpu else "fp32",
        gradient_checkpointing=large,
        lora=Lora(rank=32, alpha=64) if large else None,
        max_length=8192,
        save_every=10**6,
    )


def _examples(folder: Path, stage: str, count: int, small: bool) -> list[Example]:
    """Return at least `count` examples of a stage."""
    processor = folders.load_processor(folder)
    renderer = Renderer(processor)
    if stage == "sft":
        examples, _ = supervised_examples(problems(count, small), processor, renderer, 8192)
    else:
        each = 2 if small else 16
        asked = problems(-(-count // each), small)
        builder = ExampleBuilder({problem.problem_id: problem for problem in asked}, processor, renderer, "soft", 8192)
        examples, _ = builder.build(paths(asked, each))
    return examples


def train(
    model: str, stage: Literal["sft", "prm"], layout: Literal["paths", "packed", "trees"], work: Path, small: bool
) -> Json:
    """Measure updates of a training: Trainer, collators, losses and attention as a run has them, without an export."""
    import torch
    from transformers import TrainerCallback

    folder, training = work / model, _settings(model, stage, small)
    if layout == "paths" and stage == "prm" and not small:
        training = training.model_copy(update={"micro_batch_size": 4})
    count = training.batch_size * (WARM_UP + MEASURED)
    examples = _examples(folder, stage, count, small)[:count]
    loss: Literal["tokens", "markers"] = "tokens" if stage == "sft" else "markers"
    packed = PACK if layout == "packed" else None
    job = TrainJob(model, folder, examples, loss, training, 0, work / "trainer", layout == "trees", (), packed)
    plan, n_parts = update_plan(examples, training, 1, 0, job.trees, packed)
    arguments = training_arguments(job, WARM_UP + MEASURED, n_parts)
    arguments.save_strategy = type(arguments.save_strategy)("no")
    on_gpu = folders.device() == "cuda"
    ends: list[float] = []

    class _Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if on_gpu:
                torch.cuda.synchronize()
            ends.append(time.perf_counter())

    with Progress(f"{model} {stage} {layout}", WARM_UP + MEASURED, "updates") as progress:
        trainer = make_trainer(job, arguments, plan, folders.load_processor(folder), progress)
        trainer.add_callback(_Clock())
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        trainer.train()
    took = statistics.median(after - before for before, after in itertools.pairwise(ends[WARM_UP - 1 :]))
    tokens = sum(example.length for example in examples) / len(ends)
    labels = sum(int((example.labels != IGNORE).sum()) for example in examples) / len(ends)
    most = max((sum(examples[max(i, ~i)].length for i in part) for part in plan), default=0)
    shape = read_shape(folder)
    assert shape is not None
    image = int(folders.load_processor(folder).image_seq_length)
    held = Layout(most, max(map(len, plan)), image, int(labels / n_parts))
    return {
        "parameters": shape.parameters,
        "updates_per_second": round(1 / took, 4),
        "tokens_per_second": round(tokens / took, 1),
        "labels_per_second": round(labels / took, 2),
        "tokens_an_update": round(tokens),
        "forward_passes_an_update": n_parts,
        "trained": "adapters" if training.lora else "all weights",
        "calculated_gib": round(on_device(training_bytes(shape, training, held, 1)) / GIB, 2),
        "peak_gib": round(torch.cuda.max_memory_allocated() / GIB, 2) if on_gpu else None,
    }


def score(model: str, work: Path, small: bool) -> Json:
    """Measure candidates a second, on trees and one by one, and the largest difference between the two."""
    folder, dtype = work / model, "bfloat16" if folders.device() == "cuda" else "float32"
    asked = problems(2 if small else 8, small)
    by_id = {problem.problem_id: problem for problem in asked}
    rows = paths(asked, 4 if small else 16)
    items: list[Item] = [(by_id[row["problem_id"]], tuple(row["steps"]), "1") for row in rows]
    found: Json = {"candidates": len(items), "dtype": dtype}
    read = {}
    kinds: dict[str, Callable[..., Any]] = {"trees": TreeScorer, "one_by_one": TransformersScorer}
    for name, kind in kinds.items():
        opened = kind(folder, dtype=dtype)
        opened.score(items[: len(items) // len(asked)])  # the kernels are compiled
        before, began = opened.prompt_tokens, time.perf_counter()
        read[name] = [value for each in opened.score(items) for value in each.probabilities]
        took = time.perf_counter() - began
        found[f"{name}_candidates_per_second"] = round(len(items) / took, 2)
        found[f"{name}_tokens_read"] = opened.prompt_tokens - before
        opened.close()
    pairs = zip(read["trees"], read["one_by_one"], strict=True)
    return found | {"largest_difference": max(abs(a - b) for a, b in pairs)}


def sample(model: str, work: Path, small: bool) -> Json:
    """Measure tokens a second of the transformers engine: one request of many draws."""
    values: Json = yaml.safe_load((ROOT / "configs/ci.yaml").read_text())
    values["engine"] = {"kind": "transformers", "dtype": "auto", "max_model_len": 4096}
    engine = TransformersEngine(load(values), work / model)
    draws, length = (4, 8) if small else (64, 128)
    problem = problems(1, small)[0]
    first = parse(problem.solution or "").steps[:1]
    sampling = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=length)
    found: Json = {}
    for name, count in (("warm-up", 2), ("measured", draws)):
        before, began = engine.stats.generated_tokens, time.perf_counter()
        engine.submit(Request(name, problem, first, count, sampling, seed=0))
        (finished,) = engine.step()
        if finished.error:
            raise RuntimeError(finished.error)
        new = engine.stats.generated_tokens - before
        found = {"draws": count, "new_tokens": new, "tokens_per_second": round(new / (time.perf_counter() - began), 1)}
    engine.close()
    return found
