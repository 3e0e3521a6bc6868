"""The section with a few annotated trees. In: the annotation of a run. Out: nested plain values for the template."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.report import results
from mmprm.report.results import Row
from mmprm.report.sections.examples import data_uri
from mmprm.report.templates import shorten
from mmprm.runtime.errors import UserError

_MAX_ROLLOUTS = 6  # a node's rollouts that are shown; the page says how many more there are
_MAX_TEXT = 600  # characters of an unparsed rollout
_GREY = "#5b6066"  # of a state that nothing could be graded from


def shown_trees(config: Config, folder: Path) -> list[Row]:
    """Return `config.report.trees` trees as nested nodes with their problems, selected by `choose`."""
    seeds = folder / "seeds" / "seeds.parquet"
    status = tables.read_rows(results.annotation_files(config, folder, "status"), schemas.STATUS)
    kinds = {}
    if seeds.is_file():
        columns = tables.read(seeds, schemas.PROBLEMS).select(["problem_id", "source", "family"])
        kinds = {row["problem_id"]: (row["source"], row["family"]) for row in columns.to_pylist()}
    wanted = {row["problem_id"]: row for row in choose(status, kinds, config.report.trees)}
    if not wanted:
        return []
    nodes, rollouts = (
        _grouped(_rows_of(results.annotation_files(config, folder, name), schema, wanted), "problem_id")
        for name, schema in (("nodes", schemas.NODES), ("rollouts", schemas.ROLLOUTS))
    )
    problems = {row["problem_id"]: row for row in _rows_of([seeds] if kinds else [], schemas.PROBLEMS, wanted)}
    return [
        {
            "problem_id": name,
            "status": row,
            "problem": problems.get(name),
            "images": [data_uri(image) for image in (problems.get(name) or {}).get("images") or []],
            "root": nested(nodes[name], rollouts[name]),
        }
        for name, row in wanted.items()
    ]


def choose(status: Sequence[Row], kinds: Mapping[str, Any], count: int) -> list[Row]:
    """Return the STATUS rows of the trees with the most searches, then nodes, alternating between kinds of problems."""
    ranked = sorted(
        (row for row in status if row["n_nodes"]),
        key=lambda row: (-row["n_searches"], -row["n_nodes"], row["problem_id"]),
    )
    seen: Counter[Any] = Counter()
    turns = []
    for row in ranked:
        kind = kinds.get(row["problem_id"])
        turns.append(seen[kind])
        seen[kind] += 1
    return [row for _, row in sorted(zip(turns, ranked, strict=True), key=lambda pair: pair[0])][:count]


def _rows_of(paths: Sequence[Path], schema: pa.Schema, problem_ids: Collection[str]) -> Iterator[Row]:
    for path in paths:
        yield from tables.read(path, schema, problem_ids).to_pylist()


def _grouped(rows: Iterable[Row], key: str) -> dict[Any, list[Row]]:
    grouped: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row[key]].append(row)
    return grouped


def nested(nodes: list[Row], rollouts: list[Row]) -> Row:
    """Return the root with its children: each node with the steps that it adds to its parent's, and its rollouts."""
    by_node = _grouped(rollouts, "node_id")
    by_id = {
        node["node_id"]: {
            **node,
            "colour": colour(node["mc"]),
            "children": [],
            "verdicts": Counter(rollout["verdict"] for rollout in by_node[node["node_id"]]),
            "rollouts": _shown(by_node[node["node_id"]]),
            "more": max(0, len(by_node[node["node_id"]]) - _MAX_ROLLOUTS),
        }
        for node in sorted(nodes, key=lambda node: node["node_id"])
    }
    root = None
    for node in by_id.values():
        parent = by_id.get(node["parent_id"]) if node["parent_id"] is not None else None
        node["added"] = node["steps"][len(parent["steps"]) :] if parent else node["steps"]
        if parent is None:
            root = node
        else:
            parent["children"].append(node)
    if root is None:
        raise UserError(f"the tree of {nodes[0]['problem_id'] if nodes else '?'} has no root; annotate it again")
    for node in by_id.values():  # a chain is easiest to read in the order of its steps
        node["children"].sort(key=lambda child: (len(child["steps"]), child["node_id"]))
    return root


def _shown(rollouts: list[Row]) -> list[Row]:
    """Return the most informative rollouts: searched ones, then a right one, then the others, in their order."""
    first_right = next((index for index, rollout in enumerate(rollouts) if rollout["verdict"] == "correct"), None)
    ranked = sorted(range(len(rollouts)), key=lambda i: (not rollouts[i]["searched"], i != first_right, i))
    chosen = (rollouts[index] for index in sorted(ranked[:_MAX_ROLLOUTS]))
    return [{**rollout, "short": shorten(rollout["text"] or "", _MAX_TEXT)} for rollout in chosen]


def colour(mc: float | None) -> str:
    """Return a colour from orange (0) over grey (0.5) to blue (1), all dark enough for white text; None: grey."""
    if mc is None:
        return _GREY
    stops = [(0xA8, 0x46, 0x00), (0x66, 0x6C, 0x72), (0x00, 0x5A, 0x8E)]
    low, high, share = (stops[0], stops[1], mc * 2) if mc < 0.5 else (stops[1], stops[2], mc * 2 - 1)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(low, high, strict=True))
