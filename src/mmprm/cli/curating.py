"""The verbs that curate pools. In: files. Out: files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmprm.cli.program import ConfigFile, Out, Problems, Verb, Work, app, option, resolved


@app.command(cls=Verb)
def curate(
    config: ConfigFile,
    source: Annotated[str, option("--source", "a key of sources, of kind curated")],
    problems: Problems,
    work: Work,
    out: Out,
    refused: Annotated[Path, option("--refused", "the table of refused problems to write, with reasons")],
    funnel: Annotated[Path, option("--funnel", "the JSON of counts to write")],
    test: Annotated[Path, option("--test", "the table of problems that are set aside, to write")],
    tested: Annotated[list[Path], typer.Option("--tested", help="problem tables of benchmarks")] = [],  # noqa: B006
    workers: Annotated[int, typer.Option(min=1, help="processes that look at pictures")] = 1,
) -> None:
    """Keep the problems of a pool that are fit to be seeds; say why the others are not."""
    from mmprm.curation.curate import Outputs, curate

    curate(resolved(config), source, problems, tested, work, Outputs(out, refused, funnel, test), workers)


@app.command(cls=Verb)
def set_aside(
    test: Annotated[Path, option("--test", "the problems that a curated source sets aside")],
    out: Out,
    refused: Annotated[Path, option("--refused", "the table of refused rows to write, which has none")],
) -> None:
    """Publish the problems that a curated source sets aside as a source of their own."""
    from mmprm.curation.heldout_test import publish

    publish(test, out, refused)
