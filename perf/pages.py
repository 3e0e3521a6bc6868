"""Pages to look at with many items, in a real browser: until the list is there, an item is open, a filter is set.

200 trees of 60 states with 16 rollouts each and 5,008 candidates of 8 steps are drawn as plain values, written by the
kit, and opened by Chromium over file://. Out: one JSON line, seconds and sizes.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mmprm.pages.kit import Look, parts_in, write_page
from mmprm.runtime.errors import UserError
from perf.common import finish, machine, user_errors

Row = dict[str, Any]
_WORDS = ("A", "B", "the", "area", "of", "triangle", "is", "42", "+", "*")


class Drawn:
    """Items of pages whose texts are as long as those of real solutions."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)

    def step(self) -> str:
        """Draw a step of 25 words."""
        return " ".join(self._rng.choices(_WORDS, k=25))

    def value(self) -> float:
        """Draw a value from 0 to 1."""
        return self._rng.random()

    def tree(self, name: str, states: int, rollouts: int) -> Row:
        """Draw an annotated tree, as `tree_items` makes them."""
        return {
            **{"id": name, "question": self.step(), "choices": [], "answer": "3", "images": [], "status": "done"},
            **{"reason": "", "searches": 1, "drawn": states * rollouts, "tokens": 1},
            "nodes": [self._state(number, rollouts) for number in range(states)],
        }

    def _state(self, number: int, rollouts: int) -> Row:
        steps = [self.step(), self.step()] if number else []
        own = {"verdict": "correct", "method": "number", "searched": False, "status": "ok", "answer": "3"}
        return {
            **{"id": number, "parent": self._rng.randrange(number) if number else None, "from": 0, "steps": steps},
            **{"mc": self.value(), "right": 1, "drawn": rollouts, "unparsed": 0, "undecided": 0, "visits": 1},
            **{"error": False, "misplaced": None, "prm": [0.5] * len(steps), "truth": []},
            "rollouts": [own | {"steps": [self.step() for _ in range(5)]} for _ in range(rollouts)],
        }

    def problem(self, name: str, candidates: int) -> Row:
        """Draw a benchmark's problem with its candidates, as `candidate_items` makes them."""
        own = {"verdict": "incorrect", "method": "number", "status": "ok", "answer": "3", "truth": [], "weight": 0.5}
        chosen = {"name": "PRM, mean_odds", "primary": True, "answers": ["3"], "candidates": [0], "right": 0.0}
        return {
            **{"id": name, "question": self.step(), "choices": [], "answer": "3", "images": []},
            **{"strategies": [chosen], "votes": []},
            "candidates": [
                own
                | {"number": number, "steps": [self.step() for _ in range(8)], "prm": [0.5] * 9}
                | {"score": self.value(), "chosen_by": []}
                for number in range(candidates)
            ],
        }


def write_trees(folder: Path, trees: int, states: int, rollouts: int) -> Path:
    """Write a page of so many trees."""
    drawn, rows = Drawn(), []
    with parts_in(folder / "trees") as parts:
        for number in range(trees):
            part, at = parts.add(drawn.tree(f"t{number}", states, rollouts))
            facts = {"about": drawn.step(), "source": "s", "family": f"f{number % 5}", "split": "train"}
            counts = {"mc": drawn.value(), "states": states, "errors": 3, "misplaced": 0, "apart": drawn.value()}
            rows.append({"id": f"t{number}", **facts, **counts, "part": part, "at": at})
    data = {"rows": rows, "scored_by": "soft", "truth": False}
    write_page(folder / "trees.html", Look("Trees", ("steps.js", "browse.js", "trees.js")), data, parts)
    return folder / "trees.html"


def write_candidates(folder: Path, problems: int, candidates: int) -> Path:
    """Write a page of so many problems with so many candidates each."""
    drawn, rows = Drawn(), []
    with parts_in(folder / "candidates") as parts:
        for number in range(problems):
            part, at = parts.add(drawn.problem(f"c{number}", candidates))
            counts = {"candidates": candidates, "right": 1, "undecided": 0, "unparsed": 0, "surely": drawn.value()}
            chosen = {"prm": 0.0, "vote": 1.0, "weighted": 1.0}
            facts = {"about": drawn.step(), "source": "s", "family": "f"}
            rows.append({"id": f"c{number}", **facts, **counts, **chosen, "part": part, "at": at})
    data = {"rows": rows, "primary": "mean_odds", "weight": "average", "truth": False}
    write_page(folder / "candidates.html", Look("Candidates", ("steps.js", "browse.js", "candidates.js")), data, parts)
    return folder / "candidates.html"


def timed(browser: Any, page: Path, choose: tuple[str, str]) -> Row:
    """Open a page, its first item, and a filter (its select and a value); returns seconds and mebibytes."""
    times = [time.monotonic()]
    browser.open(page)
    browser.wait("document.querySelectorAll('.entries a').length")
    times.append(time.monotonic())
    browser.click(".entries a")
    browser.wait("document.querySelector('.detail h2')")
    times.append(time.monotonic())
    browser.choose(*choose)
    times.append(time.monotonic())
    if browser.said:
        raise UserError(f"{page.name}: the page says {browser.said}")
    parts = sum(path.stat().st_size for path in (page.parent / page.stem).iterdir())
    sizes = {"page_mib": page.stat().st_size / 2**20, "parts_mib": parts / 2**20}
    seconds = [round(after - before, 3) for before, after in itertools.pairwise(times)]
    return {**dict(zip(("open_s", "item_s", "filter_s"), seconds, strict=True)), **sizes}


def main() -> None:
    """Parse the sizes, write the pages, and time them."""
    parser = argparse.ArgumentParser(prog="python -m perf.pages", description=__doc__)
    for name, default in (("trees", 200), ("states", 60), ("rollouts", 16), ("problems", 313), ("candidates", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    sizes = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    chromium: Any = importlib.import_module("browser")  # which drives Chromium in the tests
    with user_errors("pages"), tempfile.TemporaryDirectory() as scratch:
        if chromium.CHROMIUM is None:
            raise UserError(chromium.ABSENT)
        folder = Path(scratch)
        trees = write_trees(folder, sizes.trees, sizes.states, sizes.rollouts)
        candidates = write_candidates(folder, sizes.problems, sizes.candidates)
        with chromium.Browser(folder / "browser") as opened:
            opened.look()
            result = {
                "trees": timed(opened, trees, ("#f-family", "f1")),
                "candidates": timed(opened, candidates, ("#f-case", "missed")),
            }
        finish({**result, "sizes": vars(sizes), "machine": machine(), "load": os.getloadavg()[0]})


if __name__ == "__main__":
    main()
