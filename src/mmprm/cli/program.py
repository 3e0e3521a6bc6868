"""What all verbs share: the program, its options, and how their values are read. In: arguments. Out: values.

A UserError is printed without a traceback, and so is what a user can mend of the file system: a full disk, a folder
that cannot be written. The exit status is 2. Where an option takes a folder, any file in it may
be given.
"""

from __future__ import annotations

import atexit
import functools
import gc
import inspect
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from mmprm.runtime import disk
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import write_line

if TYPE_CHECKING:
    from mmprm.config import Config
    from mmprm.data.shards import Shard


class Program(TyperGroup):
    """The command group; prints errors that the user can fix as one message."""

    def invoke(self, ctx: Any) -> Any:
        # What torch and vLLM import, a million objects, stays: each search of it for garbage takes half a second.
        gc.set_threshold(200_000)
        atexit.register(gc.freeze)
        if isinstance(sys.stdout, TextIOWrapper):  # a locale may lack a dash or a name's letter: show its code instead
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with disk.explained():
                return super().invoke(ctx)
        except UserError as error:
            write_line(f"mmprm {ctx.invoked_subcommand}: {error}")
            sys.exit(2)


class Verb(TyperCommand):
    """A command whose repeatable options take several values, `--problems a.parquet b.parquet`.

    The tables of all shards may be given by one name: `--shards results/mini/annotation/all-of-4/nodes.parquet`. A
    value may begin with one dash, as names of files may: no option has a single letter.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        from mmprm.data.shards import expand_all

        repeatable = {flag for param in self.params if getattr(param, "multiple", False) for flag in param.opts}
        spelled: list[str] = []
        flag = None
        for arg in args:
            if arg in repeatable:
                flag = arg
            elif arg.startswith("--") or (arg.startswith("-") and flag is None):
                flag = None
                spelled.append(arg)
            elif flag:
                spelled += [part for path in expand_all(arg) for part in (flag, path)]
            else:
                spelled.append(arg)
        return super().parse_args(ctx, spelled)


app = typer.Typer(
    cls=Program,
    help="MM-PRM, stage by stage. Snakemake calls these verbs; `snakemake -n` shows each with its files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def option(flag: str, text: str, convert: Callable[..., Any] | None = None) -> Any:
    """Return an option whose default the help does not show; `convert` maps the parsed value to the verb's argument."""
    return typer.Option(flag, help=text, show_default=False, callback=convert)


def folder_of(path: Path) -> Path:
    """Return the folder that was given, itself or by one of its files (it need not exist yet)."""
    return path.parent if path.suffix in {".json", ".parquet"} else path


ConfigFile = Annotated[Path, option("--config", "the run's resolved configuration, results/<run>/config.json")]
Problems = Annotated[list[Path], option("--problems", "problem tables")]
ProblemTable = Annotated[Path, option("--problems", "a problem table")]
PolicyFolder = Annotated[Path, option("--policy", "the policy's model folder", folder_of)]
PrmFolder = Annotated[Path, option("--prm", "the PRM's model folder", folder_of)]
SeedTable = Annotated[Path, option("--seeds", "the problems that are annotated, seeds/seeds.parquet")]
PathTable = Annotated[Path, option("--paths", "the labelled step paths, labels/paths.parquet")]
CandidateTable = Annotated[Path, option("--candidates", "sampled solutions, bench/<benchmark>/candidates.parquet")]
ScoreTable = Annotated[Path, option("--scores", "the PRM's step probabilities of the candidates")]
TreeFolders = Annotated[
    list[Path],
    option(
        "--shards",
        "the annotation folders of all shards; …/all-of-4 names four",
        lambda paths: [folder_of(path) for path in paths],
    ),
]
ShardName = Annotated[str, option("--shard", "which part of the problems, e.g. 0-of-4")]
VariantName = Annotated[str, option("--variant", "a key of prm.variants")]
BenchmarkName = Annotated[str, option("--benchmark", "a key of benchmarks")]
Work = Annotated[Path, option("--work", "folder for what survives a kill: checkpoints, journals")]
Out = Annotated[Path, option("--out", "the table or page to write")]
OutFolder = Annotated[Path, option("--out", "the folder to write", folder_of)]
Devices = Annotated[
    int, option("--devices", "GPUs to wait for and to see no other (0: all that are visible, whoever uses them)")
]


def on_devices(verb: Callable[..., None]) -> Callable[..., None]:
    """Add the option `--devices` to a verb that loads a model, which then runs on as many GPUs that it leases."""

    @functools.wraps(verb)
    def leasing(*args: Any, devices: int, **options: Any) -> None:
        from mmprm.runtime.gpu_lease import lease

        disk.require_shared_memory()
        with lease(devices):
            verb(*args, **options)

    signature = inspect.signature(verb, eval_str=True)
    added = inspect.Parameter("devices", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=Devices)
    leasing.__signature__ = signature.replace(parameters=[*signature.parameters.values(), added])  # type: ignore[attr-defined]
    leasing.__annotations__ = {**verb.__annotations__, "devices": Devices}
    return leasing


def read_config(path: Path) -> Config:
    """Read the run's resolved configuration; UserError where the file is not one."""
    from mmprm.config import read

    return read(path)


def parse_shard(text: str) -> Shard:
    """Parse `0-of-4`; UserError where a shard is written otherwise."""
    from mmprm.data.shards import Shard

    try:
        return Shard.parse(text)
    except UserError as error:
        raise UserError(f"--shard {error}") from None
