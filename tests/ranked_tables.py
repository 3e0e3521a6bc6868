"""Tables of PRMs that rank the same candidates, small enough to know what each PRM chooses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems


def write(
    folder: Path, source: str, benchmark: str, right: Mapping[str, Collection[int]], groups: Sequence[str]
) -> dict[str, Path]:
    """A problem for each of `groups`, with a right and a wrong candidate, below a run's folder; the scores by variant.

    right: the problems, by number, in which a variant ranks the right candidate first.
    """
    names = [f"{benchmark}-{number}" for number in range(len(groups))]
    problems = [Problem(name, source, "q", "7", group=group) for name, group in zip(names, groups, strict=True)]
    write_problems(folder / f"problems/{source}.parquet", problems)
    said = {"steps": ["s"], "status": "ok", "method": "number", "n_tokens": 9, "finish_reason": "stop"}
    candidates = [
        {"problem_id": name, "candidate": number, "text": answer, "answer": answer, "verdict": verdict, **said}
        for name in names
        for number, (answer, verdict) in enumerate([("7", "correct"), ("8", "incorrect")])
    ]
    tables.write(folder / f"bench/{benchmark}/candidates.parquet", candidates, schemas.CANDIDATES)
    scores = {}
    for variant, chosen in right.items():
        rows = [
            {
                "problem_id": name,
                "candidate": number,
                "probabilities": [0.9 if (at in chosen) == (number == 0) else 0.2] * 2,
            }
            for at, name in enumerate(names)
            for number in range(2)
        ]
        scores[variant] = folder / f"bench/{benchmark}/{variant}/scores.parquet"
        tables.write(scores[variant], rows, schemas.SCORES)
    return scores
