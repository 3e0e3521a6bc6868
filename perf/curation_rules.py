"""How often curation's rules are right on published rows: `python -m perf.curation_rules`. Out: one JSON line.

In: a folder with `real/` (the environment variable MMPRM_REAL_DATA), and labels: a CSV file of id, pass_a, pass_b,
where a pass is the rules that would refuse the row rightly, with blanks between them. A row is positive for a rule
where both passes say so. For each rule for single problems: how many labelled rows it refuses (`fired`), how many of
these rightly, precision, how many positives there are (`labelled`), recall; each share with its 95 % interval (Wilson
1927). With `--rows` also the ids of what was refused wrongly, and missed. The rules are applied as `mmprm curate` does,
whether they are on by default or not.

The rules that compare problems need no labels: of MM-K12 and MathVision the folder has a second copy of some rows
(`mm_k12/`, with pictures made smaller and laid on black; `mathvision/testmini.parquet`), so that ids tell which are the
same. `near_duplicate`: pairs of both copies together; `in_benchmark`: the second copy is the benchmark. `image_blank`
has no positive among the labelled rows; it is measured on these and on that copy of MM-K12, whose black pictures are
labelled by eye in `tests/curation/real_blank_pictures.csv`.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmprm.config.data_files import DataFiles
from mmprm.config.derived import CuratedSource, Curation, CurationRules
from mmprm.config.sources import KINDS
from mmprm.curation.benchmarks import BenchmarkMatcher
from mmprm.curation.decisions import broken_rules
from mmprm.curation.duplicates import duplicates
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.signatures import SignatureSettings, sign_tables
from mmprm.curation.similarity import PictureClusters
from mmprm.data.problem import Problem, write_problems
from mmprm.problems import rows
from mmprm.problems.adapters import adapter_of
from mmprm.problems.fields import SourceContext, problem_of
from mmprm.problems.refusals import RowRefusedError, object_of
from mmprm.runtime.errors import UserError
from perf.common import finish, machine, need, say, user_errors

ROOT = Path(__file__).parents[1]
LABELS = ROOT / "tests/curation/real_labels.csv"
BLANK = ROOT / "tests/curation/real_blank_pictures.csv"  # of the second copy of MM-K12: id, blank (1 or 0)
FILES = {
    "mm_k12": "mm_k12/k12.json",
    "mathvision": "mathvision/test.parquet",
    "we_math": "we_math/testmini.json",
    "dynamath": "dynamath/dataset.json",
}
COPIES = {"mm_k12": "mm_k12/k12.json", "mathvision": "mathvision/testmini.parquet"}
PAIRS = ("in_benchmark", "near_duplicate")  # rules that compare problems


def published(folder: Path, files: Mapping[str, str] | None = None) -> Iterator[tuple[str, Problem]]:
    """Yield (the row's id in the labels, the problem) of every row of the published sets that intake takes."""
    for kind, name in (files or FILES).items():
        source = KINDS["sources"][kind].model_validate({"kind": kind, "path": str(folder / name)})
        assert isinstance(source, DataFiles)
        located, adapter = rows.find_files(source), adapter_of(source)
        context = SourceContext(kind, located.images, 25_000_000)
        for number, row in enumerate(rows.read(located.files, adapter.columns, adapter.hint, also=adapter.also)):
            try:
                problem = problem_of(adapter.fields(object_of(row)), context)
            except RowRefusedError as error:
                say(f"{getattr(row, 'place', number)} is refused by intake: {error}")
                continue
            yield f"we_math/{row['ID']}#{number}" if kind == "we_math" else problem.problem_id, problem


def read_labels(path: Path) -> dict[str, tuple[set[str], set[str]]]:
    """Return the rules of both passes for each id. UserError where a rule is unknown."""
    labels = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            passes = set(row["pass_a"].split()), set(row["pass_b"].split())
            if unknown := (passes[0] | passes[1]) - CurationRules.model_fields.keys():
                raise UserError(f"{path}: {row['id']}: there are no rules {sorted(unknown)}")
            labels[row["id"]] = passes
    return labels


def kappa(labels: dict[str, tuple[set[str], set[str]]]) -> float:
    """Return Cohen's kappa of the two passes over all pairs of row and rule."""
    pairs = [(rule in a, rule in b) for a, b in labels.values() for rule in CurationRules.model_fields]
    agreed = sum(a == b for a, b in pairs) / len(pairs)
    shares = [sum(pair[index] for pair in pairs) / len(pairs) for index in (0, 1)]
    chance = shares[0] * shares[1] + (1 - shares[0]) * (1 - shares[1])
    return 1.0 if chance == 1 else (agreed - chance) / (1 - chance)


def refusals(problems: dict[str, Problem], workers: int) -> dict[str, set[str]]:
    """Return rule -> the ids that it refuses."""
    settings = CuratedSource(kind="curated", sources=["real"])
    with tempfile.TemporaryDirectory() as name:
        table = Path(name, "real.parquet")
        write_problems(table, problems.values())
        index = ProblemIndex(sign_tables([table], SignatureSettings(Path(name, "work"), 3, 1, workers, 5.0)))
        own = {problem.problem_id: label for label, problem in problems.items()}
        found: dict[str, set[str]] = defaultdict(set)
        for row, rule, _ in broken_rules(index, len(index), settings):
            found[rule].add(own[index.ids[row]])
        index.close()
    return found


def compare_copies(folder: Path, workers: int) -> dict[str, Any]:
    """Apply the rules that compare problems to the rows and their second copies."""
    rows_of = {"a": dict(published(folder / "real")), "b": dict(published(folder, COPIES))}
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name, f"{side}.parquet") for side in rows_of]
        for path, (side, found) in zip(paths, rows_of.items(), strict=True):
            problems = (replace(problem, problem_id=f"{side}/{problem.problem_id}") for problem in found.values())
            write_problems(path, problems)
        index = ProblemIndex(sign_tables(paths, SignatureSettings(Path(name, "work"), 3, 1, workers, 5.0)))
        pictures = PictureClusters(index, np.ones(len(index.hashes), dtype=bool), Curation().min_detail)
        repeated = duplicates(index, pictures, np.arange(len(index)))
        tables = [np.flatnonzero(index.table == number) for number in (0, 1)]
        matches = BenchmarkMatcher(index, pictures, *tables).matches()
        index.close()
    names = [problem_id[2:] for problem_id in index.ids]
    same = {names[row] for row in tables[0]} & {names[row] for row in tables[1]}
    pairs = {"near_duplicate": list(repeated.items())}
    pairs["in_benchmark"] = [(row, match.tested) for row, match in matches.items()]
    on, rules = CurationRules(), {}
    for rule, alike in pairs.items():
        right = sum(names[one] == names[other] for one, other in alike)
        counts = {"on": getattr(on, rule), "fired": len(alike), "right": right, "same": len(same)}
        rules[rule] = counts | {"precision": share(right, len(alike)), "recall": share(right, len(same))}
    return rules


def share(part: int, total: int) -> dict[str, Any]:
    """Return a share and its Wilson interval of 95 %, None of nothing."""
    if not total:
        return {"share": None, "interval": None}
    z, observed = 1.959964, part / total
    centre = (observed + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * (observed * (1 - observed) / total + z * z / (4 * total * total)) ** 0.5
    return {"share": round(observed, 3), "interval": [round(centre - half, 3), round(centre + half, 3)]}


def _with_blank(counts: dict[str, Any], folder: Path, workers: int) -> dict[str, Any]:
    """Add to the counts of `image_blank` those of the second copy of MM-K12."""
    with BLANK.open(encoding="utf-8", newline="") as file:
        blank = {f"mm_k12/{row['id']}" for row in csv.DictReader(file) if row["blank"] == "1"}
    copy = dict(published(folder, {"mm_k12": COPIES["mm_k12"]}))
    fired = refusals(copy, workers).get("image_blank", set())
    more = {"fired": len(fired), "right": len(fired & blank), "labelled": len(blank)}
    counts |= {name: counts[name] + count for name, count in more.items()}
    precision, recall = (share(counts["right"], counts[name]) for name in ("fired", "labelled"))
    return counts | {"precision": precision, "recall": recall}


def measure(folder: Path, path: Path, with_rows: bool, workers: int) -> dict[str, Any]:
    """Compare what the rules refuse with the labels."""
    labels = read_labels(path)
    problems = {label: problem for label, problem in published(folder) if label in labels}
    if lacking := labels.keys() - problems.keys():
        raise UserError(f"{path}: {len(lacking)} of the ids are not in {folder}, such as {min(lacking)}")
    found, on = refusals(problems, workers), CurationRules()
    rules: dict[str, Any] = {}
    for rule in (rule for rule in CurationRules.model_fields if rule not in PAIRS):
        fired, positive = found.get(rule, set()), {label for label, (a, b) in labels.items() if rule in a & b}
        right = fired & positive
        counts = {"on": getattr(on, rule), "fired": len(fired), "right": len(right), "labelled": len(positive)}
        precision, recall = share(len(right), len(fired)), share(len(right), len(positive))
        rules[rule] = counts | {"precision": precision, "recall": recall}
        if with_rows:
            rules[rule] |= {"wrong": sorted(fired - positive), "missed": sorted(positive - fired)}
    rules["image_blank"] = _with_blank(rules["image_blank"], folder.parent, workers)
    rules |= compare_copies(folder.parent, workers)
    return {"rows": len(labels), "kappa": round(kappa(labels), 3), "rules": rules}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="perf.curation_rules", description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, default=LABELS)
    parser.add_argument("--rows", action="store_true", help="also print the ids of wrong refusals and of missed rows")
    parser.add_argument("--workers", type=int, default=1, help="processes that grade")
    options = parser.parse_args()
    with user_errors("curation_rules"):
        folder = Path(os.environ.get("MMPRM_REAL_DATA", ""), "real")
        need(folder / FILES["mm_k12"], folder.parent / COPIES["mm_k12"], options.labels)
        finish(
            {"name": "curation_rules", **measure(folder, options.labels, options.rows, options.workers)}
            | {"machine": machine()}
        )


if __name__ == "__main__":
    main()
