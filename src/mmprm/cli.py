"""The command line: one verb a rule, files in, files out. Each verb reads the resolved configuration and calls a stage.

Stages are imported inside their verbs: `mmprm --help` loads neither torch nor vLLM. An error that the user can mend is
printed without a traceback, and the exit status is 2. Where a folder is asked for, any file in it may be named.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from mmprm.errors import UserError

if TYPE_CHECKING:
    from mmprm.config import Config
    from mmprm.shard import Shard


class Program(TyperGroup):
    """Prints a UserError as one message."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            print(f"mmprm {ctx.invoked_subcommand}: {error}", file=sys.stderr)
            sys.exit(2)


class Verb(TyperCommand):
    """Lets an option that may be repeated take several values: `--problems a.parquet b.parquet`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        repeatable = {flag for param in self.params if getattr(param, "multiple", False) for flag in param.opts}
        spelled: list[str] = []
        flag = None
        for arg in args:
            if arg in repeatable:
                flag = arg
            elif arg.startswith("-"):
                flag = None
                spelled.append(arg)
            else:
                spelled += [flag, arg] if flag else [arg]
        return super().parse_args(ctx, spelled)


app = typer.Typer(
    cls=Program,
    help="MM-PRM, stage by stage. Snakemake calls these verbs; `snakemake -n` shows each with its files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _option(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, show_default=False)


ConfigFile = Annotated[Path, _option("--config", "the run's resolved configuration, results/<run>/config.json")]
Problems = Annotated[list[Path], _option("--problems", "problem tables")]
ProblemTable = Annotated[Path, _option("--problems", "a problem table")]
PolicyFolder = Annotated[Path, _option("--policy", "the policy's model folder")]
PrmFolder = Annotated[Path, _option("--prm", "the PRM's model folder")]
SeedTable = Annotated[Path, _option("--seeds", "the problems that are annotated, seeds/seeds.parquet")]
PathTable = Annotated[Path, _option("--paths", "the labelled step paths, labels/paths.parquet")]
CandidateTable = Annotated[Path, _option("--candidates", "sampled solutions, bench/<benchmark>/candidates.parquet")]
ScoreTable = Annotated[Path, _option("--scores", "the PRM's step probabilities of the candidates")]
GivenCandidates = Annotated[Path, _option("--candidates", "solutions of any policy: JSON Lines or parquet")]
GivenProblems = Annotated[Path | None, _option("--problems", "their problems: JSON Lines, or a problem table")]
SomeSettings = Annotated[
    Path | None, _option("--config", "YAML with any of the sections prompt, bench, engine, grading, seed")
]
TreeFolders = Annotated[list[Path], _option("--shards", "the annotation folders of all shards")]
ShardName = Annotated[str, _option("--shard", "which part of the problems, e.g. 0-of-4")]
VariantName = Annotated[str, _option("--variant", "a key of prm.variants")]
BenchmarkName = Annotated[str, _option("--benchmark", "a key of benchmarks")]
StepBenchmarkName = Annotated[str, _option("--benchmark", "a key of step_benchmarks")]
Work = Annotated[Path, _option("--work", "folder for what survives a kill: checkpoints, journals")]
Out = Annotated[Path, _option("--out", "the table or page to write")]
OutFolder = Annotated[Path, _option("--out", "the folder to write")]


def _config(path: Path) -> Config:
    from mmprm.config import read

    return read(path)


def _folder(path: Path) -> Path:
    """The folder that was named, itself or by one of its files (it need not exist yet)."""
    return path.parent if path.suffix in {".json", ".parquet"} else path


def _shard(name: str) -> Shard:
    from mmprm.shard import Shard

    index, _, count = name.partition("-of-")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise UserError(f"--shard {name}: not of the form 0-of-4 (index, counted from 0, and number of shards)")
    return Shard(int(index), int(count))


@app.command(cls=Verb)
def config(file: Annotated[Path, typer.Argument(help="a configuration in YAML", show_default=False)]) -> None:
    """Check a configuration and print it with every default filled in."""
    import yaml

    from mmprm.config import load

    try:
        values = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{file}: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{file}: a configuration is a mapping of keys to values")
    print(load(values).model_dump_json(indent=2))


@app.command(cls=Verb)
def intake(
    config: ConfigFile,
    source: Annotated[str, _option("--source", "a key of sources")],
    out: Out,
    refused: Annotated[Path, _option("--refused", "the table of refused rows to write")],
) -> None:
    """Read one source into a problem table, and refuse what cannot be used."""
    from mmprm.problems.intake import make_source

    make_source(_config(config), source, out, refused)


@app.command(cls=Verb)
def train_policy(config: ConfigFile, problems: Problems, work: Work, out: OutFolder) -> None:
    """Fine-tune the base model on step-tagged solutions."""
    from mmprm.training.sft import train_policy

    train_policy(_config(config), problems, work, _folder(out))


@app.command(cls=Verb)
def sample_seeds(
    config: ConfigFile, policy: PolicyFolder, problems: Problems, shard: ShardName, work: Work, out: Out
) -> None:
    """Sample and grade rollouts of each problem, to see which are worth annotating."""
    from mmprm.sampling import sample_seeds

    sample_seeds(_config(config), _folder(policy), problems, _shard(shard), work, out)


@app.command(cls=Verb)
def select_seeds(
    config: ConfigFile,
    problems: Problems,
    rollouts: Annotated[list[Path], _option("--rollouts", "graded rollouts of all shards")],
    seeds: Annotated[Path, _option("--seeds", "the table of kept problems to write")],
    decisions: Annotated[Path, _option("--decisions", "the table of every problem's decision to write")],
) -> None:
    """Keep the problems that the policy sometimes solves."""
    from mmprm.seeds import select_seeds

    select_seeds(_config(config), problems, rollouts, seeds, decisions)


@app.command(cls=Verb)
def plan(
    config: ConfigFile,
    policy: PolicyFolder,
    seeds: SeedTable,
    work: Work,
    out: Annotated[Path, _option("--out", "the JSON of costs to write")],
) -> None:
    """Annotate a few problems, and print what all of them will take: rollouts, tokens, device-hours."""
    from mmprm.annotation.plan import plan

    plan(_config(config), _folder(policy), seeds, work, out)


@app.command(cls=Verb)
def annotate(
    config: ConfigFile, policy: PolicyFolder, seeds: SeedTable, shard: ShardName, work: Work, out: OutFolder
) -> None:
    """Search the solutions of a shard's problems for their first errors (OmegaPRM)."""
    from mmprm.annotation.stage import annotate

    annotate(_config(config), _folder(policy), seeds, _shard(shard), work, _folder(out))


@app.command(cls=Verb)
def read_steps(
    config: ConfigFile,
    name: Annotated[str, _option("--name", "a key of step_data")],
    out: Out,
    benchmarks: Annotated[list[Path] | None, _option("--benchmarks", "problem tables that it must not share")] = None,
) -> None:
    """Read labelled steps from elsewhere, and refuse those of a benchmark's problems."""
    from mmprm.step_data.intake import read_steps

    read_steps(_config(config), name, benchmarks or [], out)


@app.command(cls=Verb)
def gather_labels(
    config: ConfigFile,
    seeds: SeedTable,
    shards: TreeFolders,
    out: Out,
    statistics: Annotated[Path, _option("--statistics", "the JSON of label statistics to write")],
    extra: Annotated[list[Path] | None, _option("--extra", "tables of further paths, of read-steps")] = None,
) -> None:
    """Turn the trees of all shards into labelled step paths."""
    from mmprm.labels.stage import gather_labels

    gather_labels(_config(config), seeds, [_folder(shard) for shard in shards], out, statistics, extra or [])


@app.command(cls=Verb)
def measure_labels(config: ConfigFile, seeds: SeedTable, paths: PathTable, shards: TreeFolders, out: Out) -> None:
    """Compare the labels of mini problems with the truth of their steps."""
    from mmprm.labels.quality import measure_labels

    measure_labels(_config(config), seeds, paths, [_folder(shard) for shard in shards], out)


@app.command(cls=Verb)
def train_prm(
    config: ConfigFile,
    variant: VariantName,
    policy: PolicyFolder,
    seeds: SeedTable,
    paths: PathTable,
    work: Work,
    out: OutFolder,
    extra: Annotated[list[Path] | None, _option("--extra", "the problems of further paths, of read-steps")] = None,
) -> None:
    """Train a process reward model from the policy's weights."""
    from mmprm.training.prm import train_prm

    train_prm(_config(config), variant, _folder(policy), seeds, paths, work, _folder(out), extra or [])


@app.command(cls=Verb)
def evaluate_prm(
    config: ConfigFile,
    variant: VariantName,
    policy: PolicyFolder,
    prm: PrmFolder,
    seeds: SeedTable,
    paths: PathTable,
    shards: TreeFolders,
    out: Out,
) -> None:
    """Measure a PRM, and the untrained one, on held-out problems."""
    from mmprm.training.heldout import evaluate_prm

    folders = [_folder(shard) for shard in shards]
    evaluate_prm(_config(config), variant, _folder(policy), _folder(prm), seeds, paths, folders, out)


@app.command(cls=Verb)
def sample_candidates(
    config: ConfigFile,
    benchmark: BenchmarkName,
    policy: PolicyFolder,
    problems: ProblemTable,
    shard: ShardName,
    work: Work,
    out: Out,
) -> None:
    """Sample and grade N candidate solutions of each benchmark problem."""
    from mmprm.sampling import sample_candidates

    sample_candidates(_config(config), benchmark, _folder(policy), problems, _shard(shard), work, out)


@app.command(cls=Verb)
def gather_candidates(
    shards: Annotated[list[Path], _option("--shards", "candidate tables of all shards")], out: Out
) -> None:
    """Put the shards' candidates into one table."""
    from mmprm.sampling import gather_candidates

    gather_candidates(shards, out)


@app.command(cls=Verb)
def score_candidates(
    config: ConfigFile, prm: PrmFolder, problems: ProblemTable, candidates: CandidateTable, out: Out
) -> None:
    """Score each step of each candidate with a PRM."""
    from mmprm.scoring import score_candidates

    score_candidates(_config(config), _folder(prm), problems, candidates, out)


@app.command(cls=Verb)
def decode_guided(
    config: ConfigFile,
    strategy: Annotated[str, _option("--strategy", "a key of guided")],
    benchmark: BenchmarkName,
    policy: PolicyFolder,
    prm: PrmFolder,
    problems: ProblemTable,
    shard: ShardName,
    work: Work,
    out: Out,
) -> None:
    """Answer each benchmark problem by a strategy that the PRM guides step by step."""
    from mmprm.guided.stage import decode_guided

    decode_guided(
        _config(config), strategy, benchmark, _folder(policy), _folder(prm), problems, _shard(shard), work, out
    )


@app.command(cls=Verb)
def measure_guided(
    config: ConfigFile,
    benchmark: BenchmarkName,
    variant: VariantName,
    problems: ProblemTable,
    candidates: CandidateTable,
    scores: Annotated[Path, _option("--scores", "the PRM's step probabilities of the candidates")],
    decoded: Annotated[list[Path], _option("--decoded", "tables of decode-guided, <strategy>/<shard>.parquet")],
    out: Out,
) -> None:
    """Accuracy against tokens of guided strategies, beside Best-of-N and majority votes."""
    from mmprm.guided.measure import measure_guided

    measure_guided(_config(config), benchmark, variant, problems, candidates, scores, decoded, out)


@app.command(cls=Verb)
def measure(
    config: ConfigFile,
    benchmark: BenchmarkName,
    variant: VariantName,
    problems: ProblemTable,
    candidates: CandidateTable,
    scores: ScoreTable,
    out: Out,
    outcome: Annotated[list[Path] | None, _option("--outcome", "scores by variants of the label `outcome`")] = None,
) -> None:
    """Best-of-N, votes and the oracle of one benchmark and one PRM, with intervals."""
    from mmprm.evaluation.stage import measure

    measure(_config(config), benchmark, variant, problems, candidates, scores, out, outcome or [])


@app.command(cls=Verb)
def score(
    prm: PrmFolder, candidates: GivenCandidates, out: Out, problems: GivenProblems = None, config: SomeSettings = None
) -> None:
    """Score each step of candidates that any policy made, without a run.

    A candidate is a line {"problem": ID, "steps": ["…"], "answer": "…"}. A problem is a line {"id": ID, "question":
    "…", "answer": "…", "image": PATH}, or such an object in place of the ID.
    """
    from mmprm.evaluation.standalone import score

    score(_folder(prm), problems, candidates, out, config)


@app.command(cls=Verb)
def evaluate(
    candidates: GivenCandidates,
    scores: ScoreTable,
    out: Annotated[Path, _option("--out", "the JSON of metrics to write")],
    problems: GivenProblems = None,
    config: SomeSettings = None,
    name: Annotated[str | None, _option("--name", "of the benchmark; default: of the candidates' file")] = None,
) -> None:
    """Grade candidates that any policy made, and measure how well the PRM chooses among them, without a run."""
    from mmprm.evaluation.standalone import evaluate

    evaluate(problems, candidates, scores, out, config, name)


@app.command(cls=Verb)
def summarise(
    config: ConfigFile, metrics: Annotated[list[Path], _option("--metrics", "metrics.json of each pair")], out: Out
) -> None:
    """Put the measures of every benchmark and variant into one list."""
    from mmprm.evaluation.stage import summarise

    summarise(_config(config), metrics, out)


@app.command(cls=Verb)
def score_steps(
    config: ConfigFile, benchmark: StepBenchmarkName, prm: PrmFolder, problems: ProblemTable, paths: PathTable, out: Out
) -> None:
    """Score each step of the labelled solutions of a step benchmark with a PRM."""
    from mmprm.evaluation.step_stage import score_steps

    score_steps(_config(config), benchmark, _folder(prm), problems, paths, out)


@app.command(cls=Verb)
def measure_steps(
    config: ConfigFile,
    benchmark: StepBenchmarkName,
    variant: VariantName,
    test: Annotated[list[Path], _option("--test", "the benchmark's problem table, paths and scores")],
    out: Out,
    development: Annotated[list[Path] | None, _option("--development", "the same of its development set")] = None,
) -> None:
    """How well a PRM tells right steps from wrong ones, with intervals."""
    from mmprm.evaluation.step_stage import Tables, measure_steps

    if len(test) != 3 or len(development or []) not in (0, 3):
        raise UserError("--test and --development take three files each: a problem table, paths and scores")
    chosen_on = Tables(*development) if development else None
    measure_steps(_config(config), benchmark, variant, Tables(*test), chosen_on, out)


@app.command(cls=Verb)
def write_report(
    config: ConfigFile, results: Annotated[Path, _option("--results", "the run's folder, results/<run>")], out: Out
) -> None:
    """Write the run's report as one self-contained page."""
    from mmprm.report.page import write_report

    write_report(_config(config), results, out)


@app.command(cls=Verb)
def write_ablation(
    config: ConfigFile,
    ablation: Annotated[str, _option("--ablation", "a key of ablations")],
    metrics: Annotated[list[Path], _option("--metrics", "metrics.json of each benchmark and variant")],
    out: Out,
    table: Annotated[Path, _option("--table", "the CSV to write")],
) -> None:
    """Compare PRM variants on the same candidates, as a page and a table."""
    from mmprm.report.ablations import write_ablation

    write_ablation(_config(config), ablation, metrics, out, table)


@app.command(cls=Verb)
def grade(
    answers: Annotated[Path, _option("--input", "the answers, JSON lines: problem_id, answer (gold), response, ...")],
    output: Annotated[Path, _option("--output", "the table of verdicts to write, in parquet")],
    workers: Annotated[int, typer.Option(min=1, help="processes that compare formulas")] = 2,
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds for an answer, which then stays undecided")] = 5.0,
    nearest: Annotated[bool, typer.Option(help="MathVista: no option named, then the nearest by edit distance")] = True,
) -> None:
    """Grade answers made elsewhere, by each benchmark's own rule: one verdict a line, in order."""
    from mmprm.grading.answers import grade_answers

    counts = grade_answers(answers, output, workers, timeout, nearest)
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))


@app.command(cls=Verb)
def mini_base(work: Work, out: OutFolder) -> None:
    """Train the base model of the mini world (kept in models/mini-base)."""
    from mmprm.training.mini_base import train

    train(_folder(out), work)
