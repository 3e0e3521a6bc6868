"""How fast solutions are tagged by rules, and in how much memory. In: nothing. Out: one JSON line.

The solutions are written here: numbered steps, paragraphs, lines and sentences in turn, of six to nine steps each. One
in twenty states another answer than the problem's, one in ten has a formula for an answer that no rule can compare
(`--formulas`), and each problem has a picture's worth of bytes. The clock runs from problem table to tagged table.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmprm import config
from mmprm.data import schemas, tables
from mmprm.tagging.tag import tag
from perf.common import finish, machine, say

_WORDINGS = (
    "Adding the next side of the figure, which is {a} cm long (see Fig. 2), to what we have gives ${a} + {b} = {c}$.",
    "The part that is left over is marked in the figure, e.g. at $A$, so the sum is now\n$$\n{a} + {b} = {c}.\n$$",
    "Next we read {a}.5 from the table; without the half it is {a}, which makes {c} with the {b} from before.",
    "By symmetry both sides are equal. So the length so far grows from {b} by {a} to {c}.",
)
_FORMS = ("Step {n}: {text}\n", "{text}\n\n", "{text}\n", "{text} ")
_IMAGE_BYTES = 20_000


def rows(count: int, formulas: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield rows of PROBLEMS, by id. Every `formulas`th has a formula for an answer; 0: none."""
    rng = random.Random(seed)
    empty: dict[str, Any] = dict.fromkeys(schemas.PROBLEMS.names)
    for number in range(count):
        total, steps = rng.randint(1, 20), rng.randint(5, 8)
        pieces = []
        for step in range(steps):
            more = rng.randint(1, 20)
            text = rng.choice(_WORDINGS).format(a=more, b=total, c=total + more)
            pieces.append(_FORMS[number % 4].format(n=step + 1, text=text))
            total += more
        answer, stated = str(total), str(total + (number % 20 == 0))
        if formulas and number % formulas == 0:
            answer, stated = f"$x^2 + {total + 1}x + {total}$", f"$(x + 1)(x + {stated})$"
        pieces.append(_FORMS[number % 4].format(n=steps + 1, text=f"So the answer is {stated}."))
        yield empty | {
            "problem_id": f"raw/{number:08d}",
            "source": "raw",
            "question": f"How long is the way in figure {number}?",
            "answer": answer,
            "images": [rng.randbytes(_IMAGE_BYTES)],
            "choices": [],
            "answer_type": "auto",
            "solution": "".join(pieces),
            "unit": "",
            "tolerance": [],
            "group": "",
        }


def settings(workers: int) -> config.Config:
    """Return a run with a tagged source."""
    raw = {"kind": "table", "path": "raw.parquet", "columns": {"solution": "solution"}}
    return config.load(
        {
            "run": "timing",
            "sources": {
                "raw": raw,
                "tagged": {"kind": "tagged", "sources": ["raw"]},
                "test": {"kind": "table", "path": "test.parquet"},
            },
            "policy": {"base": "base", "sources": ["tagged"]},
            "seeds": {"sources": ["raw"]},
            "benchmarks": {"test": {"source": "test"}},
            "grading": {"workers": workers},
        }
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.tagging", description=__doc__.partition("\n")[0])
    parser.add_argument("--solutions", type=int, default=100_000)
    parser.add_argument("--formulas", type=int, default=10, help="every so many; 0: none")
    parser.add_argument("--workers", type=int, default=2, help="grading.workers")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mmprm-tagging-") as name:
        folder = Path(name)
        out = [folder / file for file in ("out.parquet", "out.refused.parquet", "out.json")]
        tables.write(folder / "raw.parquet", rows(given.solutions, given.formulas, given.seed), schemas.PROBLEMS)
        say(f"{given.solutions} solutions are written; tagging them")
        before = _peak_mb()
        started = time.monotonic()
        tag(settings(given.workers), "tagged", [folder / "raw.parquet"], folder / "work", *out)
        seconds = time.monotonic() - started
        counts = json.loads(out[2].read_text(encoding="utf-8"))
    finish(
        {
            "solutions": given.solutions,
            "formulas": given.formulas,
            "seconds": round(seconds, 2),
            "solutions_per_second": round(given.solutions / seconds, 1),
            "peak_mb": round(_peak_mb()),
            "peak_mb_before": round(before),
            "kept_by_method": counts["kept_by_method"],
            "refused_by_reason": counts["refused_by_reason"],
            "machine": machine(),
        }
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)


if __name__ == "__main__":
    main()
