"""The process reward model: P(yes) at each `<prm>` against step labels. In: a policy, step paths. Out: a model folder.

Softmax over the logits of No and Yes at the marker, cross-entropy against the soft MC value or the hard label
(specification, section 1). Text and markers come from `Renderer.marked`, as in scoring.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, ProblemFile
from mmprm.model import folders
from mmprm.model.hf_env import prepare
from mmprm.model.step_text import MARKER, Renderer, control_ids
from mmprm.model.tokens import cut, tokenise
from mmprm.runtime.errors import UserError
from mmprm.runtime.progress import Bar
from mmprm.training import cards, data, launch
from mmprm.training.job import TrainJob
from mmprm.training.progress import Progress, quiet
from mmprm.training.store import Examples, ExampleWriter

_ROWS_AT_ONCE = 512  # paths that are tokenised together


def train_prm(
    config: Config,
    variant: str,
    policy: Path,
    seeds: Path,
    paths: Path,
    work: Path,
    out: Path,
    extra: Sequence[Path] = (),
) -> None:
    """Train the named variant on the paths of split `train`; manifest.json is the last file of `out`.

    extra: the problem tables of labels.extra. Resumes from work/checkpoints. Raises UserError where no path has a
    label, or past intake.max_refused_share.
    """
    prepare()
    quiet()
    recipe = config.prm.variants[variant]
    training, packing = config.prm.training_of(variant), config.prm.packing_of(variant)
    say = Progress(f"prm {variant}").say
    out.mkdir(parents=True, exist_ok=True)
    (out / folders.MANIFEST).unlink(missing_ok=True)
    folders.check_manifest(policy)
    start = initial_prm(config, policy, work / "start")
    processor = folders.load_processor(start)
    problems = ProblemFile(seeds, *extra)
    how = (problems, processor, Renderer(processor, config.prompt.instruction), recipe.label, training.max_length)
    limit = (recipe.max_paths_per_problem, config.seed)
    shutil.rmtree(work / "examples", ignore_errors=True)
    train = assemble(paths, "train", work / "examples" / "train", *how, limit=limit)
    examples, refused = train.examples, train.refused
    held_out = assemble(paths, "dev", work / "examples" / "dev", *how).examples if training.keep_best else ()
    if training.keep_best and not held_out:
        raise UserError(
            "prm.training.keep_best: no path of split dev has a label; raise labels.dev_share, or set it to false"
        )
    if not examples:
        fits = f"fits into {training.max_length} tokens"
        raise UserError(f"no path of split train has a {recipe.label} label that {fits}")
    tables.write_json(out / "refused.json", [asdict(refusal) for refusal in refused])
    n_markers = sum(examples.outline.n_labels)
    say(f"{len(examples)} paths, {n_markers} labelled markers; refused or cut: {data.reasons(refused) or 'none'}")
    data.bound_refusals(refused, train.n_paths, config.intake.max_refused_share, f"PRM training ({variant})")
    loss: Literal["counts", "markers"] = "counts" if recipe.label == "counts" else "markers"
    job = TrainJob(f"prm {variant}", start, examples, loss, training, config.seed, work, packing == "trees", held_out)
    outcome = launch.fit(job, out)

    info: dict[str, Any] = {
        "stage": "prm",
        "variant": variant,
        "base": folders.fingerprint(policy),
        "config": {
            "prm": {"marker_init": config.prm.marker_init, "packing": packing, "label": recipe.label}
            | {"max_paths_per_problem": recipe.max_paths_per_problem, "label_set": recipe.label_set},
            "training": training.model_dump(mode="json"),
            "prompt": config.prompt.model_dump(mode="json"),
            "seed": config.seed,
        },
        "examples": len(examples),
        "problems": len(set(examples.outline.problem_ids)),
        "markers": n_markers,
        "mean_label": train.label_sum / n_markers,
        "refused": data.reasons(refused),
        "steps": outcome.steps,
        "final_loss": outcome.loss,
        "seconds": round(outcome.seconds, 1),
    }
    tables.write_json(out / "losses.json", outcome.history)
    if outcome.held_out:
        info["held_out_losses"] = outcome.held_out
    tables.write_text(out / "README.md", cards.prm_card(config, info))
    folders.write_manifest(out, info)
    for leftover in ("checkpoints", "start", "examples"):
        shutil.rmtree(work / leftover, ignore_errors=True)
    say(f"{outcome.steps} updates in {outcome.seconds:.0f} s, loss {outcome.loss:.4f}")


@dataclass(frozen=True)
class Assembled:
    """A training set on disk, the paths that were refused or cut, how many paths there were, and its labels' sum."""

    examples: Examples
    refused: list[data.ExampleRefusal]
    n_paths: int
    label_sum: float


def assemble(
    paths: Path,
    split: str,
    file: Path,
    problems: ProblemFile,
    processor: Any,
    renderer: Renderer,
    label: str,
    max_length: int,
    limit: tuple[int | None, int] = (None, 0),
) -> Assembled:
    """`marked_examples` of a split of the table `paths` as a file, a few problems in memory at a time.

    limit: the most paths a problem, and the seed by which they are drawn. Raises UserError where the table does not
    have the paths of a problem side by side.
    """
    refused: list[data.ExampleRefusal] = []
    n_paths = done = 0
    with ExampleWriter(file) as writer, Bar(f"paths ({split})", tables.count(paths), "read") as bar:
        for rows in _whole_problems(paths):
            done += len(rows)
            bar.update(done)
            chosen = limit_paths([row for row in rows if row["split"] == split], *limit)
            n_paths += len(chosen)
            made, more = marked_examples(chosen, problems, processor, renderer, label, max_length)
            refused += more
            for example in made:
                writer.add(example)
        return Assembled(writer.examples(), refused, n_paths, writer.label_sum)


def _whole_problems(paths: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows of a table of paths in lists of several whole problems each."""
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    stream = (row for part in tables.batches(paths, schemas.PATHS) for row in part.to_pylist())
    for name, own in groupby(stream, key=itemgetter("problem_id")):
        if name in seen:
            raise UserError(f"{paths}: problem {name!r} is in two places of the table; delete it and run again")
        seen.add(name)
        rows += own
        if len(rows) >= _ROWS_AT_ONCE:
            yield rows
            rows = []
    yield rows


def initial_prm(config: Config, policy: Path, folder: Path) -> Path:
    """The PRM before its training: the policy, with the embedding of prm.marker_init at `<prm>`. Returns `folder`.

    Raises UserError where the policy's tokenizer lacks a control token: a policy without them made none of the paths.
    Where input and output embeddings are tied, the marker's output row changes with it; `label: counts` alone reads it.
    """
    import torch

    processor = folders.load_processor(policy)
    ids = control_ids(processor.tokenizer)
    model = folders.load_model(policy, "auto")
    pieces = processor.tokenizer.encode(config.prm.marker_init, add_special_tokens=False)
    if not pieces:
        raise UserError(f"prm.marker_init: {config.prm.marker_init!r} has no tokens; give a word or a sign, e.g. '?'")
    weight = model.get_input_embeddings().weight
    with torch.no_grad():
        weight[ids[MARKER]] = weight[pieces].mean(dim=0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def limit_paths(rows: Sequence[dict[str, Any]], most: int | None, seed: int) -> list[dict[str, Any]]:
    """At most `most` paths a problem, drawn by the seed and the path's id, so that they do not depend on the order."""
    if most is None:
        return list(rows)
    by_problem: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_problem[row["problem_id"]].append(row)
    kept = set()
    for group in by_problem.values():
        group.sort(key=lambda row: hashlib.sha256(f"{seed}/{row['path_id']}".encode()).digest())
        kept |= {row["path_id"] for row in group[:most]}
    return [row for row in rows if row["path_id"] in kept]


def marker_labels(row: Mapping[str, Any], label: str) -> np.ndarray:
    """The label of each marker of a path as float32; IGNORE where it is not known.

    hard: the `hard` column. soft: the `soft` column. counts: n_correct / n_rollouts where there are rollouts; after
    the answer, a whole solution, its verdict, and so where a verdict was given without counts (step data). outcome:
    the verdict after the answer, and nothing at the steps.
    """
    sources = list(zip(row["hard"], row["label_source"], strict=True))
    answers = [hard if source == "answer" else None for hard, source in sources]
    if label == "counts":
        verdicts = [hard if source in ("answer", "given") else None for hard, source in sources]
        pairs = zip(row["n_correct"], row["n_rollouts"], answers, verdicts, strict=True)
        values = [right / n if n and answer is None else verdict for right, n, answer, verdict in pairs]
    else:
        values = {"hard": row["hard"], "soft": row["soft"], "outcome": answers}[label]
    return np.asarray([data.IGNORE if value is None else value for value in values], dtype=np.float32)


def marker_trials(row: Mapping[str, Any]) -> np.ndarray:
    """Of how many rollouts each marker's MC value is the mean, as float32; 1 for a mere verdict, and for none."""
    pairs = zip(row["n_rollouts"], row["label_source"], strict=True)
    return np.asarray([1 if source == "answer" or not n else n for n, source in pairs], dtype=np.float32)


def marked_examples(
    rows: Sequence[Mapping[str, Any]],
    problems: Mapping[str, Problem] | ProblemFile,
    processor: Any,
    renderer: Renderer,
    label: str,
    max_length: int,
) -> tuple[list[data.Example], list[data.ExampleRefusal]]:
    """An example for each path with a label that fits; the others, and the paths that were cut, with the reason.

    Raises UserError where the markers in the tokens are not as many as the labels (defects 4, 7 and 8).
    """
    marker = control_ids(processor.tokenizer)[MARKER]
    for row in rows:
        if row["problem_id"] not in problems:
            raise UserError(f"path {row['path_id']}: there is no problem {row['problem_id']} in the problem tables")
    texts = [renderer.marked(problems[row["problem_id"]], row["steps"], row["answer"]) for row in rows]
    images = [problems[row["problem_id"]].images for row in rows]
    examples, refused = [], []
    for row, tokens in zip(rows, tokenise(processor, texts, images), strict=True):
        problem = problems[row["problem_id"]]
        sequence, values = tokens["input_ids"], marker_labels(row, label)
        markers = np.flatnonzero(sequence == marker)
        blocks = len(row["steps"]) + (row["answer"] is not None)
        if not len(markers) == len(values) == blocks:
            raise UserError(
                f"path {row['path_id']} of {row['problem_id']}: {len(markers)} markers in its tokens, {len(values)} "
                f"labels, {blocks} steps and answer; remake labels/paths.parquet"
            )
        whole = f"{len(sequence)} tokens of at most {max_length}"
        if len(sequence) > max_length:
            fitting = markers < max_length
            markers, dropped, values = markers[fitting], int((~fitting).sum()), values[fitting]
            if len(markers) == 0:
                refused.append(data.ExampleRefusal(problem.problem_id, "too_long", f"path {row['path_id']}: {whole}"))
                continue
            detail = f"path {row['path_id']}: {whole}; {dropped} labels dropped"
            refused.append(data.ExampleRefusal(problem.problem_id, "cut_at_a_step", detail, excused=True))
        if (values == data.IGNORE).all():
            detail = f"path {row['path_id']}: no {label} label"
            refused.append(data.ExampleRefusal(problem.problem_id, "no_label", detail, excused=True))
            continue
        length = int(markers[-1]) + 1
        labels = np.full(length, data.IGNORE, dtype=np.float32)
        labels[markers] = values
        trials = None
        if label == "counts":
            trials = np.ones(length, dtype=np.float32)
            trials[markers] = marker_trials(row)[: len(markers)]
        examples.append(data.Example(problem.problem_id, cut(tokens, length), labels, problem.images, trials))
    return examples, refused
