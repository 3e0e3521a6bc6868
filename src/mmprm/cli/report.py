"""The verbs that write pages and cards. In: the files of a run. Out: HTML, markdown, CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mmprm.cli.program import ConfigFile, Out, option, read_config

if TYPE_CHECKING:
    from mmprm.report.extras import ReportExtra


def write_report(
    config: ConfigFile, results: Annotated[Path, option("--results", "the run's folder, results/<run>")], out: Out
) -> None:
    """Write the run's report as one self-contained page."""
    from mmprm.report.page import write_report

    write_report(read_config(config), results, out, _extras())


def _extras() -> list[ReportExtra]:
    """Return what the experiments add to report and data card."""
    from mmprm.experiments.consensus.consensus_section import ConsensusSection
    from mmprm.experiments.guided.guided_section import GuidedSection

    return [GuidedSection(), ConsensusSection()]


def write_data_card(
    config: ConfigFile,
    results: Annotated[Path, option("--results", "the run's folder, results/<run>")],
    out: Out,
    pictures: Annotated[Path, option("--pictures", "the folder beside it to write its pictures into")],
) -> None:
    """Write the card of the run's data: all counts, licences, and a few problems."""
    from mmprm.report.data_card import write_data_card

    write_data_card(read_config(config), results, out, pictures, _extras())


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
