"""The verbs that sample candidates, score them and measure PRMs on benchmarks. In: files. Out: files."""

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
    VariantName,
    Work,
    on_devices,
    option,
    parse_shard,
    read_config,
)
from mmprm.runtime.errors import UserError

StepBenchmarkName = Annotated[str, option("--benchmark", "a key of step_benchmarks")]


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


def summarise(
    config: ConfigFile, metrics: Annotated[list[Path], option("--metrics", "metrics.json of each pair")], out: Out
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
