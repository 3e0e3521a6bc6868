"""Which items people are asked about. In: the tables of a run. Out: a stratified sample, with how many each stands for.

Each stratum gets as many items as any other (or all it has), since what is rare is what an audit is about. Within
one the population is put in order of depth, family and source, and every so-many-th unit is taken from a random start
(systematic sampling): each unit of a stratum has the same chance, and depths, families and sources have their share.
"""

import hashlib
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.derived import CuratedSource
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, problems_by_id
from mmprm.report import results

Row = dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """One item of the population. order: by what it is spread within its stratum; place: where its row is found."""

    stratum: str
    order: tuple[str, ...]
    claim: str
    place: tuple[Any, ...]
    value: float | None = None


@dataclass(frozen=True)
class Item:
    """One item of the sample: `weight` units of the population stand behind it."""

    kind: str
    unit: Unit
    weight: float
    problem: Problem | None
    problem_id: str
    shown: Row  # what there is to judge: steps, and further facts

    @property
    def name(self) -> str:
        """A hash of what is judged: the same item of another sample has the same name."""
        said = repr(
            (self.kind, self.problem_id, self.shown.get("steps"), self.shown.get("answer"), self.shown.get("reason"))
        )
        return hashlib.sha256(said.encode(errors="surrogatepass")).hexdigest()[:12]


def allocate(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Share `count` out evenly over strata of these sizes; what one cannot take goes to the others."""
    given = dict.fromkeys(sizes, 0)
    while (left := count - sum(given.values())) > 0 and (
        open_ := [name for name in sizes if given[name] < sizes[name]]
    ):
        for name in open_[:left]:
            given[name] += min(max(1, left // len(open_)), sizes[name] - given[name])
    return given


def draw(units: Iterable[Unit], count: int, seed: int) -> list[tuple[Unit, float]]:
    """Draw a stratified systematic sample: (unit, weight), the weights of a stratum adding up to its size."""
    by_stratum: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        by_stratum[unit.stratum].append(unit)
    chosen = []
    given = allocate({name: len(by_stratum[name]) for name in sorted(by_stratum)}, count)
    for name, n in given.items():
        rng = random.Random(f"{seed}/audit/{name}")
        own = sorted(by_stratum[name], key=lambda unit: (unit.order, _hash(seed, unit)))
        start = rng.random()
        chosen += [(own[math.floor((start + k) * len(own) / n)], len(own) / n) for k in range(n)]
    rng = random.Random(f"{seed}/audit/order")
    rng.shuffle(chosen)  # whoever judges must not see the strata one after another
    return chosen


def _hash(seed: int, unit: Unit) -> bytes:
    return hashlib.sha256(f"{seed}\x1f{unit.place}".encode(errors="surrogatepass")).digest()


def steps(config: Config, folder: Path, count: int) -> list[Item]:
    """Draw labelled steps of the paths; strata: the MC value behind the label, or that it is implied."""
    paths, seeds = folder / "labels" / "paths.parquet", folder / "seeds" / "seeds.parquet"
    if not count or not (paths.is_file() and seeds.is_file()):
        return []
    families = {
        row["problem_id"]: row["family"] or ""
        for part in tables.batches(seeds, schemas.PROBLEMS, ("problem_id", "family"))
        for row in part.to_pylist()
    }
    chosen = draw(_labelled(paths, families), count, config.seed)
    rows = _rows(paths, schemas.PATHS, "path_id", {unit.place[0] for unit, _ in chosen})
    problems = problems_by_id(seeds, only={row["problem_id"] for row in rows.values()})
    items = []
    for unit, weight in chosen:
        row = rows[unit.place[0]]
        shown = {"steps": row["steps"][: unit.place[1] + 1]}
        items.append(Item("step", unit, weight, problems.get(row["problem_id"]), row["problem_id"], shown))
    return items


def _labelled(paths: Path, families: Mapping[str, str]) -> Iterator[Unit]:
    """Yield the labelled steps of the trees' paths, each state once."""
    columns = ("path_id", "problem_id", "source", "steps", "n_correct", "n_rollouts", "hard", "label_source")
    seen: set[bytes] = set()
    for part in tables.batches(paths, schemas.PATHS, columns):
        for row in part.to_pylist():
            if row["problem_id"] not in families:  # labelled steps from elsewhere have no tree here
                continue
            state = hashlib.sha256(row["problem_id"].encode())
            for place, step in enumerate(row["steps"]):
                state.update(f"\x1f{step}".encode())
                if row["hard"][place] is None or (name := state.digest()[:12]) in seen:
                    continue
                seen.add(name)
                drawn = row["n_rollouts"][place]
                mc = row["n_correct"][place] / drawn if drawn else None
                order = (_depth(place), families[row["problem_id"]], row["source"] or "")
                yield Unit(
                    _by_mc(mc, row["hard"][place]), order, _claim(row["hard"][place] == 1), (row["path_id"], place), mc
                )


def _by_mc(mc: float | None, hard: int) -> str:
    if mc is None:
        return f"{_claim(hard == 1)}, implied"
    return "MC 0" if mc == 0 else "MC below 0.5" if mc < 0.5 else "MC from 0.5" if mc < 1 else "MC 1"


def _depth(place: int) -> str:
    return "step 1" if place == 0 else "steps 2 to 3" if place < 3 else "step 4 or later"


def _claim(right: bool) -> str:
    return "right" if right else "wrong"


def verdicts(config: Config, folder: Path, count: int) -> list[Item]:
    """Draw graded answers of all benchmarks' candidates; strata: verdict and what gave it."""
    files = {name: folder / "bench" / name / "candidates.parquet" for name in config.benchmarks}
    files = {name: path for name, path in files.items() if path.is_file()}
    if not count:
        return []
    columns = ("problem_id", "candidate", "status", "verdict", "method")
    units = (
        Unit(
            f"{row['verdict']} by {row['method']}",
            (name,),
            _claim(row["verdict"] == "correct"),
            (name, row["problem_id"], row["candidate"]),
        )
        for name, path in files.items()
        for part in tables.batches(path, schemas.CANDIDATES, columns)
        for row in part.to_pylist()
        if row["status"] == "ok" and row["verdict"] in ("correct", "incorrect")
    )
    chosen = draw(units, count, config.seed)
    items = []
    for name, path in files.items():
        own = [(unit, weight) for unit, weight in chosen if unit.place[0] == name]
        wanted = sorted({unit.place[1] for unit, _ in own})
        table = tables.read(path, schemas.CANDIDATES, wanted).to_pylist()
        rows = {(row["problem_id"], row["candidate"]): row for row in table}
        source = folder / "problems" / f"{config.benchmarks[name].source}.parquet"
        problems = problems_by_id(source, only=wanted) if source.is_file() else {}
        for unit, weight in own:
            row = rows[unit.place[1:]]
            shown = {"steps": row["steps"], "answer": row["answer"]}
            items.append(Item("verdict", unit, weight, problems.get(row["problem_id"]), row["problem_id"], shown))
    return items


def refusals(config: Config, folder: Path, count: int) -> list[Item]:
    """Draw problems that curation refused; strata: the reasons."""
    curated = {name: source for name, source in config.sources.items() if isinstance(source, CuratedSource)}
    units, details = [], {}
    for name in curated if count else ():
        table = results.existing([folder / "problems" / f"{name}.refused.parquet"])
        for row in tables.read_rows(table, schemas.REFUSED):
            if row["problem_id"] is not None:
                units.append(Unit(row["reason"], (name,), "right", (name, row["problem_id"])))
                details[name, row["problem_id"]] = row["detail"]
    items = []
    for unit, weight in draw(units, count, config.seed):
        name, problem_id = unit.place
        parents = results.existing(folder / "problems" / f"{parent}.parquet" for parent in curated[name].sources)
        problem = problems_by_id(*parents, only=[problem_id]).get(problem_id)
        shown = {"reason": unit.stratum.replace("_", " "), "detail": details[name, problem_id] or ""}
        items.append(Item("refusal", unit, weight, problem, problem_id, shown))
    return items


def _rows(path: Path, schema: Any, key: str, wanted: Sequence[str] | set[str]) -> dict[str, Row]:
    """Read the rows whose column `key` has one of the wanted values."""
    rows = (row for part in tables.batches(path, schema) for row in part.to_pylist())
    return {row[key]: row for row in rows if row[key] in wanted}
