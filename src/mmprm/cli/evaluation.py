"""The verbs that train models, sample and score candidates, and measure PRMs, in a run and outside of one."""

from pathlib import Path
from typing import Annotated

import typer

from mmprm.cli.program import (
    BenchmarkName,
    CandidateTable,
    ConfigFile,
    Out,
    OutFolder,
    PathTable,
    PolicyFolder,
    PrmFolder,
    Problems,
    ProblemTable,
    ScoreTable,
    SeedTable,
    ShardName,
    TreeFolders,
    VariantName,
    Work,
    on_devices,
    option,
    parse_shard,
    read_config,
)
from mmprm.runtime.errors import UserError

StepBenchmarkName = Annotated[str, option("--benchmark", "a key of step_benchmarks")]
ExternalCandidates = Annotated[Path, option("--candidates", "solutions of any policy: JSON Lines or parquet")]
ExternalProblems = Annotated[Path | None, option("--problems", "their problems: JSON Lines, or a problem table")]
SomeSettings = Annotated[
    Path | None, option("--config", "YAML with any of the sections prompt, bench, engine, grading, seed")
]


@on_devices
def train_policy(config: ConfigFile, problems: Problems, work: Work, out: OutFolder) -> None:
    """Fine-tune the base model on step-tagged solutions."""
    from mmprm.training.train_policy import train_policy

    train_policy(read_config(config), problems, work, out)


@on_devices
def train_prm(
    config: ConfigFile,
    variant: VariantName,
    policy: PolicyFolder,
    seeds: SeedTable,
    paths: PathTable,
    work: Work,
    out: OutFolder,
    extra: Annotated[list[Path] | None, option("--extra", "the problems of further paths, of read-steps")] = None,
) -> None:
    """Train a process reward model from the policy's weights."""
    from mmprm.prm.train_prm import train_prm

    train_prm(read_config(config), variant, policy, seeds, paths, work, out, extra or [])


def take_prm(config: ConfigFile, variant: VariantName, out: OutFolder) -> None:
    """Check a published PRM (prm.variants, external), and note what it is."""
    from mmprm.prm.external import take_prm

    take_prm(read_config(config), variant, out)


@on_devices
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
    from mmprm.evaluation.evaluate_prm import evaluate_prm

    evaluate_prm(read_config(config), variant, policy, prm, seeds, paths, shards, out)


@on_devices
def mini_base(work: Work, out: OutFolder) -> None:
    """Train the base model of the mini world (kept in models/mini-base)."""
    from mmprm.mini.train_base import train

    train(out, work)


@on_devices
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
    from mmprm.evaluation.sample_candidates import sample_candidates

    sample_candidates(read_config(config), benchmark, policy, problems, parse_shard(shard), work, out)


def gather_candidates(
    shards: Annotated[list[Path], option("--shards", "candidate tables of all shards")], out: Out
) -> None:
    """Put the shards' candidates into one table."""
    from mmprm.evaluation.sample_candidates import gather_candidates

    gather_candidates(shards, out)


@on_devices
def score_candidates(
    config: ConfigFile, prm: PrmFolder, problems: ProblemTable, candidates: CandidateTable, out: Out
) -> None:
    """Score each step of each candidate with a PRM."""
    from mmprm.prm.score_candidates import score_candidates

    score_candidates(read_config(config), prm, problems, candidates, out)


def measure(
    config: ConfigFile,
    benchmark: BenchmarkName,
    variant: VariantName,
    problems: ProblemTable,
    candidates: CandidateTable,
    scores: ScoreTable,
    out: Out,
    outcome: Annotated[list[Path] | None, option("--outcome", "scores by variants of the label `outcome`")] = None,
) -> None:
    """Best-of-N, votes and the oracle of one benchmark and one PRM, with intervals."""
    from mmprm.evaluation.measure import measure

    measure(read_config(config), benchmark, variant, problems, candidates, scores, out, outcome or [])


def measure_trainings(
    config: ConfigFile,
    benchmark: BenchmarkName,
    variant: VariantName,
    problems: ProblemTable,
    candidates: CandidateTable,
    scores: Annotated[list[Path], option("--scores", "bench/<benchmark>/<training>/scores.parquet of each training")],
    out: Out,
    outcome: Annotated[list[Path] | None, option("--outcome", "those by variants of the label `outcome`")] = None,
) -> None:
    """Measure the same over all trainings of a variant, with intervals over problems and trainings."""
    from mmprm.evaluation.measure import measure_trainings

    measure_trainings(read_config(config), benchmark, variant, problems, candidates, scores, out, outcome or [])


def summarise(
    config: ConfigFile,
    metrics: Annotated[list[Path], option("--metrics", "metrics.json (or trainings.json) of each pair")],
    out: Out,
) -> None:
    """Put the measures of every benchmark and variant into one list."""
    from mmprm.evaluation.measure import summarise

    summarise(read_config(config), metrics, out)


@on_devices
def score_steps(
    config: ConfigFile, benchmark: StepBenchmarkName, prm: PrmFolder, problems: ProblemTable, paths: PathTable, out: Out
) -> None:
    """Score each step of the labelled solutions of a step benchmark with a PRM."""
    from mmprm.evaluation.step_benchmarks import score_steps

    score_steps(read_config(config), benchmark, prm, problems, paths, out)


def measure_steps(
    config: ConfigFile,
    benchmark: StepBenchmarkName,
    variant: VariantName,
    test: Annotated[list[Path], option("--test", "the benchmark's problem table, paths and scores")],
    out: Out,
    development: Annotated[list[Path] | None, option("--development", "the same of its development set")] = None,
) -> None:
    """How well a PRM tells right steps from wrong ones, with intervals."""
    from mmprm.evaluation.step_benchmarks import Tables, measure_steps

    if len(test) != 3 or len(development or []) not in (0, 3):
        raise UserError("--test and --development take three files each: a problem table, paths and scores")
    chosen_on = Tables(*development) if development else None
    measure_steps(read_config(config), benchmark, variant, Tables(*test), chosen_on, out)


@on_devices
def decode_guided(
    config: ConfigFile,
    strategy: Annotated[str, option("--strategy", "a key of guided")],
    benchmark: BenchmarkName,
    policy: PolicyFolder,
    prm: PrmFolder,
    problems: ProblemTable,
    shard: ShardName,
    work: Work,
    out: Out,
) -> None:
    """Answer each benchmark problem by a strategy that the PRM guides step by step."""
    from mmprm.experiments.guided.decode import decode_guided

    decode_guided(read_config(config), strategy, benchmark, policy, prm, problems, parse_shard(shard), work, out)


def measure_guided(
    config: ConfigFile,
    benchmark: BenchmarkName,
    variant: VariantName,
    problems: ProblemTable,
    candidates: CandidateTable,
    scores: ScoreTable,
    decoded: Annotated[list[Path], option("--decoded", "tables of decode-guided, <strategy>/<shard>.parquet")],
    out: Out,
) -> None:
    """Accuracy against tokens of guided strategies, beside Best-of-N and majority votes."""
    from mmprm.experiments.guided.decode import measure_guided

    measure_guided(read_config(config), benchmark, variant, problems, candidates, scores, decoded, out)


@on_devices
def score(
    prm: PrmFolder,
    candidates: ExternalCandidates,
    out: Out,
    problems: ExternalProblems = None,
    config: SomeSettings = None,
) -> None:
    """Score each step of candidates that any policy made, without a run.

    A candidate is a line {"problem": ID, "steps": ["…"], "answer": "…"}. A problem is a line {"id": ID, "question":
    "…", "answer": "…", "image": PATH}, or such an object in place of the ID.
    """
    from mmprm.evaluation.offline import score

    score(prm, problems, candidates, out, config)


def evaluate(
    candidates: ExternalCandidates,
    scores: ScoreTable,
    out: Annotated[Path, option("--out", "the JSON of metrics to write")],
    problems: ExternalProblems = None,
    config: SomeSettings = None,
    name: Annotated[str | None, option("--name", "of the benchmark; default: of the candidates' file")] = None,
) -> None:
    """Grade candidates that any policy made, and measure how well the PRM chooses among them, without a run."""
    from mmprm.evaluation.offline import evaluate

    evaluate(problems, candidates, scores, out, config, name)


def grade(
    answers: Annotated[Path, option("--input", "the answers, JSON lines: problem_id, answer (gold), response, ...")],
    output: Annotated[Path, option("--output", "the table of verdicts to write, in parquet")],
    workers: Annotated[int, typer.Option(min=1, help="processes that compare formulas")] = 2,
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds for an answer, which then stays undecided")] = 5.0,
    nearest: Annotated[bool, typer.Option(help="MathVista: no option named, then the nearest by edit distance")] = True,
) -> None:
    """Grade answers made elsewhere, by each benchmark's own rule: one verdict a line, in order."""
    from mmprm.grading.grade_answers import grade_answers

    counts = grade_answers(answers, output, workers, timeout, nearest)
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
