"""What all verbs share: the program, their options, and how files and shards are named. In: words. Out: values.

An error that the user can mend is printed without a traceback, and the exit status is 2. Where a folder is asked for,
any file in it may be named.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from mmprm.runtime.errors import UserError

if TYPE_CHECKING:
    from mmprm.config import Config
    from mmprm.data.shards import Shard


class Program(TyperGroup):
    """Prints a UserError as one message."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            print(f"mmprm {ctx.invoked_subcommand}: {error}", file=sys.stderr)
            sys.exit(2)


class Verb(TyperCommand):
    """Lets an option that may be repeated take several values, `--problems a.parquet b.parquet`, and the tables of all
    shards by one name: `--shards results/mini/annotation/all-of-4/nodes.parquet`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        from mmprm.data.shards import expand_all

        repeatable = {flag for param in self.params if getattr(param, "multiple", False) for flag in param.opts}
        spelled: list[str] = []
        flag = None
        for arg in args:
            if arg in repeatable:
                flag = arg
            elif arg.startswith("-"):
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


def option(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, show_default=False)


ConfigFile = Annotated[Path, option("--config", "the run's resolved configuration, results/<run>/config.json")]
Problems = Annotated[list[Path], option("--problems", "problem tables")]
ProblemTable = Annotated[Path, option("--problems", "a problem table")]
PolicyFolder = Annotated[Path, option("--policy", "the policy's model folder")]
PrmFolder = Annotated[Path, option("--prm", "the PRM's model folder")]
SeedTable = Annotated[Path, option("--seeds", "the problems that are annotated, seeds/seeds.parquet")]
PathTable = Annotated[Path, option("--paths", "the labelled step paths, labels/paths.parquet")]
CandidateTable = Annotated[Path, option("--candidates", "sampled solutions, bench/<benchmark>/candidates.parquet")]
ScoreTable = Annotated[Path, option("--scores", "the PRM's step probabilities of the candidates")]
GivenCandidates = Annotated[Path, option("--candidates", "solutions of any policy: JSON Lines or parquet")]
GivenProblems = Annotated[Path | None, option("--problems", "their problems: JSON Lines, or a problem table")]
SomeSettings = Annotated[
    Path | None, option("--config", "YAML with any of the sections prompt, bench, engine, grading, seed")
]
TreeFolders = Annotated[list[Path], option("--shards", "the annotation folders of all shards; …/all-of-4 names four")]
ShardName = Annotated[str, option("--shard", "which part of the problems, e.g. 0-of-4")]
VariantName = Annotated[str, option("--variant", "a key of prm.variants")]
BenchmarkName = Annotated[str, option("--benchmark", "a key of benchmarks")]
StepBenchmarkName = Annotated[str, option("--benchmark", "a key of step_benchmarks")]
Work = Annotated[Path, option("--work", "folder for what survives a kill: checkpoints, journals")]
Out = Annotated[Path, option("--out", "the table or page to write")]
OutFolder = Annotated[Path, option("--out", "the folder to write")]


Devices = Annotated[
    int, option("--devices", "GPUs to wait for and to see no other (0: all that are visible, whoever uses them)")
]


def on_devices(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb that loads a model: with `--devices 2` it runs on two of the machine's GPUs that no other one leases."""

    @functools.wraps(verb)
    def leasing(*args: Any, devices: int, **options: Any) -> None:
        from mmprm.runtime.gpu_lease import lease

        with lease(devices):
            verb(*args, **options)

    own = inspect.signature(verb, eval_str=True)
    added = inspect.Parameter("devices", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=Devices)
    leasing.__signature__ = own.replace(parameters=[*own.parameters.values(), added])  # type: ignore[attr-defined]
    leasing.__annotations__ = {**verb.__annotations__, "devices": Devices}
    return leasing


def resolved(path: Path) -> Config:
    from mmprm.config import read

    return read(path)


def folder_of(path: Path) -> Path:
    """The folder that was named, itself or by one of its files (it need not exist yet)."""
    return path.parent if path.suffix in {".json", ".parquet"} else path


def shard_of(name: str) -> Shard:
    from mmprm.data.shards import Shard

    try:
        return Shard.parse(name)
    except UserError as error:
        raise UserError(f"--shard {error}") from None
