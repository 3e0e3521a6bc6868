"""What the rules share. In: `config`. Out: CONFIG (validated), the run's path variables, and the rules' helpers.

- Settings reach jobs through results/<run>/config.json, which `write_resolved_config` makes before the first job. It is
  no rule's output: Snakemake 9.27 does not look at the other reasons of jobs behind an ancient() input that is remade,
  and a changed learning rate would have retrained nothing.
- `affects(...)` puts only those settings into a rule's params that change its result: each is one param, so that
  `snakemake -n` names the key that changed. `version` is raised by hand when the algorithm of a rule's stage changes.
"""

import fcntl
import functools
import hashlib
import json
import re
import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from mmprm.runtime import slurm_orphans
from mmprm.config import NOT_RESULTS, load
from mmprm.runtime.errors import UserError
from mmprm.data.shards import names, stage_count
from mmprm.data.tables import write_text

try:
    CONFIG = load(config)
except UserError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{CONFIG.run}"
RESOLVED = f"{RESULTS}/config.json"

# Engines and training runs use every core they are given: at 8 threads (fewer where --cores is less) a small machine
# runs one of them at a time.
HEAVY_THREADS = 8

# With `--sdm apptainer`, jobs run in the image that containers/mmprm.def makes. The code is this folder's, not the image's.
if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:

    container: str(Path(workflow.basedir) / "containers/mmprm.sif")

    shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(Path(workflow.basedir) / 'src'))}; ")


# GPUs of a job: the rules' resource `gpu`, and what `mmprm --devices` waits for. engine.tensor_parallel and
# training.gpus set them, here alone. A server samples on devices of its own.
MODEL_GPU = CONFIG.engine.tensor_parallel
SAMPLING_GPU = 0 if CONFIG.engine.kind == "server" else MODEL_GPU
POLICY_GPU, PRM_GPU = CONFIG.policy.training.gpus, CONFIG.prm.training.gpus

# While the rules are read Snakemake does not know its executor yet (workflow.local_exec is true on a cluster, too), but
# cores are for a local run and nodes for a cluster.
LOCAL = workflow.resource_settings.cores is not None or workflow.resource_settings.nodes is None

# An engine that died is started again, and goes on from the journal. On a cluster the profile says how often, and each
# time in a new allocation: a job that started itself again would have the memory and the time that did not suffice.
RETRIES = 1 if LOCAL and workflow.is_main_process else None

# What every sampled solution depends on.
SAMPLED = ("sampling", "prompt", "seed", "engine.max_model_len", "grading.judge.identity")


pathvars:
    results=RESULTS,
    logs=f"{RESULTS}/logs",
    benchmarks=f"{RESULTS}/benchmarks",


wildcard_constraints:
    source=r"[A-Za-z0-9_-]+",
    variant=r"[A-Za-z0-9_-]+",
    benchmark=r"[A-Za-z0-9_-]+",
    strategy=r"[A-Za-z0-9_-]+",
    ablation=r"[A-Za-z0-9_-]+",
    shard=r"\d+-of-\d+",
    steps=r"[A-Za-z0-9_-]+",
    label_set=r"[A-Za-z0-9_-]+",
    file="|".join(map(re.escape, map(str, CONFIG.remote))) or "(?!)",


# Jobs find `mmprm` beside this Python without an activated environment; with --sdm conda, conda sets the PATH.
if not workflow.deployment_settings.deployment_method:
    shell.prefix(f'set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"; ')

# GPU jobs of one machine run one after another unless --resources gpu=N says otherwise.
if LOCAL and workflow.is_main_process and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", max(1, MODEL_GPU, POLICY_GPU, PRM_GPU))


def _marked(mark: Path):
    """The open file of a mark, and whether this process has it alone, as it does until it shares it (LOCK_SH)."""
    mark.parent.mkdir(parents=True, exist_ok=True)
    file = mark.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return file, False
    return file, True


def hold_folder():
    """Mark this folder as in use while this process lives, and remove the lock that a killed run left in it.

    Snakemake's own lock outlives a kill -9; the kernel's does not. Who gets this one alone knows that no run is alive.
    Returns the open file, which holds the mark, and whether it was had alone. A folder that machines share may keep the
    kernel's lock to each of them: in that of a cluster, where the last run was another's, `--unlock` is for people.
    """
    file, alone = _marked(Path(".snakemake/mmprm.in-use"))
    if alone:  # else another run is alive; whether the two touch the same files is for Snakemake to say
        file.seek(0)
        locks, host = list(Path(".snakemake/locks").glob("*.lock")), file.read()
        shared = workflow.resource_settings.nodes is not None and host not in ("", socket.gethostname())
        alone = not (locks and shared)
        if alone:
            for lock in locks:
                lock.unlink()
            file.truncate(0)
            file.write(socket.gethostname())
            file.flush()
    fcntl.flock(file, fcntl.LOCK_SH)
    return file, alone


if workflow.is_main_process:
    IN_USE, ALONE = hold_folder()

IN_RESULTS = []  # the open file whose lock says that results/<run> is in use, while this process lives


def cancel_orphans() -> None:
    """Cancel the SLURM jobs of a run that was killed in this folder, before the first job; called once."""
    if not (ALONE and workflow.executor_plugin.name == "slurm"):
        return
    try:
        cancelled = slurm_orphans.cancel(Path.cwd())
    except UserError as error:
        raise WorkflowError(str(error)) from None
    if cancelled:
        print(f"mmprm: cancelled {len(cancelled)} SLURM jobs of a run that was killed", file=sys.stderr)


def write_resolved_config() -> None:
    """Write results/<run>/config.json; called once, before the first job.

    Its jobs read it as they start: WorkflowError where a run is alive that has other settings for the same results.
    """
    text = CONFIG.model_dump_json(indent=2) + "\n"
    mark, alone = _marked(Path(f"{RESULTS}/.in-use"))
    if alone:
        write_text(Path(RESOLVED), text)
    fcntl.flock(mark, fcntl.LOCK_SH)  # waits for one that is about to write
    if Path(RESOLVED).read_text() != text:
        raise WorkflowError(
            f"{RESOLVED}: a run that is alive has other settings for these results, and its jobs would take yours; "
            "wait for its end, or give this one results of its own: --config run=..."
        )
    IN_RESULTS.append(mark)


def _flat(key: str, value: Any) -> Iterator[str]:
    """`key=value` of every leaf below a section."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            if name not in NOT_RESULTS:
                yield from _flat(f"{key}.{name}", getattr(value, name))
    else:
        yield f"{key}={json.dumps(value, default=str, ensure_ascii=False)}"


def affects(*keys: str, version: int) -> list[str]:
    """The stage's version and the settings below the dotted keys as params, e.g. affects("seed", "sampling", version=1).

    A section that is null gives no params: whoever leaves it out need not run anything again when it comes into being.
    """
    params = [f"version={version}"]
    for key in keys:
        *sections, last = key.split(".")
        section = CONFIG
        for name in sections:
            section = section and getattr(section, name)
        if section is None:
            continue
        value = getattr(section, last)
        # Snakemake fills in {wildcards} of params: braces of a value are doubled.
        params += [param.replace("{", "{{").replace("}", "}}") for param in _flat(key, value)]
    return params


def _chosen(kind: str, options: dict, name: str) -> Any:
    """An entry of the configuration that a wildcard names; WorkflowError tells which there are."""
    if name not in options:
        raise WorkflowError(f"{kind}: there is no {name!r} in the configuration; allowed: {sorted(options)}")
    return options[name]


def _contents(folder: Path) -> str:
    """Changes when a model folder does (its manifest where it has one, else its config.json); empty for none."""
    files = [folder / name for name in ("manifest.json", "config.json")]
    contents = [file.read_bytes() for file in files if file.exists()]
    return hashlib.sha256(contents[0]).hexdigest()[:16] if contents else ""


def is_local(model) -> bool:
    """Does a model that is given instructions (None: none is) run in the job itself?"""
    return model is not None and model.kind != "server"


def instructed_settings(identity: str, model) -> str:
    """What the replies of a model that is given instructions depend on; of a local one also what its folder holds."""
    weights = f"; weights={_contents(Path(model.model))}" if is_local(model) else ""
    return (identity + weights).replace("{", "{{").replace("}", "}}")


# What labels.consensus leaves, drops and counts; nothing where it is null. PRMs are trained on what it leaves.
JUDGE = CONFIG.labels.consensus
JUDGED = [f"{RESULTS}/labels/consensus.{end}" for end in ("parquet", "dropped.parquet", "json")] if JUDGE else []
TRAINING_PATHS = f"{RESULTS}/labels/{'consensus' if JUDGE else 'paths'}.parquet"
JUDGE_GPU = int(is_local(JUDGE))


def judge_settings(wildcards) -> str:
    """What the kept paths depend on beside the labelled ones."""
    if JUDGE is None:
        raise WorkflowError("labels.consensus: the configuration names no judging model; PRMs are trained on all paths")
    return instructed_settings(JUDGE.identity, JUDGE)


def label_set_settings(wildcards) -> str:
    """What the paths of a label set depend on beside the run's own labels."""
    return "; ".join(_flat("labels", _chosen("labels.sets", CONFIG.labels.sets, wildcards.label_set)))


def training_paths(wildcards) -> str:
    """What a variant is trained on: its label set, or what all others have."""
    own = _chosen("prm.variants", CONFIG.prm.variants, wildcards.variant).label_set
    return TRAINING_PATHS if own is None else f"{RESULTS}/labels/{own}/paths.parquet"


def variant_settings(wildcards) -> str:
    """A variant's recipe: what it says itself, over prm.training."""
    variant = _chosen("prm.variants", CONFIG.prm.variants, wildcards.variant)
    recipe = list(_flat("training", CONFIG.prm.training_of(wildcards.variant)))
    own = {name: getattr(variant, name) for name in ("label", "max_paths_per_problem")}
    recipe += [f"training.{name}={json.dumps(value)}" for name, value in own.items() if value is not None]
    return "; ".join(recipe)


def training_settings(wildcards) -> str:
    """What a variant's training depends on: its recipe, and how its sequences are laid out."""
    recipe = variant_settings(wildcards)
    return f"{recipe}; prm.packing={json.dumps(CONFIG.prm.packing_of(wildcards.variant))}"


def benchmark_settings(wildcards) -> str:
    """What a benchmark's measures depend on."""
    benchmark = _chosen("benchmarks", CONFIG.benchmarks, wildcards.benchmark)
    return "; ".join(_flat(f"benchmarks.{wildcards.benchmark}", benchmark))


def strategy_settings(wildcards) -> str:
    """What a strategy's choices depend on; `credibility` only where the PRM was trained on counts, and is asked for it."""
    key = f"guided.{wildcards.strategy}"
    settings = list(_flat(key, _chosen("guided", CONFIG.guided, wildcards.strategy)))
    if _chosen("prm.variants", CONFIG.prm.variants, wildcards.variant).label != "counts":
        settings = [setting for setting in settings if not setting.startswith(f"{key}.credibility=")]
    return "; ".join(settings)


def guided_measures(wildcards=None) -> list[str]:
    """What guided decoding came to, of every benchmark and variant; nothing where no strategy is configured."""
    folders = [
        f"{RESULTS}/bench/{benchmark}/{variant}" for benchmark in CONFIG.benchmarks for variant in CONFIG.prm.variants
    ]
    return [f"{folder}/guided.json" for folder in folders] if CONFIG.guided else []


def benchmark_problems(wildcards) -> str:
    """The problem table of a benchmark."""
    benchmark = _chosen("benchmarks", CONFIG.benchmarks, wildcards.benchmark)
    return f"{RESULTS}/problems/{benchmark.source}.parquet"


def ablation_tables(wildcards) -> dict[str, list[str]]:
    """The problems and candidates of an ablation's benchmarks, and the scores and metrics of its variants on them."""
    ablation = _chosen("ablations", CONFIG.ablations, wildcards.ablation)
    benches = ablation.benchmarks or list(CONFIG.benchmarks)
    variants = [f"{RESULTS}/bench/{bench}/{variant}" for bench in benches for variant in ablation.variants]
    return {
        "problems": sorted({f"{RESULTS}/problems/{CONFIG.benchmarks[bench].source}.parquet" for bench in benches}),
        "candidates": [f"{RESULTS}/bench/{bench}/candidates.parquet" for bench in benches],
        "scores": [f"{folder}/scores.parquet" for folder in variants],
        "metrics": [f"{folder}/metrics.json" for folder in variants],
        "manifests": [f"{RESULTS}/prm/{variant}/manifest.json" for variant in ablation.variants],
    }


def ablation_settings(wildcards) -> str:
    """What an ablation's page depends on beside the tables: its own settings, and its variants' recipes."""
    ablation = _chosen("ablations", CONFIG.ablations, wildcards.ablation)
    recipes = [f"{name}: {CONFIG.prm.variants[name].model_dump_json()}" for name in ablation.variants]
    return "; ".join([*_flat(wildcards.ablation, ablation), *recipes])


def ablation_pages(wildcards) -> list[str]:
    """The pages of all ablations; WorkflowError where none is configured."""
    if not CONFIG.ablations:
        more = "snakemake ablations --cores 2 --configfile workflow_config.yaml configs/overlays/ablations.yaml"
        raise WorkflowError(f"ablations: the configuration names none; for those of the mini world: {more}")
    return [f"{RESULTS}/ablations/{name}.{end}" for name in CONFIG.ablations for end in ("html", "csv")]


def outcome_scores(wildcards) -> list[str]:
    """The scores of the other variants that are trained on outcomes alone: the outcome-reward baseline."""
    variants = [name for name, variant in CONFIG.prm.variants.items() if variant.label == "outcome"]
    folder = f"{RESULTS}/bench/{wildcards.benchmark}"
    return [f"{folder}/{name}/scores.parquet" for name in variants if name != wildcards.variant]


def step_benchmark_settings(wildcards) -> str:
    """What the measures of a step benchmark depend on."""
    settings = _chosen("step_benchmarks", CONFIG.step_benchmarks, wildcards.benchmark)
    return "; ".join(_flat(f"step_benchmarks.{wildcards.benchmark}", settings))


def step_split(wildcards) -> str:
    """Which of its paths a step benchmark has."""
    return str(_chosen("step_benchmarks", CONFIG.step_benchmarks, wildcards.benchmark).split)


def _step_tables(name: str) -> list[str]:
    settings = _chosen("step_benchmarks", CONFIG.step_benchmarks, name)
    return [path.replace("<results>", RESULTS) for path in (settings.problems, settings.paths)]


def step_tables(wildcards) -> list[str]:
    """The problems and the labelled paths of a step benchmark."""
    return _step_tables(wildcards.benchmark)


def development_tables(wildcards) -> list[str]:
    """The problems, paths and scores on which a step benchmark's threshold is chosen; none where it is not."""
    name = _chosen("step_benchmarks", CONFIG.step_benchmarks, wildcards.benchmark).development
    return [*_step_tables(name), f"{RESULTS}/steps/{name}/{wildcards.variant}/scores.parquet"] if name else []


def base_files(wildcards) -> list[str]:
    """A file that every model folder has; its absence is explained."""
    file = CONFIG.policy.base / "config.json"
    if not file.exists():
        remake = "; `snakemake mini_base` makes it" if CONFIG.policy.base == Path("models/mini-base") else ""
        raise WorkflowError(f"policy.base: {CONFIG.policy.base} is no Hugging Face model folder (no {file}){remake}")
    return [str(file)]


def base_fingerprint(wildcards) -> str:
    """Changes when the base model does."""
    return f"base={_contents(CONFIG.policy.base)}"


@functools.cache
def n_shards(stage: str) -> int:
    """How many shards a stage has: as many as it was finished in, whatever the configuration says now."""
    return stage_count(stage, getattr(CONFIG.shards, stage), RESULTS, CONFIG.benchmarks)


def shards(stage: str) -> list[str]:
    """The shards of a stage: 0-of-4, 1-of-4, ..."""
    return names(n_shards(stage))


def every(stage: str, path: str) -> str:
    """A path below the run's results with {shard} in it, for all shards of the stage: what `mmprm` takes for their list."""
    return f"{RESULTS}/{path}".replace("{shard}", f"all-of-{n_shards(stage)}")


# The folders of all trees, as a command names them.
TREES = every("annotation", "annotation/{shard}")


def work(folder: str) -> str:
    """A stage's undeclared work folder: checkpoints and journals, which survive a failed job."""
    return f"{RESULTS}/work/{folder}"
