"""The verbs that choose seed problems and search their solutions for first errors. In: files. Out: files."""

from pathlib import Path
from typing import Annotated

from mmprm.cli.program import (
    ConfigFile,
    Out,
    OutFolder,
    PolicyFolder,
    Problems,
    SeedTable,
    ShardName,
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
    """Annotate a few problems, and print what all of them will take: rollouts, tokens, device-hours."""
    from mmprm.annotation.plan import plan

    plan(read_config(config), policy, seeds, work, out)


@on_devices
def annotate(
    config: ConfigFile, policy: PolicyFolder, seeds: SeedTable, shard: ShardName, work: Work, out: OutFolder
) -> None:
    """Search the solutions of a shard's problems for their first errors (OmegaPRM)."""
    from mmprm.annotation.annotate import annotate

    annotate(read_config(config), policy, seeds, parse_shard(shard), work, out)
