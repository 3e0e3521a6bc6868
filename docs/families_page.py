"""Write docs/families.md, the page of the matrix of families, from docs/families.json, which `make matrix` writes.

python docs/families_page.py            # rewrite the page
python docs/families_page.py --check    # status 1 where page and JSON differ
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from made_page import write_or_check

PAGE, JSON = (Path(__file__).with_name(f"families.{kind}") for kind in ("md", "json"))
HEAD = """\
# Families of models

<!-- Made by `python docs/families_page.py` from docs/families.json, which `make matrix` writes: edit neither. -->

What came of each family, in float32 and in bfloat16, from a base folder to scores, by the functions that a run uses.
**The models are tiny and random** (some 0.4 million parameters), with the families' own classes, processors and kinds
of tokenizer: this shows that the parts fit together and compute the same, not that a pretrained model is good at it.

{conditions}

- **SFT**: two updates on a table that mixes rows with an image and without.
- **samples**: greedy and random solutions of both kinds of problems; how many greedy ones of vLLM are those of
  transformers.
- **PRM**: two updates from that policy, on paths and on trees; the largest difference of P(yes) between the PRMs of the
  two.
- **scores**: `score_candidates` (in transformers: on trees), with its cross-check over all candidates; the largest
  difference of P(yes) from that of one candidate at a time in transformers.
- **export**: the PRM's folder, read by plain transformers (`AutoProcessor`, `AutoModel…`) and by plain vLLM (`LLM`),
  without mmprm; the same difference.

A number in brackets leads to what was said below. `(none)` stands for a cell that was not tried, since what it needs
does not work.
"""
COLUMNS = {
    "sft": "SFT",
    "samples_transformers": "samples: transformers",
    "samples_vllm": "samples: vLLM",
    "prm_paths": "PRM: paths",
    "prm_trees": "PRM: trees",
    "scores_transformers": "scores: transformers",
    "scores_vllm": "scores: vLLM",
    "export_transformers": "export: transformers",
    "export_vllm": "export: vLLM",
}


def page() -> str:
    """Return the whole page."""
    matrix: dict[str, Any] = json.loads(JSON.read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {version}" for name, version in matrix["versions"].items())
    conditions = f"On {matrix['date']}, on a CPU ({matrix['machine']}): {versions}. To run it again: `make matrix`."
    cells = {(cell["family"], cell["precision"], cell["step"]): cell for cell in matrix["cells"]}
    notes: dict[str, int] = {}
    lines = ["| family | " + " | ".join(["weights", *COLUMNS.values()]) + " |", "|---" * (2 + len(COLUMNS)) + "|"]
    for family, precision in dict.fromkeys((cell["family"], cell["precision"]) for cell in matrix["cells"]):
        row = [_shown(cells[family, precision, step], notes) for step in COLUMNS]
        lines.append("| " + " | ".join([matrix["titles"][family], precision, *row]) + " |")
    said = [f"{number}. {_plain(text)}" for text, number in notes.items()]
    return "\n".join([HEAD.format(conditions=conditions), *lines, "", "## What was said", "", *said, ""])


def _shown(cell: dict[str, Any], notes: dict[str, int]) -> str:
    """Write a cell; its text gets a number in `notes`."""
    if cell["outcome"] == "not tried":
        return "(none)"
    text, difference = cell.get("text", ""), cell.get("difference")
    if cell["outcome"] == "works" and text.endswith("those of transformers"):
        return text.partition(" greedy")[0]
    size = "yes" if difference is None else f"{difference:.0e}" if difference else "0"
    shown = size if cell["outcome"] == "works" else cell["outcome"]
    if not text:
        return shown
    return f"{shown} [{notes.setdefault(text, len(notes) + 1)}]"


def _plain(text: str) -> str:
    """Write a message as text that no Markdown changes."""
    return f"`{text.replace('`', chr(39))}`"


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), f"{JSON.name} says"))
