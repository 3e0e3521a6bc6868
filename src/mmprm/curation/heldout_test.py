"""What a curated source sets aside, as a source of its own. In: its test problems. Out: a problem table."""

from __future__ import annotations

from pathlib import Path

from mmprm.curation.problem_rows import problems_at
from mmprm.curation.signatures import opened
from mmprm.data import schemas, tables
from mmprm.data.problem import row_of
from mmprm.runtime.errors import UserError


def publish(test: Path, out: Path, refused: Path) -> None:
    """The same problems, and a table of no refused rows. UserError where none is set aside."""
    n_rows = opened(test).metadata.num_rows
    if not n_rows:
        raise UserError(f"{test}: no problem is set aside; its groups are larger than test_size, or the pool is empty")
    tables.write(out, map(row_of, problems_at([test], [(0, row) for row in range(n_rows)])), schemas.PROBLEMS)
    tables.write(refused, [], schemas.REFUSED)
