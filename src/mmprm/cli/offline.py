"""The verbs for answers and candidates from outside a run. In: files. Out: files."""

from pathlib import Path
from typing import Annotated

import typer

from mmprm.cli.program import Out, PrmFolder, ScoreTable, on_devices, option

ExternalCandidates = Annotated[Path, option("--candidates", "solutions of any policy: JSON Lines or parquet")]
ExternalProblems = Annotated[Path | None, option("--problems", "their problems: JSON Lines, or a problem table")]
SomeSettings = Annotated[
    Path | None, option("--config", "YAML with any of the sections prompt, bench, engine, grading, seed")
]


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
