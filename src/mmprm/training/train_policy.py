"""The policy: supervised fine-tuning on step-tagged solutions. In: problem tables, a base model. Out: a model folder.

The loss is on the solution alone, the end of the turn included (specification, section 1). Runs share policies through
MMPRM_CACHE: Snakemake's cache supports no rules with a benchmark, nor files whose names only the training decides.
"""

import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmprm.config import Config, Training
from mmprm.data.problem import Problem, read_problems
from mmprm.model import folders
from mmprm.model.image_size import limit_pixels
from mmprm.model.step_text import STEP_CLOSE, STEP_OPEN, Renderer, Status, control_ids, parse
from mmprm.model.tokens import cut, tokenise
from mmprm.model.weight_names import publish
from mmprm.runtime.cache import CACHE, shared
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.training import launch
from mmprm.training.examples import IGNORE, Example, ExampleRefusal
from mmprm.training.finish import finish, policy_card, write_refusals
from mmprm.training.job import TrainJob

_CACHE_VERSION = "1"  # raise it when the same inputs and settings give another model


def train_policy(config: Config, problems: list[Path], work: Path, out: Path) -> None:
    """Fine-tune config.policy.base on the problems' solutions; manifest.json is the last file of `out`.

    Resumes from work/checkpoints. out/refused.json names each row that was refused, or cut at a step to fit; raises
    UserError if too many are refused (intake.max_refused_share).
    """
    training = config.policy.training
    out.mkdir(parents=True, exist_ok=True)
    (out / folders.MANIFEST).unlink(missing_ok=True)
    base, prompt = folders.fingerprint(config.policy.base), config.prompt.model_dump(mode="json")
    exclude: Any = {"base": True, "sources": True, "training": Training.no_results()}
    exclude |= {"images": True} if config.policy.images is None else {}  # so that earlier keys stay as they are
    policy = config.policy.model_dump(mode="json", exclude=exclude)
    key = cache_key({"policy": policy, "prompt": prompt, "seed": config.seed, "base": base}, problems)
    if fetch_cached(key, out):
        log.info(f"policy: taken from {CACHE}, {key}: another run has trained it")
        return
    images = config.policy.images
    start = start_model(config.policy.base, work / "start", images.max_pixels if images else None)
    processor = folders.load_processor(start)
    rows = read_problems(*problems)
    repeats = {row.problem_id: times_repeated(row, config.policy_weights, config.seed) for row in rows}
    if rows and not any(repeats.values()):
        raise UserError(f"policy training: weights {config.policy_weights} leave none of {len(rows)} rows; raise one")
    rows = [row for row in rows if repeats[row.problem_id]]
    renderer = Renderer(processor, config.prompt.instruction)
    unique, refusals = supervised_examples(rows, processor, renderer, training.max_length)
    examples = [example for example in unique for _ in range(repeats[example.problem_id])]
    log.info(f"policy: {len(examples)} solutions to train on")
    write_refusals(out, refusals, len(rows), config.intake.max_refused_share, "policy")
    packed_tokens = config.policy.packed_tokens
    job = TrainJob("policy", start, examples, "tokens", training, config.seed, work, packed_tokens=packed_tokens)
    result = launch.fit(job, out)
    info: dict[str, Any] = {
        "stage": "policy",
        "base": base,
        "config": {
            "policy": config.policy.model_dump(mode="json"),
            "prompt": prompt,
            "seed": config.seed,
            **({"weights": config.policy_weights} if config.policy_weights else {}),
        },
        "examples": len(examples),
    }
    finish(out, work, "policy", info, refusals, result, functools.partial(policy_card, config))
    store_cached(key, out)


def cache_key(settings: dict[str, Any], problems: Sequence[Path]) -> str:
    """Hash everything that decides a training: its settings, with the start model's fingerprint, and its tables."""
    sha = hashlib.sha256(f"{_CACHE_VERSION}\x1f{json.dumps(settings, sort_keys=True)}".encode())
    for path in problems:
        with path.open("rb") as file:
            sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()[:32]


def fetch_cached(name: str, out: Path) -> bool:
    """Copy the model of this key to `out`, its manifest last; return False if there is none, or no MMPRM_CACHE.

    Others write to the cache too: what the manifest lists is copied, no links, and the copies must have its SHA-256.
    UserError where they do not.
    """
    cached = shared("models", name)
    if cached is None or not (cached / folders.MANIFEST).is_file():
        return False
    names = list(folders.check_manifest(cached)["files"])
    for file in (folders.MANIFEST, *names):
        if any(part.is_symlink() for part in (cached / file, *(cached / file).parents) if part.is_relative_to(cached)):
            raise UserError(f"{cached / file}: a link, which {CACHE} never has; delete {cached} and run again")
    with tempfile.TemporaryDirectory(dir=out, prefix=".") as scratch:
        copy = Path(scratch)
        for file in (*names, folders.MANIFEST):
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cached / file, copy / file)
        try:
            folders.check_manifest(copy, whole=True)
        except UserError as error:
            raise UserError(f"{cached} is damaged: delete it and run again ({error})") from None
        for file in (*names, folders.MANIFEST):
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            (copy / file).replace(out / file)
    return True


def store_cached(name: str, out: Path) -> None:
    """Copy the model folder `out` into the cache under this key, if MMPRM_CACHE is set and does not have it."""
    cached = shared("models", name)
    if cached is None or cached.is_dir():
        return
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".") as scratch:
        copy = Path(scratch) / name
        shutil.copytree(out, copy)
        try:
            copy.rename(cached)
        except OSError:  # another run has just stored the same
            if not cached.is_dir():
                raise


def start_model(base: Path, folder: Path, max_pixels: int | None = None) -> Path:
    """Write the base model with the control tokens added to `folder`, its images limited, and return the folder."""
    processor = folders.load_processor(base)
    model = folders.load_model(base, "auto")
    if max_pixels is not None:
        limit_pixels(processor, model, max_pixels)
    folders.add_control_tokens(processor, model)
    model.save_pretrained(folder)
    publish(folder)  # what is trained from here keeps these names
    processor.save_pretrained(folder)
    return folder


def times_repeated(problem: Problem, weights: Mapping[str, float], seed: int) -> int:
    """Return how often an epoch has a problem: its source's weight (default 1), fractions by a hash of seed and id."""
    times, fraction = divmod(weights.get(problem.source, 1.0), 1)
    digest = hashlib.sha256(f"weight {seed} {problem.problem_id}".encode()).digest()
    return int(times) + (int.from_bytes(digest[:8], "big") < fraction * 2**64)


def supervised_examples(
    problems: Sequence[Problem], processor: Any, renderer: Renderer, max_length: int
) -> tuple[list[Example], list[ExampleRefusal]]:
    """Return an example for each problem with a solution that parses and fits, and refusals with the reason.

    A solution that is too long is cut after the last step that fits; if no step fits, the row is refused.
    """
    ids = control_ids(processor.tokenizer)
    refusals, parsed_problems, texts = [], [], []
    for problem in problems:
        if problem.solution is None:
            refusals.append(ExampleRefusal(problem.problem_id, "no_solution", "the row has no solution"))
            continue
        parsed = parse(problem.solution)
        if parsed.status is not Status.OK or parsed.answer is None:
            detail = f"its solution is not <step>…</step>…<answer>…</answer> ({parsed.status.value}); "
            detail += "a source of kind tagged puts a raw one into steps"
            refusals.append(ExampleRefusal(problem.problem_id, "unparsed_solution", detail))
            continue
        parsed_problems.append((problem, len(parsed.steps)))
        texts.append("".join(renderer.supervised(problem, parsed.steps, parsed.answer)))

    examples = []
    images = [problem.images for problem, _ in parsed_problems]
    for (problem, n_steps), tokens in zip(parsed_problems, tokenise(processor, texts, images), strict=True):
        sequence = tokens["input_ids"]
        # Not the length of a prompt tokenised by itself: the solution starts at the first of its own <step> tokens.
        opened = np.flatnonzero(sequence == ids[STEP_OPEN])
        if len(opened) < n_steps:
            raise UserError(f"{problem.problem_id}: {n_steps} steps gave {len(opened)} <step> tokens")
        start, length = int(opened[-n_steps]), len(sequence)
        if length > max_length:
            closed = np.flatnonzero(sequence == ids[STEP_CLOSE]) + 1
            fitting = closed[(closed > start) & (closed <= max_length)]
            detail = f"{length} tokens of at most {max_length}, {start} of them before the solution"
            if len(fitting) == 0:
                refusals.append(ExampleRefusal(problem.problem_id, "too_long", detail))
                continue
            length = int(fitting[-1])
            refusals.append(ExampleRefusal(problem.problem_id, "cut_at_a_step", detail, excused=True))
        labels = sequence[:length].copy()
        labels[:start] = int(IGNORE)
        examples.append(Example(problem.problem_id, cut(tokens, length), labels, problem.images))
    return examples, refusals
