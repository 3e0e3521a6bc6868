"""The commands `curate` and `set-aside`. In: the problem tables of a curated source. Out: kept, held-out and refused
problems; funnel. The signatures of all problems decide everything; then the kept rows are written, one row group at a
time. Nothing depends on the order of rows, or on the number of processes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.derived import CuratedSource
from mmprm.curation.decisions import PoolDecisions
from mmprm.curation.funnel import HELD_OUT, KEPT, build_funnel, rule_counts, switches
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.signatures import SignatureSettings, sign_tables
from mmprm.data import schemas, tables
from mmprm.data.problem import ProblemFile, row_of, stream_problems
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
    config: Config, name: str, problems: Sequence[Path], tested: Sequence[Path], work: Path, out: Outputs, workers: int
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
        # A table of tested problems is named by its source, or by its entry of step_data.
        names = [path.parent.name if path.stem == "problems" else path.stem for path in tested]
        sizes = {name: int((pool.table == len(problems) + n).sum()) for n, name in enumerate(names)}
        tables.write_json(out.funnel, build_funnel(config.sources, name, decided.by_row, sizes))
    finally:
        pool.close()


def _write(decided: PoolDecisions, paths: Sequence[Path], out: Outputs) -> None:
    """Write the tables, each ordered by id."""
    decisions, pool = decided.by_row, decided.pool
    by_id = sorted(range(decided.n_rows), key=lambda row: pool.ids[row])
    kept = [row for row in by_id if decisions[row].ended == KEPT]
    if not kept:
        worst = max(rule_counts(decisions, switches(decided.source)), key=lambda count: count["refused"])
        raise UserError(
            f"of {decided.n_rows} problems none is kept; most, {worst['refused']}, are refused by {worst['rule']}: "
            "switch the rule off (rules), or fix the source"
        )
    problems = ProblemFile(*paths)

    def grouped(rows: Sequence[int]) -> Iterator[Mapping[str, Any]]:
        return (row_of(replace(problems[pool.ids[row]], group=decided.groups[row])) for row in rows)

    held_out = [row for row in by_id if decisions[row].ended == HELD_OUT]
    refused = [
        {"source": decision.source, "row": None, "problem_id": decision.problem_id}  # row: a position in a file
        | {"reason": decision.ended, "detail": decision.detail}
        for decision in (decisions[row] for row in by_id)
        if decision.ended not in (KEPT, HELD_OUT)
    ]
    tables.write(out.problems, grouped(kept), schemas.PROBLEMS)
    tables.write(out.test, grouped(held_out), schemas.PROBLEMS)
    tables.write(out.refused, refused, schemas.REFUSED)
    counts = f"{len(kept)} of {len(decisions)} problems kept, {len(held_out)} held out, {len(refused)} refused"
    log.info(f"curation: {counts}")


def publish(test: Path, out: Path, refused: Path) -> None:
    """Write the test problems as a source of its own, without refused rows; UserError where there are none."""
    if not tables.count(test):
        raise UserError(f"{test}: no problem is held out; its groups are larger than test_size, or the pool is empty")
    tables.write(out, map(row_of, stream_problems(test)), schemas.PROBLEMS)
    tables.write(refused, [], schemas.REFUSED)
