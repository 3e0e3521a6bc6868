"""The verbs that choose seed problems, annotate their solutions and make labelled step paths of them."""

from pathlib import Path
from typing import Annotated

from mmprm.cli.program import (
    ConfigFile,
    Out,
    OutFolder,
    PathTable,
    PolicyFolder,
    Problems,
    SeedTable,
    ShardName,
    TreeFolders,
    Work,
    on_devices,
    option,
    parse_shard,
    read_config,
)


@on_devices
def sample_seeds(
    config: ConfigFile, policy: PolicyFolder, problems: Problems, shard: ShardName, work: Work, out: Out
) -> None:
    """Sample and grade rollouts of each problem, to see which are worth annotating."""
    from mmprm.experiments.blank_image import blanked
    from mmprm.seeds.sample import sample_seeds

    settings = read_config(config)
    blank = blanked if settings.seeds.blank_image else None
    sample_seeds(settings, policy, problems, parse_shard(shard), work, out, blanked=blank)


def select_seeds(
    config: ConfigFile,
    problems: Problems,
    rollouts: Annotated[list[Path], option("--rollouts", "graded rollouts of all shards")],
    seeds: Annotated[Path, option("--seeds", "the table of kept problems to write")],
    decisions: Annotated[Path, option("--decisions", "the table of every problem's decision to write")],
    statistics: Annotated[Path, option("--statistics", "the JSON of counts, and of what was saved, to write")],
) -> None:
    """Keep the problems that the policy sometimes solves."""
    from mmprm.experiments.blank_image import BlankImageComparison
    from mmprm.seeds.select import select_seeds

    settings = read_config(config)
    comparison = BlankImageComparison(settings.seeds)
    select_seeds(settings, problems, rollouts, seeds, decisions, statistics, comparison)


@on_devices
def plan(
    config: ConfigFile,
    policy: PolicyFolder,
    seeds: SeedTable,
    work: Work,
    out: Annotated[Path, option("--out", "the JSON of costs to write")],
) -> None:
    """Annotate a few problems, and print what annotation and all other stages take: tokens, device-hours."""
    from mmprm.annotation.plan import plan
    from mmprm.preflight.stage_plan import plan_stages

    settings = read_config(config)
    plan(settings, policy, seeds, work, out)
    plan_stages(settings, policy, seeds, out)


@on_devices
def annotate(
    config: ConfigFile, policy: PolicyFolder, seeds: SeedTable, shard: ShardName, work: Work, out: OutFolder
) -> None:
    """Search the solutions of a shard's problems for their first errors (OmegaPRM)."""
    from mmprm.annotation.annotate import annotate

    annotate(read_config(config), policy, seeds, parse_shard(shard), work, out)


def read_steps(
    config: ConfigFile,
    name: Annotated[str, option("--name", "a key of step_data")],
    out: Out,
    benchmarks: Annotated[list[Path] | None, option("--benchmarks", "problem tables that it must not share")] = None,
) -> None:
    """Read labelled steps from elsewhere, and refuse those of a benchmark's problems."""
    from mmprm.step_data.read_steps import read_steps

    read_steps(read_config(config), name, benchmarks or [], out)


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

    settings = read_config(config)
    cleaning = ExperimentalCleaning(settings.labels.of(label_set))
    gather_labels(settings, seeds, shards, out, statistics, cleaning, extra or [])


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

    judge_labels(read_config(config), seeds, paths, work, out, dropped, counts)


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

    measure_labels(read_config(config), seeds, paths, shards, out, agreed or [])
