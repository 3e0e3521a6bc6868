"""The verbs of the pages to look at beside the report. In: the files of a run. Out: HTML."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from mmprm.cli.program import (
    BenchmarkName,
    CandidateTable,
    ConfigFile,
    Out,
    PrmFolder,
    ProblemTable,
    ScoreTable,
    SeedTable,
    TreeFolders,
    VariantName,
    on_devices,
    option,
    read_config,
)
from mmprm.cli.report import RunFolder

RunName = Annotated[str, option("--run", "the run's name, or its folder results/<run>")]
PartFolder = Annotated[Path, option("--parts", "the folder beside the page to write its data into")]
PageToWrite = Annotated[Path | None, option("--out", "the page to write; default: in the run's folder")]


@on_devices
def score_trees(config: ConfigFile, prm: PrmFolder, seeds: SeedTable, shards: TreeFolders, out: Out) -> None:
    """Give every state of the trees the value that a PRM sees in it."""
    from mmprm.pages.score_trees import score_trees

    score_trees(read_config(config), prm, seeds, shards, out)


def write_trees(
    config: ConfigFile,
    results: RunFolder,
    out: Out,
    parts: PartFolder,
    values: Annotated[list[Path] | None, option("--values", "the table of score-trees")] = None,
) -> None:
    """Write the page of all annotated trees, which loads its data from the folder of parts."""
    from mmprm.pages.trees import write_trees

    write_trees(read_config(config), results, values or [], out, parts)


def tree(
    problem: Annotated[str, typer.Argument(help="the id of an annotated problem", show_default=False)],
    run: RunName,
    out: PageToWrite = None,
) -> None:
    """Write the page of one problem's tree, in one file, and print where it is."""
    from mmprm.config.runs import open_run
    from mmprm.pages.file_name import file_name
    from mmprm.pages.trees import write_tree

    config, folder = open_run(run)
    page = out or folder / "trees" / "one" / f"{file_name(problem)}.html"
    write_tree(config, folder, problem, page)
    print(page)


def write_candidates(
    config: ConfigFile,
    benchmark: BenchmarkName,
    variant: VariantName,
    problems: ProblemTable,
    candidates: CandidateTable,
    scores: ScoreTable,
    out: Out,
    parts: PartFolder,
) -> None:
    """Write the page of a benchmark's candidates, which loads its data from the folder of parts."""
    from mmprm.pages.candidates import write_candidates

    write_candidates(read_config(config), benchmark, variant, problems, candidates, scores, out, parts)


def compare(
    runs: Annotated[list[str], typer.Argument(help="names of runs, or their folders; all are compared with the first")],
    out: PageToWrite = None,
) -> None:
    """Compare finished runs: settings, differences on shared problems, cost; a page, and a CSV beside it."""
    from mmprm.pages.compare import open_runs, write_comparison
    from mmprm.pages.file_name import file_name

    opened = open_runs(runs)
    page = out or opened[0].folder / "compare" / f"{'-'.join(file_name(run.name) for run in opened[1:])}.html"
    write_comparison(opened, page)
    print(page)


def watch(
    run: Annotated[str, typer.Argument(help="the run's name, or its folder results/<run>, which may be a shared one")],
    every: Annotated[float, typer.Option("--every", help="seconds between two looks")] = 5.0,
    once: Annotated[
        bool, typer.Option("--once", help="look once; so does a watch whose output is no terminal")
    ] = False,
) -> None:
    """Watch a run that goes on elsewhere: stages, rates, time left, what failed and why. Only its folder is read."""
    from mmprm.config.runs import open_run
    from mmprm.workflow.terminal import watch

    config, folder = open_run(run)
    if once or not sys.stdout.isatty():
        print("\n".join(watch.in_words(watch.look(config, folder, time.time()))))
        return

    def states() -> Iterator[watch.RunState]:
        while True:
            yield watch.look(config, folder, time.time())
            time.sleep(max(0.5, every))

    with contextlib.suppress(KeyboardInterrupt):
        watch.show(states())


def write_audit(config: ConfigFile, results: RunFolder, out: Out) -> None:
    """Write the page on which people judge a sample of labelled steps, verdicts and refusals."""
    from mmprm.audit.page import write_audit

    write_audit(read_config(config), results, out)


def audit(
    marks: Annotated[list[Path], typer.Argument(help="CSV files that the audit's page saved, one a person")],
    out: Annotated[Path | None, option("--out", "also write all numbers as JSON")] = None,
) -> None:
    """Measure how far people agree with the run and with each other, and print a paragraph for the data card."""
    from mmprm.audit.agreement import agreement
    from mmprm.audit.marks import read_marks
    from mmprm.audit.words import in_words
    from mmprm.data.tables import write_json

    measured = agreement(read_marks(marks))
    print(in_words(measured))
    if out is not None:
        write_json(out, measured)
