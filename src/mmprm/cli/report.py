"""The verbs that write pages and cards. In: the files of a run. Out: HTML, markdown, CSV."""

from pathlib import Path
from typing import Annotated

import typer

from mmprm.cli.program import ConfigFile, Out, option, read_config

RunFolder = Annotated[Path, option("--results", "the run's folder, results/<run>")]


def write_report(config: ConfigFile, results: RunFolder, out: Out) -> None:
    """Write the run's report as one self-contained page."""
    from mmprm.experiments.sections import EXTRAS
    from mmprm.report.page import write_report

    write_report(read_config(config), results, out, EXTRAS)


def write_data_card(
    config: ConfigFile,
    results: RunFolder,
    out: Out,
    pictures: Annotated[Path, option("--pictures", "the folder beside it to write its pictures into")],
) -> None:
    """Write the card of the run's data: all counts, licences, and a few problems."""
    from mmprm.experiments.sections import EXTRAS
    from mmprm.report.data_card import write_data_card

    write_data_card(read_config(config), results, out, pictures, EXTRAS)


def write_ablation(
    config: ConfigFile,
    ablation: Annotated[str, option("--ablation", "a key of ablations")],
    problems: Annotated[list[Path], option("--problems", "the problem table of each benchmark")],
    candidates: Annotated[list[Path], option("--candidates", "bench/<benchmark>/candidates.parquet of each")],
    scores: Annotated[list[Path], option("--scores", "bench/<benchmark>/<variant>/scores.parquet of each variant")],
    metrics: Annotated[list[Path], option("--metrics", "metrics.json of each, beside its scores")],
    out: Out,
    table: Annotated[Path, option("--table", "the CSV to write")],
    manifests: Annotated[
        list[Path] | None, option("--manifests", "prm/<variant>/manifest.json of each variant")
    ] = None,
) -> None:
    """Compare PRM variants on the same candidates, as a page and a table."""
    from mmprm.report.ablations import Ranked, write_ablation

    files = Ranked(problems, candidates, scores, metrics, manifests or [])
    write_ablation(read_config(config), ablation, files, out, table)


def write_sealed(
    config: ConfigFile,
    test: Annotated[str, option("--test", "a key of sealed")],
    results: RunFolder,
    out: Out,
) -> None:
    """Write the page of a sealed test: what was claimed, the looks, and what it showed."""
    from mmprm.report.sealed import write_sealed

    write_sealed(read_config(config), test, results, out)


def clean(
    run: Annotated[str, typer.Argument(help="the run's name, or its folder results/<run>")],
    remove: Annotated[list[str] | None, option("--remove", "kinds to remove, e.g. checkpoints journals")] = None,
) -> None:
    """Show what of a finished run can go, and remove what is asked: checkpoints, journals, parts, logs."""
    from mmprm.config.runs import find_run
    from mmprm.runtime import clean

    folder = find_run(run)
    for kind, size in clean.sizes(folder).items():
        print(f"{kind:12} {size / 2**20:10.1f} MiB   {clean.KINDS[kind][0]}")
    if remove:
        print(f"removed {clean.remove(folder, remove) / 2**20:.1f} MiB of {folder}")
