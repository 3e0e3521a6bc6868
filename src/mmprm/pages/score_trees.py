"""A PRM's values of the states of all trees. In: a PRM, seeds, trees. Out: schemas.STATE_SCORES, and their cost.

A state is a prefix of longer ones, and a PRM reads from left to right: only the longest are read, each shorter one's
values are the beginning of theirs.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import ProblemFile
from mmprm.labels.gather import trees
from mmprm.prm.step_scores import Item, StepScores
from mmprm.rollouts.rollout import Prefix
from mmprm.runtime.errors import UserError


def score_trees(config: Config, prm: Path, seeds: Path, shards: Sequence[Path], out: Path) -> None:
    """Write P(yes) after each step of every node of the trees in the folders `shards`.

    UserError where a problem is not among the seeds, or as of `score_candidates.score_items`.
    """
    from mmprm.prm.score_candidates import score_items

    problems = ProblemFile(seeds)
    items: list[Item] = []
    states: list[tuple[str, int, int | None, int]] = []  # problem, node, the item that begins with it, its steps
    for name, nodes, _ in trees(shards):
        if name not in problems:
            raise UserError(f"{seeds} has no problem {name!r}, which has a tree: delete the annotation, run again")
        prefixes = {node["node_id"]: tuple(node["steps"]) for node in nodes}
        longest = longest_states(prefixes.values())
        begins = enumerate(longest, len(items))
        reads = {state[:length]: index for index, state in begins for length in range(1, len(state) + 1)}
        states += [(name, node, reads.get(steps), len(steps)) for node, steps in prefixes.items()]
        items += [(problems[name], state, None) for state in longest]
    scores, usage = score_items(config, prm, items)
    rows = (
        {"problem_id": name, "node_id": node, "probabilities": _first(scores, item, length)}
        for name, node, item, length in states
    )
    tables.write(out, rows, schemas.STATE_SCORES)
    tables.write_json(tables.usage_path(out), usage)


def _first(scores: Sequence[StepScores], item: int | None, length: int) -> list[float]:
    return [] if item is None else scores[item].probabilities[:length]


def longest_states(states: Iterable[Prefix]) -> list[Prefix]:
    """Return the states that begin no other one, each once, in order; the question alone is none of them."""
    states = list(dict.fromkeys(states))
    begun = {state[:length] for state in states for length in range(len(state))}
    return [state for state in states if state and state not in begun]
