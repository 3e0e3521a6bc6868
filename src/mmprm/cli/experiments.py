"""The verbs of `mmprm.experiments`. In: files. Out: files."""

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
    SeedTable,
    ShardName,
    VariantName,
    Work,
    on_devices,
    option,
    parse_shard,
    read_config,
)


@on_devices
def judge_labels(
    config: ConfigFile,
    seeds: SeedTable,
    paths: PathTable,
    work: Work,
    out: Out,
    dropped: Annotated[Path, option("--dropped", "the table of dropped paths to write")],
    counts: Annotated[Path, option("--counts", "the JSON of counts to write")],
) -> None:
    """Keep the training paths whose first error a judging model finds where the labels have it."""
    from mmprm.experiments.consensus.judge_labels import judge_labels

    judge_labels(read_config(config), seeds, paths, work, out, dropped, counts)


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
    scores: Annotated[Path, option("--scores", "the PRM's step probabilities of the candidates")],
    decoded: Annotated[list[Path], option("--decoded", "tables of decode-guided, <strategy>/<shard>.parquet")],
    out: Out,
) -> None:
    """Accuracy against tokens of guided strategies, beside Best-of-N and majority votes."""
    from mmprm.experiments.guided.measure_guided import measure_guided

    measure_guided(read_config(config), benchmark, variant, problems, candidates, scores, decoded, out)
