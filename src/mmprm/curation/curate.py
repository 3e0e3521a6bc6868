"""The command `curate`. In: the problem tables of a curated source. Out: kept, held-out and refused problems; funnel.

Two passes: the signatures of all problems (signature_journal.py), by which everything is decided; then the kept rows
are written, one row group at a time. Nothing depends on the order of rows, or on the number of processes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.curation import CuratedSource
from mmprm.curation.decisions import PoolDecisions
from mmprm.curation.funnel import HELD_OUT, KEPT, ProblemDecision, build_funnel, rule_counts, switches
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.signature_journal import SignatureSettings, sign_tables
from mmprm.data import schemas, tables
from mmprm.data.problem import ProblemFile, row_of
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

    UserError where the source is not curated, an id occurs twice, or no problem is kept.
    """
    source = config.sources[name]
    if not isinstance(source, CuratedSource):
        raise UserError(f"source {name}: it is of kind {source.kind}, not curated")
    settings = SignatureSettings(work, source.max_answer_words, workers, config.grading.workers, config.grading.timeout)
    pool = ProblemIndex(sign_tables([*problems, *tested], settings))
    try:
        pool.check_ids(len(problems), source.sources)
        decided = PoolDecisions(pool, source, len(problems), config.seed)
        _write(decided, problems, out)
        sizes = {_table_name(path): int((pool.table == len(problems) + n).sum()) for n, path in enumerate(tested)}
        tables.write_json(out.funnel, build_funnel(config.sources, name, decided.by_row, sizes))
    finally:
        pool.close()


def _table_name(path: Path) -> str:
    """Name a table of tested problems by its source, or its entry of step_data."""
    return path.parent.name if path.stem == "problems" else path.stem


def _write(decided: PoolDecisions, paths: Sequence[Path], out: Outputs) -> None:
    """Write the tables, each ordered by id."""
    decisions, pool = decided.by_row, decided.pool
    by_id = sorted(range(decided.n_rows), key=lambda row: pool.ids[row])
    kept = [row for row in by_id if decisions[row].ended == KEPT]
    if not kept:
        counts = rule_counts(decisions, switches(decided.source))
        worst = max(counts, key=lambda count: count["refused"])
        raise UserError(
            f"of {decided.n_rows} problems none is kept; most, {worst['refused']}, are refused by {worst['rule']}: "
            "switch the rule off (rules), or fix the source"
        )
    problems = ProblemFile(*paths)

    def grouped(rows: Sequence[int]) -> Iterator[Mapping[str, Any]]:
        for row in rows:
            yield row_of(replace(problems[pool.ids[row]], group=decided.groups[row]))

    held_out = [row for row in by_id if decisions[row].ended == HELD_OUT]
    refused = [decisions[row] for row in by_id if decisions[row].ended not in (KEPT, HELD_OUT)]
    tables.write(out.problems, grouped(kept), schemas.PROBLEMS)
    tables.write(out.test, grouped(held_out), schemas.PROBLEMS)
    tables.write(out.refused, map(_refused_row, refused), schemas.REFUSED)
    log.info(
        f"curation: {len(kept)} of {len(decisions)} problems kept, {len(held_out)} held out, {len(refused)} refused"
    )


def _refused_row(decision: ProblemDecision) -> dict[str, Any]:
    return {
        "source": decision.source,
        "row": None,  # the position in a file; a curated problem is identified by its id
        "problem_id": decision.problem_id,
        "reason": decision.ended,
        "detail": decision.detail,
    }
