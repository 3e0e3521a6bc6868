"""The policy: supervised fine-tuning on step-tagged solutions. In: problem tables, a base model. Out: a model folder.

Runs share policies through MMPRM_CACHE: Snakemake's cache supports no rules with a benchmark, nor files whose names
only the training decides.
"""

import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm.config import Config, Training
from mmprm.data import tables
from mmprm.model import folders
from mmprm.model.image_size import limit_pixels
from mmprm.model.weight_names import publish
from mmprm.runtime import disk
from mmprm.runtime.cache import CACHE, make_folder, shared
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.training import launch
from mmprm.training.finish import finish, policy_card, write_refusals
from mmprm.training.job import TrainJob
from mmprm.training.policy_examples import assemble_solutions

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
    settings = {"policy": policy, "prompt": prompt, "seed": config.seed, "base": base}
    key = cache_key(settings, problems) if shared() else ""  # it reads the tables, which may be a terabyte
    if fetch_cached(key, out):
        log.info(f"policy: taken from {CACHE}, {key}: another run has trained it")
        return
    images = config.policy.images
    start = start_model(config.policy.base, work / "start", images.max_pixels if images else None)
    instruction, weights = config.prompt.instruction, config.policy_weights
    found = assemble_solutions(
        problems, start, work / "examples", instruction, training.max_length, weights, config.seed
    )
    examples, n_rows = found.examples, sum(map(tables.count, problems))
    if n_rows and not found.n_rows:
        raise UserError(f"policy training: weights {weights} leave none of {n_rows} rows; raise one")
    log.info(f"policy: {len(examples)} solutions to train on")
    write_refusals(out, found.refusals, found.n_rows, config.intake.max_refused_share, "policy")
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
    finish(out, work, "policy", info, found.refusals, result, functools.partial(policy_card, config, out))
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
    """Copy the model folder `out` into the cache under this key, if MMPRM_CACHE is set and does not have it.

    Where that fails, as for want of rights or room, it says so: the training has succeeded all the same.
    """
    cached = shared("models", name)
    if cached is None or cached.is_dir():
        return
    try:
        with tempfile.TemporaryDirectory(dir=make_folder(cached.parent), prefix=".") as scratch:
            copy = Path(scratch) / name
            shutil.copytree(out, copy)
            copy.rename(cached)
    except OSError as error:  # of copytree: with a list of all that failed
        if not cached.is_dir():  # else another run has just stored the same
            log.warning(f"{cached}: the policy is not kept for other runs ({str(error)[:300]})")


def start_model(base: Path, folder: Path, max_pixels: int | None = None) -> Path:
    """Write the base model with the control tokens added to `folder`, its images limited, and return the folder."""
    processor = folders.load_processor(base)
    model = folders.load_model(base, "auto")
    if max_pixels is not None:
        limit_pixels(processor, model, max_pixels)
    folders.add_control_tokens(processor, model)
    with disk.filling(folder):
        model.save_pretrained(folder)
        publish(folder)  # what is trained from here keeps these names
        processor.save_pretrained(folder)
    return folder
