"""The verbs that make labelled step paths from trees and from step data. In: files. Out: files."""

from pathlib import Path
from typing import Annotated

from mmprm.cli.program import ConfigFile, Out, PathTable, SeedTable, TreeFolders, option, read_config


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
