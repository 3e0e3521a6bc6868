"""The stage. In: the problem tables of a curated source. Out: what is kept, set aside and refused, and the funnel.

Two passes: the signatures of all problems (journal.py), from which everything is decided; then the rows that are kept
are written, a row group at a time. Nothing depends on the order of rows, or on the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.curation import CuratedSource
from mmprm.curation import funnel
from mmprm.curation.decisions import Decided
from mmprm.curation.funnel import KEPT, SET_ASIDE, Fate
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.problem_rows import problems_at
from mmprm.curation.signature_journal import Settings, signed
from mmprm.data import schemas, tables
from mmprm.data.problem import row_of
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log


@dataclass(frozen=True)
class Outputs:
    """The files to write."""

    problems: Path
    refused: Path
    funnel: Path
    test: Path


def curate(
    config: Config,
    name: str,
    problems: Sequence[Path],
    tested: Sequence[Path],
    work: Path,
    out: Outputs,
    workers: int = 1,
) -> None:
    """Curate the source `name`: `problems` are the tables of its sources, `tested` those of benchmarks.

    UserError where the source is not curated, an id occurs twice, or nothing is left.
    """
    source = config.sources[name]
    if not isinstance(source, CuratedSource):
        raise UserError(f"source {name}: it is of kind {source.kind}, not curated")
    settings = Settings(work, source.max_answer_words, workers, config.grading.workers, config.grading.timeout)
    pool = ProblemIndex(signed([*problems, *tested], settings))
    try:
        pool.check_ids(len(problems), source.sources)
        rows = Decided(pool, source, len(problems), config.seed)
        _write(rows, problems, out)
        counted = {named(path): int((pool.table == len(problems) + at).sum()) for at, path in enumerate(tested)}
        tables.write_json(out.funnel, funnel.whole(config.sources, name, rows.fates, counted))
    finally:
        pool.close()


def named(path: Path) -> str:
    """What a table of tested problems is called: by its source, or its entry of step_data."""
    return path.parent.name if path.stem == "problems" else path.stem


def _write(decided: Decided, paths: Sequence[Path], out: Outputs) -> None:
    """The tables, each by id."""
    fates, pool = decided.fates, decided.pool
    by_id = sorted(range(decided.n_rows), key=lambda row: pool.ids[row])
    kept = [row for row in by_id if fates[row].ended == KEPT]
    if not kept:
        counts = funnel.steps(fates, funnel.switches(decided.source))
        worst = max(counts, key=lambda step: step["refused"])
        raise UserError(
            f"of {decided.n_rows} problems none is left; most, {worst['refused']}, are refused by {worst['rule']}: "
            "switch the rule off (rules), or mend the source"
        )

    def chosen(rows: Sequence[int]) -> Iterator[Mapping[str, Any]]:
        places = [(int(pool.table[row]), int(pool.position[row])) for row in rows]
        for row, problem in zip(rows, problems_at(paths, places), strict=True):
            yield row_of(replace(problem, group=decided.groups[row]))

    aside = [row for row in by_id if fates[row].ended == SET_ASIDE]
    refused = [row for row in by_id if fates[row].ended not in (KEPT, SET_ASIDE)]
    tables.write(out.problems, chosen(kept), schemas.PROBLEMS)
    tables.write(out.test, chosen(aside), schemas.PROBLEMS)
    tables.write(out.refused, (_refused(fates[row]) for row in refused), schemas.REFUSED)
    log.info(f"curation: {len(kept)} of {len(fates)} problems kept, {len(aside)} set aside, {len(refused)} refused")


def _refused(fate: Fate) -> dict[str, Any]:
    return {
        "source": fate.source,
        "row": None,  # of a file: a curated problem is known by its id
        "problem_id": fate.problem_id,
        "reason": fate.ended,
        "detail": fate.detail,
    }
