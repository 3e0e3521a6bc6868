"""The process reward model: P(yes) at each `<prm>` against step labels. In: a policy, trajectories. Out: a folder.

Softmax over the logits of No and Yes at the marker, cross-entropy against the soft MC value or the hard label
(specification, section 1).
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from mmprm.config import Config
from mmprm.config.training import split_model, training_seed
from mmprm.data.problem import ProblemFile
from mmprm.model import folders
from mmprm.model.step_text import MARKER, Renderer, control_ids
from mmprm.prm import vllm_head
from mmprm.prm.card import prm_card
from mmprm.prm.marker_examples import ExampleBuilder, assemble
from mmprm.prm.step_scores import tokens_of
from mmprm.runtime import disk
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.training import launch
from mmprm.training.assembly import ExampleSet
from mmprm.training.examples import check_readable
from mmprm.training.finish import finish, write_refusals
from mmprm.training.job import TrainJob
from mmprm.training.loop import TrainResult
from mmprm.training.losses import constant_loss


def train_prm(
    config: Config,
    variant: str,
    policy: Path,
    seeds: Path,
    trajectories: Path,
    work: Path,
    out: Path,
    extra: Sequence[Path] = (),
) -> None:
    """Train the named variant on the trajectories of split `train`; manifest.json is the last file of `out`.

    variant: or a further training of it, soft@1: on the same paths with another seed (see config.training_seed).

    trajectories: labels/paths.parquet; extra: the problem tables of labels.extra. Resumes from work/checkpoints. Raises
    UserError if no trajectory has a label, or too many are refused (intake.max_refused_share).
    """
    recipe, training = config.prm.recipe_of(variant), config.prm.training_of(variant)
    seed = training_seed(config.seed, split_model(variant)[1])
    packing = config.prm.packing_of(variant)
    out.mkdir(parents=True, exist_ok=True)
    (out / folders.MANIFEST).unlink(missing_ok=True)
    folders.check_manifest(policy, whole=True)  # once a run at least: the weights are read anyway
    start = initial_prm(config, policy, work / "start")
    problems = ProblemFile(seeds, *extra)
    train, held_out = _training_sets(config, variant, start, problems, trajectories, work / "examples")
    n_markers = sum(train.examples.example_index.n_labels)
    title = f"prm {variant}"
    log.info(f"{title}: {len(train.examples)} paths with {n_markers} labelled markers to train on")
    write_refusals(out, train.refusals, train.n_rows, config.intake.max_refused_share, title)
    loss: Literal["counts", "markers"] = "counts" if recipe.label == "counts" else "markers"
    trees, judged = packing == "trees", held_out.examples if held_out else ()
    result = launch.fit(TrainJob(title, start, train.examples, loss, training, seed, work, trees, judged), out)
    info: dict[str, Any] = {
        "stage": "prm",
        "variant": variant,
        "base": folders.fingerprint(policy),
        "config": {
            "prm": {"marker_init": config.prm.marker_init, "packing": packing, "label": recipe.label}
            | {"max_paths_per_problem": recipe.max_paths_per_problem, "label_set": recipe.label_set},
            "training": training.model_dump(mode="json"),
            "prompt": config.prompt.model_dump(mode="json"),
            "seed": seed,
        },
        "examples": len(train.examples),
        "problems": len(set(train.examples.example_index.problem_ids)),
        "markers": n_markers,
        "mean_label": train.label_sum / n_markers,
    }
    if held_out and recipe.label != "counts":  # whose likelihood has other constants
        info["held_out_constant"] = _beside_a_constant(title, held_out, result)
    tokenizer = folders.load_processor(out).tokenizer
    vllm_head.write(out, tokens_of(tokenizer, recipe.label == "counts"), tokenizer)
    finish(out, work, title, info, train.refusals, result, functools.partial(prm_card, config, out))


def _beside_a_constant(title: str, held_out: ExampleSet, result: TrainResult) -> float:
    """Return the held-out loss of a constant, and warn where no checkpoint of the training was below it."""
    constant = constant_loss(held_out.label_sum / sum(held_out.examples.example_index.n_labels))
    best = min((row["loss"] for row in result.held_out), default=constant)
    if best >= constant:
        log.warning(
            f"{title}: the lowest held-out loss is {best:.4f}, and always predicting the mean label loses "
            f"{constant:.4f}: the PRM has learnt nothing that holds elsewhere; annotate more, or train for less"
        )
    return constant


def _training_sets(
    config: Config, variant: str, start: Path, problems: ProblemFile, trajectories: Path, folder: Path
) -> tuple[ExampleSet, ExampleSet | None]:
    """Write the examples of split `train`, and of `dev` if training.keep_best needs them, to `folder`."""
    recipe, training = config.prm.recipe_of(variant), config.prm.training_of(variant)
    processor = folders.load_processor(start)
    renderer = Renderer(processor, config.prompt.instruction)
    builder = ExampleBuilder(problems, processor, renderer, recipe.label, training.max_length)
    tokens, most = folders.token_fingerprint(start), recipe.max_paths_per_problem
    train = assemble(trajectories, "train", folder / "train", builder, most, config.seed, tokens)
    held_out = assemble(trajectories, "dev", folder / "dev", builder, tokens=tokens) if training.keep_best else None
    if held_out is not None and not held_out.examples:
        raise UserError(
            "prm.training.keep_best: no path of split dev has a label; raise labels.dev_share, or set it to false"
        )
    check_readable(train.refusals, train.n_rows, f"training of prm {variant}")
    if not train.examples:
        raise UserError(f"no path of split train has a {recipe.label} label within {training.max_length} tokens")
    return train, held_out


def initial_prm(config: Config, policy: Path, folder: Path) -> Path:
    """Write the PRM before its training to `folder`: the policy, with prm.marker_init's embedding at `<prm>`.

    Raises UserError if the policy's tokenizer lacks a control token: such a policy made none of the trajectories. If
    input and output embeddings are tied, the marker's output row changes with it; only `label: counts` reads it.
    """
    import torch

    processor = folders.load_processor(policy)
    ids = control_ids(processor.tokenizer)
    model = folders.load_model(policy, "auto")
    pieces = processor.tokenizer.encode(config.prm.marker_init, add_special_tokens=False)
    if not pieces:
        raise UserError(f"prm.marker_init: {config.prm.marker_init!r} has no tokens; set a word or a sign, e.g. '?'")
    weight = model.get_input_embeddings().weight
    with torch.no_grad():
        weight[ids[MARKER]] = weight[pieces].mean(dim=0)
    with disk.filling(folder):
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder
