"""Training of a PRM in labelled steps a second: prefix trees against one sequence a path and against ordinary packing.

In: a run's labelled paths, or trees of the paper's shape (1,800 image tokens, 8 steps a path). Out: one JSON line.
One language model of some 50 million parameters, the same paths, one update (forward, backward, AdamW) an arm,
`--repeats` times in turn; medians. The image's tokens are there, the vision encoder is not: trees, which encode an
image once, would gain more with it.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmprm import config as configuration
from mmprm.data import schemas, tables
from mmprm.data.problem import read_problems
from mmprm.model import folders
from mmprm.model.hf_env import prepare
from mmprm.model.step_text import NO, YES, Renderer, control_ids
from mmprm.prefix_trees import attention, packing
from mmprm.prm.marker_examples import ExampleBuilder
from mmprm.training import batches as layouts
from mmprm.training.examples import IGNORE, Example, labelled_positions
from mmprm.training.losses import marker_loss
from perf.common import finish, machine, need, say, spread, user_errors

Group = list[Example]  # the paths of one problem
WIDTH, LAYERS, HEADS, INNER = 512, 12, 8, 2048
VOCABULARY = 1024
PACK = 8192  # tokens of a forward pass of ordinary packing, and of trees
PADDED = 16384  # of one sequence a path, padding included


def trees_of_run(seeds: Path, paths: Path, prm: Path, instruction: str, count: int) -> list[Group]:
    """Return the paths of `count` annotated problems."""
    processor = folders.load_processor(prm)
    rows = tables.read_rows(paths, schemas.PATHS)
    problems = {problem.problem_id: problem for problem in read_problems(seeds)}
    builder = ExampleBuilder(problems, processor, Renderer(processor, instruction), "soft", 2**20)
    examples, _ = builder.build(rows)
    groups = [list(group) for _, group in itertools.groupby(examples, key=lambda example: example.problem_id)]
    return spread(groups, count, f"of problems with labelled paths {paths}")


def trees_of_shape(problems: int, paths: int, steps: int, step: int, prompt: int, seed: int = 0) -> list[Group]:
    """Draw trees as a search grows them: each path leaves an earlier one after a uniformly drawn number of steps.

    step and prompt: tokens of a step (its marker last) and of image and question.
    """
    draw = random.Random(seed)
    rng = np.random.default_rng(seed)
    groups = []
    for number in range(problems):
        start = rng.integers(0, VOCABULARY, prompt)
        drawn: list[list[np.ndarray[Any, Any]]] = []
        for _ in range(paths):
            prefix = draw.choice(drawn)[: draw.randrange(steps)] if drawn else []
            drawn.append(prefix + [rng.integers(0, VOCABULARY, step) for _ in range(steps - len(prefix))])
        groups.append([_example(str(number), np.concatenate([start, *path]), prompt, step) for path in drawn])
    return groups


def _example(problem_id: str, tokens: np.ndarray, prompt: int, step: int) -> Example:
    labels = np.full(len(tokens), IGNORE, dtype=np.float32)
    labels[prompt + step - 1 :: step] = 0.5
    return Example(problem_id, {"input_ids": tokens}, labels, ())


def model_of(vocabulary: int, key_heads: int = HEADS, layers: int = LAYERS) -> Any:
    """Return a language model of some 50 million parameters with random weights. key_heads: of keys and values."""
    prepare()
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    settings = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=key_heads,
        intermediate_size=INNER,
        max_position_embeddings=32768,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    model = Qwen2ForCausalLM(settings)
    attention.install(model)
    return model.train()


Batch = dict[str, Any]


def padded(groups: Sequence[Group]) -> list[Batch]:
    """Lay out one sequence a path, sorted by length, padded on the right."""
    import torch

    batches = []
    paths = sorted((path for group in groups for path in group), key=lambda path: -path.length)
    while paths:
        rows = paths[: max(1, PADDED // paths[0].length)]
        paths = paths[len(rows) :]
        ids = torch.zeros(len(rows), rows[0].length, dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full(ids.shape, IGNORE)
        for row, path in enumerate(rows):
            ids[row, : path.length] = torch.from_numpy(path.tokens["input_ids"])
            labels[row, : path.length] = torch.from_numpy(path.labels)
            mask[row, : path.length] = 1
        # Without any padding no mask is needed, and attention is the faster causal one.
        inputs = {"input_ids": ids, "logits_to_keep": labelled_positions(labels)}
        batches.append({**inputs, "labels": labels} | ({} if mask.all() else {"attention_mask": mask}))
    return batches


def laid_out(groups: Sequence[Group]) -> list[Batch]:
    """Lay out groups as trees, joined up to the budget; with groups of one path this is ordinary packing."""
    batches: list[list[Group]] = []
    size = 0
    for group in groups:
        length = packing.pack([path.tokens for path in group]).length
        if not batches or size + length > PACK:
            batches.append([])
            size = 0
        batches[-1].append(group)
        size += length
    return [layouts.lay_out(batch) for batch in batches]


def operations(groups: Sequence[Group]) -> float:
    """Count floating-point operations of an update over the groups as trees: matrices a token, attention a pair.

    Forward and backward are three times the forward; a multiplication and an addition are two. No mask and no padding.
    """
    matrices = LAYERS * (4 * WIDTH**2 + 3 * WIDTH * INNER)
    total = 0.0
    for group in groups:
        packed = packing.pack([path.tokens for path in group])
        pairs = float((packed.depth + 1).sum())
        total += 6 * matrices * packed.length + 12 * LAYERS * WIDTH * pairs
    return total


def update(model: Any, optimizer: Any, batches: Sequence[Batch], loss_of: Callable[..., Any], steps: int) -> float:
    """Return the seconds of one update: all micro-batches forward and backward, then AdamW."""
    began = time.perf_counter()
    for batch in batches:
        inputs = dict(batch)
        labels = inputs.pop("labels")
        loss_of(model(**inputs, use_cache=False), labels, num_items_in_batch=steps).backward()
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - began


def compare(groups: list[Group], no: int, yes: int, vocabulary: int, repeats: int) -> dict[str, Any]:
    """Run the three arms on the same paths, and return the result."""
    import torch

    apart = [[path] for group in groups for path in group]
    steps = int(sum((path.labels != IGNORE).sum() for (path,) in apart))
    tokens = sum(path.length for (path,) in apart)
    shared = sum(packing.pack([path.tokens for path in group]).length for group in groups)
    arms = {"trees": laid_out(groups), "packed": laid_out(apart), "per_path": padded(groups)}
    say(f"{len(apart)} paths of {len(groups)} problems, {steps} labelled steps; {tokens} tokens, {shared} as trees")
    model = model_of(vocabulary)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    loss_of = marker_loss(no, yes)
    warm = laid_out([groups[0][:1]])
    update(model, optimizer, warm, loss_of, steps)
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for repeat in range(repeats):
        for name in names:
            seconds[name].append(update(model, optimizer, arms[name], loss_of, steps))
            say(f"{repeat + 1} of {repeats}, {name}: {seconds[name][-1]:.1f} s")
        names.append(names.pop(0))  # a machine that slows down does so to each alike
    median = {name: statistics.median(values) for name, values in seconds.items()}
    predicted = operations(apart) / operations(groups)
    ratio = median["per_path"] / median["trees"]
    return {
        "vs_per_path": round(ratio, 2),
        "vs_packed": round(median["packed"] / median["trees"], 2),
        "flop_ratio": round(predicted, 2),
        "sharing_factor": round(tokens / shared, 2),
        "of_flop_ratio": round(ratio / predicted, 2),
        "labelled_steps_per_second": {name: round(steps / value, 2) for name, value in median.items()},
        "labelled_steps": steps,
        "paths": len(apart),
        "problems": len(groups),
        "repeats": repeats,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "machine": machine(),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.training", description=__doc__.partition("\n")[0])
    parser.add_argument("--trees", choices=("paper", "run"), default="paper", help="which trees (%(default)s)")
    parser.add_argument("--run", type=Path, default=Path("results/mini"), help="a run's folder (%(default)s)")
    parser.add_argument("--variant", default="soft", help="the run's PRM whose tokenizer reads the paths (%(default)s)")
    parser.add_argument("--problems", type=int, help="how many problems (paper: 1, run: 24)")
    parser.add_argument("--paths", type=int, default=16, help="paper: paths a problem (%(default)s)")
    parser.add_argument("--step-tokens", type=int, default=40, help="paper: tokens a step (%(default)s)")
    parser.add_argument("--prompt", type=int, default=1900, help="paper: tokens of image and question (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="times that each arm is run (%(default)s)")
    given = parser.parse_args(arguments)
    problems = given.problems if given.problems is not None else {"paper": 1, "run": 24}[given.trees]
    if min(given.repeats, problems, given.paths, given.step_tokens, given.prompt) < 1:
        parser.error("every number must be at least 1")
    with user_errors("training"):
        if given.trees == "paper":
            groups = trees_of_shape(problems, given.paths, 8, given.step_tokens, given.prompt)
            result = compare(groups, 0, 1, VOCABULARY, given.repeats)
        else:
            files = [given.run / name for name in ("seeds/seeds.parquet", "labels/paths.parquet", "config.json")]
            prm = given.run / "prm" / given.variant
            need(*files, prm)
            instruction = configuration.read(files[2]).prompt.instruction
            groups = trees_of_run(files[0], files[1], prm, instruction, problems)
            tokenizer = folders.load_processor(prm).tokenizer
            ids = control_ids(tokenizer)
            result = compare(groups, ids[NO], ids[YES], len(tokenizer), given.repeats)
    finish({"trees": given.trees} | result)


if __name__ == "__main__":
    main()
