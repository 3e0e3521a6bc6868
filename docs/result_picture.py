"""Write the pictures of docs/reproducing.md, accuracy over N of a finished run, as docs/images/<benchmark>.svg.

python docs/result_picture.py results/evidence
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmprm.config import read
from mmprm.report.sections.benchmark_results import results_at_largest_n

FOLDER = Path(__file__).with_name("images")


def main(results: Path) -> None:
    """Draw the report's own chart of each benchmark's first variant."""
    FOLDER.mkdir(exist_ok=True)
    config = read(results / "config.json")
    first = next(iter(config.prm.variants))
    for entry in results_at_largest_n(config, results, legend=True):
        if entry["variant"] == first and entry["chart"] is not None:
            (FOLDER / f"{entry['benchmark']}.svg").write_text(str(entry["chart"]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
