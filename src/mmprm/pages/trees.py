"""The page of all annotated trees, and that of one. In: results/<run>. Out: HTML, and the trees' values beside it.

A shard's tables hold a problem's rows side by side, in the order of ids: one tree is in memory at a time.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, ProblemFile, problems_by_id
from mmprm.labels.cleaning import in_dev
from mmprm.labels.gather import trees
from mmprm.pages.kit import Look, Parts, Row, parts_in, write_page
from mmprm.pages.problem_view import StepTruth
from mmprm.pages.tree_items import tree_item, tree_row
from mmprm.report import results
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress

_SCRIPTS = ("steps.js", "browse.js", "trees.js")
Scores = Mapping[int, Sequence[float]]


def scores_of(folder: Path, variant: str) -> Path:
    """Return where a PRM variant's values of all states of a run's trees are kept."""
    return folder / "trees" / "values" / f"{variant}.parquet"


def write_trees(config: Config, folder: Path, scores: Sequence[Path], out: Path, parts: Path) -> None:
    """Write the page of all trees of the run in `folder`; parts: the folder beside it for their values.

    scores: the values of at most one PRM (see `scores_of`). Raises UserError where a table is missing or damaged.
    """
    names = results.shard_names(config, folder, "annotation")
    shards = [folder / "annotation" / name for name in names]
    statuses = {
        row["problem_id"]: row for row in tables.read_rows([s / "status.parquet" for s in shards], schemas.STATUS)
    }
    problems, values = ProblemFile(folder / "seeds" / "seeds.parquet"), _Scores(scores)
    rows, truth = [], False
    with parts_in(parts) as kept, Progress("trees", len(statuses), "problems") as bar:
        found = trees(shards, schemas.NODES.names, schemas.ROLLOUTS.names)
        for done, (name, nodes, rollouts) in enumerate(found):
            problem = _problem(problems, name)
            item = tree_item(statuses[name], nodes, rollouts, problem, values.of(name))
            split = "dev" if in_dev(config.seed, name, config.labels.dev_share) else "train"
            part, at = kept.add(item)
            rows.append(tree_row(item, problem, split) | {"part": part, "at": at})
            truth = truth or bool(StepTruth(problem))
            bar.update(done)
    rows.sort(key=lambda row: row["id"])
    _write(config, out, rows, kept, scores[0].stem if scores else None, truth)
    log.info(f"{out}: {len(rows)} trees")


def write_tree(config: Config, folder: Path, problem_id: str, out: Path) -> None:
    """Write the page of one problem's tree, in one file; UserError where it was not annotated."""
    wanted = [problem_id]

    def read(name: str, schema: pa.Schema) -> list[Row]:
        files = results.annotation_files(config, folder, name)
        return [row for path in files for row in tables.read(path, schema, wanted).to_pylist()]

    status, nodes = read("status", schemas.STATUS), read("nodes", schemas.NODES)
    if not nodes:
        why = f": {status[0]['status']}, {status[0]['reason']}" if status else ""
        raise UserError(
            f"{folder} has no tree of problem {problem_id!r}{why}; seeds/decisions.parquet says whether it is a seed"
        )
    seeds = folder / "seeds" / "seeds.parquet"
    problem = problems_by_id(seeds, only=wanted).get(problem_id) if seeds.is_file() else None
    scored = [path for name in config.prm.variants if (path := scores_of(folder, name)).is_file()][:1]
    item = tree_item(
        status[0], nodes, read("rollouts", schemas.ROLLOUTS), problem, _Scores(scored, wanted).of(problem_id)
    )
    split = "dev" if in_dev(config.seed, problem_id, config.labels.dev_share) else "train"
    with parts_in(None) as parts:
        part, at = parts.add(item)
    row = tree_row(item, problem, split) | {"part": part, "at": at}
    _write(config, out, [row], parts, scored[0].stem if scored else None, bool(StepTruth(problem)))


def _problem(problems: ProblemFile, name: str) -> Problem | None:
    try:
        return problems[name]
    except KeyError:
        return None


def _write(config: Config, out: Path, rows: Sequence[Row], parts: Parts, variant: str | None, truth: bool) -> None:
    title = f"Tree of {rows[0]['id']}" if len(rows) == 1 else "Annotated trees"
    look = Look(title, _SCRIPTS, [f"run {config.run}", f"{len(rows)} tree{'s' * (len(rows) != 1)}"])
    write_page(out, look, {"rows": list(rows), "scored_by": variant, "truth": truth}, parts)


class _Scores:
    """A PRM's values of the states of trees, by problem; of no PRM where no table is given."""

    def __init__(self, paths: Sequence[Path], only: Sequence[str] | None = None) -> None:
        self._table = tables.read(paths[0], schemas.STATE_SCORES, only) if paths else None
        self._places: dict[str, list[int]] = {}
        for place, name in enumerate(self._table["problem_id"].to_pylist() if self._table is not None else ()):
            self._places.setdefault(name, [place, place])[1] = place  # a problem's rows lie side by side

    def of(self, problem_id: str) -> Scores | None:
        """Return the values of a problem's states by node; none where it has none, None without a PRM."""
        if self._table is None:
            return None
        first, last = self._places.get(problem_id, (0, -1))
        rows = self._table.slice(first, last - first + 1).to_pylist()
        return {row["node_id"]: row["probabilities"] or [] for row in rows}
