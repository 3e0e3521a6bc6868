"""The verbs from problems to a PRM. In: files. Out: files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmprm.cli.program import (
    ConfigFile,
    Out,
    OutFolder,
    PathTable,
    PolicyFolder,
    PrmFolder,
    Problems,
    SeedTable,
    ShardName,
    TreeFolders,
    VariantName,
    Verb,
    Work,
    app,
    folder_of,
    on_devices,
    option,
    resolved,
    shard_of,
)
from mmprm.runtime.errors import UserError


@app.command(cls=Verb)
def config(file: Annotated[Path, typer.Argument(help="a configuration in YAML", show_default=False)]) -> None:
    """Check a configuration and print it with every default filled in."""
    import yaml

    from mmprm.config import load

    try:
        values = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{file}: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{file}: a configuration is a mapping of keys to values")
    print(load(values).model_dump_json(indent=2))


@app.command(cls=Verb)
def fetch(
    file: Annotated[Path, option("--file", "the copy that Snakemake made of a file in a store")], out: Out
) -> None:
    """Put a file that came from an object store where the configuration names it."""
    import shutil

    from mmprm.data.tables import replacing

    with replacing(out) as temporary:
        shutil.copyfile(file, temporary)


@app.command(cls=Verb)
def intake(
    config: ConfigFile,
    source: Annotated[str, option("--source", "a key of sources")],
    out: Out,
    refused: Annotated[Path, option("--refused", "the table of refused rows to write")],
    work: Annotated[Path | None, option("--work", "folder for checked rows, which survive a kill")] = None,
    threads: Annotated[int, typer.Option(min=1, help="processes that check rows")] = 1,
) -> None:
    """Read one source into a problem table, and refuse what cannot be used."""
    from mmprm.problems.intake import make_source

    make_source(resolved(config), source, out, refused, work, threads)


@app.command(cls=Verb)
@on_devices
def tag(
    config: ConfigFile,
    source: Annotated[str, option("--source", "a key of sources, of kind tagged")],
    problems: Problems,
    work: Work,
    out: Out,
    refused: Annotated[Path, option("--refused", "the table of refused solutions to write")],
    counts: Annotated[Path, option("--counts", "the JSON of counts to write")],
) -> None:
    """Rewrite solutions into steps and an answer: by rules, or by a model."""
    from mmprm.tagging.tag import tag

    tag(resolved(config), source, problems, work, out, refused, counts)


@app.command(cls=Verb)
@on_devices
def train_policy(config: ConfigFile, problems: Problems, work: Work, out: OutFolder) -> None:
    """Fine-tune the base model on step-tagged solutions."""
    from mmprm.training.train_policy import train_policy

    train_policy(resolved(config), problems, work, folder_of(out))


@app.command(cls=Verb)
@on_devices
def sample_seeds(
    config: ConfigFile, policy: PolicyFolder, problems: Problems, shard: ShardName, work: Work, out: Out
) -> None:
    """Sample and grade rollouts of each problem, to see which are worth annotating."""
    from mmprm.rollouts.sampling import sample_seeds

    sample_seeds(resolved(config), folder_of(policy), problems, shard_of(shard), work, out)


@app.command(cls=Verb)
def select_seeds(
    config: ConfigFile,
    problems: Problems,
    rollouts: Annotated[list[Path], option("--rollouts", "graded rollouts of all shards")],
    seeds: Annotated[Path, option("--seeds", "the table of kept problems to write")],
    decisions: Annotated[Path, option("--decisions", "the table of every problem's decision to write")],
    statistics: Annotated[Path, option("--statistics", "the JSON of counts, and of what was saved, to write")],
) -> None:
    """Keep the problems that the policy sometimes solves."""
    from mmprm.seeds.select import select_seeds

    select_seeds(resolved(config), problems, rollouts, seeds, decisions, statistics)


@app.command(cls=Verb)
@on_devices
def plan(
    config: ConfigFile,
    policy: PolicyFolder,
    seeds: SeedTable,
    work: Work,
    out: Annotated[Path, option("--out", "the JSON of costs to write")],
) -> None:
    """Annotate a few problems, and print what all of them will take: rollouts, tokens, device-hours."""
    from mmprm.annotation.plan import plan

    plan(resolved(config), folder_of(policy), seeds, work, out)


@app.command(cls=Verb)
@on_devices
def annotate(
    config: ConfigFile, policy: PolicyFolder, seeds: SeedTable, shard: ShardName, work: Work, out: OutFolder
) -> None:
    """Search the solutions of a shard's problems for their first errors (OmegaPRM)."""
    from mmprm.annotation.annotate import annotate

    annotate(resolved(config), folder_of(policy), seeds, shard_of(shard), work, folder_of(out))


@app.command(cls=Verb)
def read_steps(
    config: ConfigFile,
    name: Annotated[str, option("--name", "a key of step_data")],
    out: Out,
    benchmarks: Annotated[list[Path] | None, option("--benchmarks", "problem tables that it must not share")] = None,
) -> None:
    """Read labelled steps from elsewhere, and refuse those of a benchmark's problems."""
    from mmprm.step_data.read_steps import read_steps

    read_steps(resolved(config), name, benchmarks or [], out)


@app.command(cls=Verb)
def gather_labels(
    config: ConfigFile,
    seeds: SeedTable,
    shards: TreeFolders,
    out: Out,
    statistics: Annotated[Path, option("--statistics", "the JSON of label statistics to write")],
    extra: Annotated[list[Path] | None, option("--extra", "tables of further paths, of read-steps")] = None,
    label_set: Annotated[str | None, option("--set", "a key of labels.sets; default: the run's own labels")] = None,
) -> None:
    """Turn the trees of all shards into labelled step paths."""
    from mmprm.experiments.cleaning import ExperimentalCleaning
    from mmprm.labels.gather import gather_labels

    settings, folders = resolved(config), [folder_of(shard) for shard in shards]
    cleaning = ExperimentalCleaning(settings.labels.of(label_set))
    gather_labels(settings, seeds, folders, out, statistics, cleaning, extra or [])


@app.command(cls=Verb)
@on_devices
def judge_labels(
    config: ConfigFile,
    seeds: SeedTable,
    paths: PathTable,
    work: Work,
    out: Out,
    dropped: Annotated[Path, option("--dropped", "the table of dropped paths to write")],
    counts: Annotated[Path, option("--counts", "the JSON of counts to write")],
) -> None:
    """Keep the training paths whose first error a judging model finds where the labels have it."""
    from mmprm.experiments.consensus.judge_labels import judge_labels

    judge_labels(resolved(config), seeds, paths, work, out, dropped, counts)


@app.command(cls=Verb)
def measure_labels(
    config: ConfigFile,
    seeds: SeedTable,
    paths: PathTable,
    shards: TreeFolders,
    out: Out,
    agreed: Annotated[list[Path] | None, option("--agreed", "the paths that judge-labels has kept")] = None,
) -> None:
    """Compare the labels of mini problems with the truth of their steps."""
    from mmprm.labels.label_accuracy import measure_labels

    measure_labels(resolved(config), seeds, paths, [folder_of(shard) for shard in shards], out, agreed or [])


@app.command(cls=Verb)
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

    train_prm(resolved(config), variant, folder_of(policy), seeds, paths, work, folder_of(out), extra or [])


@app.command(cls=Verb)
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
    from mmprm.prm.heldout import evaluate_prm

    folders = [folder_of(shard) for shard in shards]
    evaluate_prm(resolved(config), variant, folder_of(policy), folder_of(prm), seeds, paths, folders, out)


@app.command(cls=Verb)
@on_devices
def mini_base(work: Work, out: OutFolder) -> None:
    """Train the base model of the mini world (kept in models/mini-base)."""
    from mmprm.mini.train_base import train

    train(folder_of(out), work)
