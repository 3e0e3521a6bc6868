"""Everything that can be known of a run before it starts. In: the configuration. Out: an Examination.

The checks at the start of a run, `mmprm check` and `snakemake plan` share it. It takes a fraction of a second, plus
what a server needs to answer.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmprm.config import Config
from mmprm.preflight import inventory
from mmprm.preflight.costs import Cost, Estimate
from mmprm.preflight.disk import disk_needs
from mmprm.preflight.findings import Finding, as_list, found
from mmprm.preflight.fits import device_memory, engine_memory, training_need, unfit
from mmprm.preflight.images import image_tokens
from mmprm.preflight.jobs import trainings
from mmprm.preflight.machine import Machine, machine_of
from mmprm.preflight.memory import GIB
from mmprm.preflight.pictured import needs_images
from mmprm.preflight.shape import BaseShape, UnknownSizesError, read_shape
from mmprm.runtime.errors import UserError

# Rules that a stage's findings are about; all others start whatever is found.
STAGES = {
    "intake": "problems",
    "tag": "problems",
    "train_policy": "policy",
    "sample_seeds": "seeds",
    "plan": "annotation",
    "annotate": "annotation",
    "judge_labels": "labels",
    "read_steps": "labels",
    "train_prm": "prm",
    "evaluate_prm": "prm",
    "sample_candidates": "bench",
    "score_candidates": "bench",
    "decode_guided": "bench",
    "score_steps": "bench",
}


_SAMPLING = ("seeds", "annotation", "bench")


@dataclass(frozen=True)
class Examination:
    """What is known of a run. `shape` is None where the base is not there, and no model of its name is known."""

    config: Config
    machine: Machine
    shape: BaseShape | None
    images: tuple[int, int] | None
    findings: list[Finding]

    @property
    def faults(self) -> list[Finding]:
        """What ends a run at its start."""
        return [finding for finding in self.findings if finding.fatal]

    def costs(self, results: Path | None = None) -> list[Cost]:
        """Return tokens and GPU-hours of the stages; none where the base is not known."""
        if self.shape is None:
            return []
        return Estimate(self.config, self.shape, self.machine, self.images or (0, 0), results).costs()

    def memory(self) -> Iterator[tuple[str, str, float, float | None]]:
        """Yield what stages need of a device: stage, what for, bytes, and the bytes that it has (None: unknown)."""
        if self.shape is None:
            return
        has, _ = device_memory(self.machine)
        for job in trainings(self.config):
            need = training_need(self.config, self.shape, job, (self.images or (0, 0))[1])
            yield job.stage if job.variant is None else f"prm {job.variant}", "training", need, has
        engine = engine_memory(self.config, self.shape, self.machine)
        if engine is not None:
            text = f"sampling, up to {min(engine.sequences, self.config.engine.max_running)} longest sequences at once"
            # vLLM takes what it is given: the cache is whatever the weights leave.
            yield "seeds, annotation, bench", text, engine.weights + engine.cache, has

    def disk(self, results: Path | None = None) -> dict[str, float]:
        """Return the bytes that tables, models, examples and checkpoints take, by stage."""
        return disk_needs(self.config, self.shape, results) if self.shape else {}


def examine(config: Config, here: bool = True) -> Examination:
    """Examine a run. here: whether its jobs run on this machine, whose GPUs and memory then count."""
    machine = machine_of(config.hardware, Path("results"), here)
    findings = inventory.missing(config)
    shape, images = None, None
    try:
        shape = read_shape(config.policy.base)
        images = _images(config, shape) if shape else None
    except UnknownSizesError as error:
        text = f"{error}: memory and costs are not calculated; `mmprm check --try` tells whether it can be used"
        findings.append(found("policy.base", text, "policy", fatal=False))
    except UserError as error:
        findings.append(found("policy.base", str(error), "policy"))
    if shape is not None:
        findings += unfit(config, shape, machine, images[1] if images else None)
        findings += needs_images(config, shape, Path("results", config.run))
    if machine.gpus is None and machine.gpu_bytes is None:
        text = "the jobs run on other machines, which are not described: set hardware.gpu and hardware.gpus"
        findings.append(found("hardware", f"{text} to have memory and costs checked", *STAGES.values(), fatal=False))
    return Examination(config, machine, shape, images, findings)


def _images(config: Config, shape: BaseShape) -> tuple[int, int] | None:
    """Return the tokens of a small image and of the largest: as expected, or else what the base's processor makes."""
    if config.expected.image_tokens is not None:
        low, high = config.expected.image_tokens
        return math.floor(low), math.ceil(high)
    limit = config.policy.images.max_pixels if config.policy.images else None
    known = image_tokens(config.policy.base, shape.config, limit)
    if known and all(source.kind in ("mini", "curated", "set_aside") for source in config.sources.values()):
        return known[0], known[0]  # drawn figures are as large as one tile
    return known


def at_start(config: Config, rules: Collection[str], here: bool, more: Collection[Finding] = ()) -> list[str]:
    """Check a run as it starts. rules: those that have jobs to run; more: findings about the cluster.

    Returns warnings. UserError lists everything that is missing or will not fit, unless `preflight` is `warn`.
    """
    stages = {STAGES[rule] for rule in rules if rule in STAGES}
    if not stages:
        return []
    listed = [*examine(config, here).findings, *(_gpus_here(config) if here else ()), *more]
    findings = [finding for finding in listed if finding.stages & stages]
    faults = [finding for finding in findings if finding.fatal]
    if faults and config.preflight == "stop":
        raise UserError(as_list(faults, fault_head(len(faults))))
    return list(dict.fromkeys(finding.line.strip() for finding in findings))


def _gpus_here(config: Config) -> Iterator[Finding]:
    """Compare the GPUs that the configuration names with those of this machine, on which the jobs will run."""
    if not config.hardware.gpus:
        return
    there = machine_of(config.hardware.model_copy(update={"gpus": None, "gpu": None}), Path("results")).gpus or 0
    needs = [(job.stage, f"{job.key}.gpus", job.training.gpus) for job in trainings(config)]
    if config.engine.kind != "server":
        needs += [(stage, "engine.tensor_parallel", config.engine.tensor_parallel) for stage in _SAMPLING]
    for stage, key, count in needs:
        if count > there:
            text = (
                f"{count} GPUs, but this machine has {there or 'none'}; run it where hardware.gpus is true, or set both"
            )
            yield found(key, text, stage)


def require_files(config: Config) -> None:
    """Raise UserError with everything that is missing: for a job that finds one of its files missing."""
    if lacking := [finding for finding in inventory.missing(config) if finding.fatal]:
        raise UserError(as_list(lacking, fault_head(len(lacking))))


def fault_head(count: int) -> str:
    """Return the first line of a list of faults."""
    things = "thing is" if count == 1 else "things are"
    return f"{count} {things} missing or will not fit (preflight; `mmprm check CONFIG` shows the arithmetic):"


def gib(amount: float | None) -> str:
    """Write bytes in GiB."""
    return "?" if amount is None else f"{amount / GIB:,.1f} GiB" if amount >= GIB / 10 else f"{amount / 2**20:,.0f} MiB"
