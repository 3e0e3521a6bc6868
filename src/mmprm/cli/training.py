"""The verbs that train models, and the one that measures a PRM on held-out problems. In: files. Out: files."""

from pathlib import Path
from typing import Annotated

from mmprm.cli.program import (
    ConfigFile,
    Out,
    OutFolder,
    PathTable,
    PolicyFolder,
    PrmFolder,
    Problems,
    SeedTable,
    TreeFolders,
    VariantName,
    Work,
    on_devices,
    option,
    read_config,
)


@on_devices
def train_policy(config: ConfigFile, problems: Problems, work: Work, out: OutFolder) -> None:
    """Fine-tune the base model on step-tagged solutions."""
    from mmprm.training.train_policy import train_policy

    train_policy(read_config(config), problems, work, out)


@on_devices
def train_prm(
    config: ConfigFile,
    variant: VariantName,
    policy: PolicyFolder,
    seeds: SeedTable,
    paths: PathTable,
    work: Work,
    out: OutFolder,
    extra: Annotated[list[Path] | None, option("--extra", "the problems of further paths, of read-steps")] = None,
) -> None:
    """Train a process reward model from the policy's weights."""
    from mmprm.prm.train_prm import train_prm

    train_prm(read_config(config), variant, policy, seeds, paths, work, out, extra or [])


@on_devices
def evaluate_prm(
    config: ConfigFile,
    variant: VariantName,
    policy: PolicyFolder,
    prm: PrmFolder,
    seeds: SeedTable,
    paths: PathTable,
    shards: TreeFolders,
    out: Out,
) -> None:
    """Measure a PRM, and the untrained one, on held-out problems."""
    from mmprm.evaluation.evaluate_prm import evaluate_prm

    evaluate_prm(read_config(config), variant, policy, prm, seeds, paths, shards, out)


@on_devices
def mini_base(work: Work, out: OutFolder) -> None:
    """Train the base model of the mini world (kept in models/mini-base)."""
    from mmprm.mini.train_base import train

    train(out, work)
