"""What a table of scores was made for, in its metadata. In: solutions. Out: a hash, compared when scores are read.

Solutions of the same number of steps could be exchanged for each other, and their scores would still fit in number.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

OF = "mmprm.candidates"


def digest(rows: Iterable[Mapping[str, Any]], *names: str) -> str:
    """Hash what a PRM reads of solutions: steps and answer; `names` are the columns that name a solution."""
    read = [[*(row[name] for name in names), row["steps"], row["answer"]] for row in rows]
    return hashlib.sha256(json.dumps(sorted(read, key=lambda row: row[: len(names)])).encode()).hexdigest()[:32]


def read_stamp(scores: Path) -> dict[str, str]:
    """Return the metadata of a score table; tables of earlier versions have none."""
    return {key.decode(): value.decode() for key, value in (pq.read_schema(scores).metadata or {}).items()}


def fits(scores: Path, solutions: str) -> bool:
    """Tell whether a score table was made for the solutions of this digest, or does not say."""
    return read_stamp(scores).get(OF, solutions) == solutions
