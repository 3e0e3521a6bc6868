"""The verbs that rank candidates, measure, and report. In: files. Out: files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mmprm.cli.program import (
    BenchmarkName,
    CandidateTable,
    ConfigFile,
    Out,
    PathTable,
    PolicyFolder,
    PrmFolder,
    ProblemTable,
    ScoreTable,
    ShardName,
    StepBenchmarkName,
    VariantName,
    Verb,
    Work,
    app,
    folder_of,
    on_devices,
    option,
    resolved,
    shard_of,
)
from mmprm.runtime.errors import UserError


@app.command(cls=Verb)
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
    from mmprm.rollouts.sampling import sample_candidates

    sample_candidates(resolved(config), benchmark, folder_of(policy), problems, shard_of(shard), work, out)


@app.command(cls=Verb)
def gather_candidates(
    shards: Annotated[list[Path], option("--shards", "candidate tables of all shards")], out: Out
) -> None:
    """Put the shards' candidates into one table."""
    from mmprm.rollouts.sampling import gather_candidates

    gather_candidates(shards, out)


@app.command(cls=Verb)
@on_devices
def score_candidates(
    config: ConfigFile, prm: PrmFolder, problems: ProblemTable, candidates: CandidateTable, out: Out
) -> None:
    """Score each step of each candidate with a PRM."""
    from mmprm.prm.scoring import score_candidates

    score_candidates(resolved(config), folder_of(prm), problems, candidates, out)


@app.command(cls=Verb)
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

    decode_guided(
        resolved(config), strategy, benchmark, folder_of(policy), folder_of(prm), problems, shard_of(shard), work, out
    )


@app.command(cls=Verb)
def measure_guided(
    config: ConfigFile,
    benchmark: BenchmarkName,
    variant: VariantName,
    problems: ProblemTable,
    candidates: CandidateTable,
    scores: Annotated[Path, option("--scores", "the PRM's step probabilities of the candidates")],
    decoded: Annotated[list[Path], option("--decoded", "tables of decode-guided, <strategy>/<shard>.parquet")],
    out: Out,
) -> None:
    """Accuracy against tokens of guided strategies, beside Best-of-N and majority votes."""
    from mmprm.experiments.guided.measure_guided import measure_guided

    measure_guided(resolved(config), benchmark, variant, problems, candidates, scores, decoded, out)


@app.command(cls=Verb)
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

    measure(resolved(config), benchmark, variant, problems, candidates, scores, out, outcome or [])


@app.command(cls=Verb)
def summarise(
    config: ConfigFile, metrics: Annotated[list[Path], option("--metrics", "metrics.json of each pair")], out: Out
) -> None:
    """Put the measures of every benchmark and variant into one list."""
    from mmprm.evaluation.measure import summarise

    summarise(resolved(config), metrics, out)


@app.command(cls=Verb)
@on_devices
def score_steps(
    config: ConfigFile, benchmark: StepBenchmarkName, prm: PrmFolder, problems: ProblemTable, paths: PathTable, out: Out
) -> None:
    """Score each step of the labelled solutions of a step benchmark with a PRM."""
    from mmprm.evaluation.step_benchmarks import score_steps

    score_steps(resolved(config), benchmark, folder_of(prm), problems, paths, out)


@app.command(cls=Verb)
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
    measure_steps(resolved(config), benchmark, variant, Tables(*test), chosen_on, out)


@app.command(cls=Verb)
def write_report(
    config: ConfigFile, results: Annotated[Path, option("--results", "the run's folder, results/<run>")], out: Out
) -> None:
    """Write the run's report as one self-contained page."""
    from mmprm.report.page import write_report

    write_report(resolved(config), results, out)


@app.command(cls=Verb)
def write_data_card(
    config: ConfigFile,
    results: Annotated[Path, option("--results", "the run's folder, results/<run>")],
    out: Out,
    pictures: Annotated[Path, option("--pictures", "the folder beside it to write its pictures into")],
) -> None:
    """Write the card of the run's data: all counts, licences, and a few problems."""
    from mmprm.report.data_card import write_data_card

    write_data_card(resolved(config), results, out, pictures)


@app.command(cls=Verb)
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
    write_ablation(resolved(config), ablation, files, out, table)
