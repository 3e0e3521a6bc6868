"""The verbs that make problem tables, and the one that checks a configuration. In: files. Out: files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmprm.cli.program import ConfigFile, Out, PolicyFolder, Problems, Work, folder_of, on_devices, option, read_config
from mmprm.runtime.errors import UserError

if TYPE_CHECKING:
    from mmprm.config import Config


YamlFile = Annotated[Path, typer.Argument(help="a configuration in YAML", show_default=False)]


def config(file: YamlFile) -> None:
    """Check a configuration and print it with every default filled in."""
    print(_read_yaml(file).model_dump_json(indent=2))


def check(
    file: YamlFile,
    trial: Annotated[
        bool, typer.Option("--try", help="try models, engine and scorer here, on a small random copy of the base")
    ] = False,
) -> None:
    """Show what a run needs and costs, stage by stage, and list everything that is missing or will not fit."""
    from mmprm.preflight.examine import examine
    from mmprm.preflight.table import describe, describe_trial

    examination = examine(_read_yaml(file))
    results = Path("results") / examination.config.run
    print(describe(examination, results), flush=True)
    failed = bool(examination.faults)
    if trial:
        from mmprm.preflight.trial import try_out

        steps, remembered = try_out(examination.config, results / "work/try")
        print(describe_trial(steps, remembered), flush=True)
        failed = failed or any(step.error for step in steps)
    if failed:
        raise typer.Exit(1)


def _read_yaml(file: Path) -> Config:
    import yaml

    from mmprm.config import load

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{file}: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{file}: a configuration is a mapping of keys to values")
    return load(values)


def fetch(
    file: Annotated[Path, option("--file", "the copy that Snakemake made of a file in a store")], out: Out
) -> None:
    """Put a file that came from an object store where the configuration names it."""
    from mmprm.data.tables import replacing

    with replacing(out) as temporary:
        shutil.copyfile(file, temporary)


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

    make_source(read_config(config), source, out, refused, work, threads)


def try_data(
    data: Annotated[Path, typer.Argument(help="a file of rows, or a folder of such files", show_default=False)],
    kind: Annotated[str | None, option("--kind", "kind of source, e.g. table; else guessed")] = None,
    images: Annotated[Path | None, option("--images", "folder of relative image paths; else guessed")] = None,
    column: Annotated[list[str], option("--column", "OURS=THEIRS, e.g. answer=gold; may be repeated")] = [],  # noqa: B006
    rows: Annotated[int, typer.Option(min=1, help="how many rows to read")] = 20,
) -> None:
    """Show how the first rows of your own data are understood, and the configuration that reads them so."""
    from mmprm.problems.try_data import try_data

    pairs = [pair.partition("=") for pair in column]
    if wrong := [pair for pair, (ours, is_given, _) in zip(column, pairs, strict=True) if not ours or not is_given]:
        raise UserError(f"--column {wrong[0]}: write it as OURS=THEIRS")
    print(try_data(data, kind, images, {ours: theirs for ours, _, theirs in pairs}, rows))


def look(
    refused: Annotated[Path, typer.Argument(help="a table of refused rows", show_default=False)],
    reason: Annotated[list[str], option("--reason", "only rows refused for this; may be repeated")] = [],  # noqa: B006
    rows: Annotated[int, typer.Option(min=1, help="how many rows to show")] = 20,
    pictures: Annotated[Path | None, option("--pictures", "folder for the pictures; else a temporary one")] = None,
) -> None:
    """Show why rows were refused: reason, the words that decided, the question, and where its pictures are."""
    import tempfile

    from mmprm.problems.look import look

    print(look(refused, reason, rows, pictures or Path(tempfile.gettempdir(), f"mmprm-look-{refused.stem}")))


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

    tag(read_config(config), source, problems, work, out, refused, counts)


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

    curate(read_config(config), source, problems, tested, work, Outputs(out, refused, funnel, test), workers)


def open_seal(
    config: ConfigFile,
    test: Annotated[str, option("--test", "a key of sealed")],
    policy: PolicyFolder,
    prms: Annotated[
        list[Path], option("--prms", "the PRMs' model folders", lambda paths: [folder_of(path) for path in paths])
    ],
    out: Out,
) -> None:
    """Enter a look at a sealed test into the ledger, before its problems are drawn."""
    from mmprm.sealed.look import open_seal

    open_seal(read_config(config), test, policy, prms, out)


def draw_sealed(
    config: ConfigFile,
    source: Annotated[str, option("--source", "a key of sources, of kind mini with split sealed, or sample")],
    look: Annotated[Path, option("--look", "the look of open-seal, which has the seed")],
    out: Out,
    refused: Annotated[Path, option("--refused", "the table of refused rows to write, which has none")],
    parents: Annotated[list[Path] | None, option("--parents", "the table that a sample is of")] = None,
) -> None:
    """Draw the problems of a sealed test by the seed of its look."""
    from mmprm.sealed.look import draw_sealed

    draw_sealed(read_config(config), source, look, parents or [], out, refused)


def set_aside(
    test: Annotated[Path, option("--test", "the problems that a curated source sets aside")],
    out: Out,
    refused: Annotated[Path, option("--refused", "the table of refused rows to write, which has none")],
) -> None:
    """Publish the problems that a curated source sets aside as a source of their own."""
    from mmprm.curation.curate import publish

    publish(test, out, refused)
