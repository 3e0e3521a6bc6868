"""The OmegaPRM tree of one problem: states, their graded rollouts, what is known of them; and its table rows.

A state is a prefix of steps. It becomes a node once k rollouts were sampled from it, whatever their verdicts.
"""

from dataclasses import dataclass, field
from typing import Any

from mmprm.rollouts.rollout import Counts, Prefix, Rollout, count


@dataclass
class Node:
    """A probed state. `searched` holds the positions of the rollouts that were chosen for a binary search."""

    node_id: int
    steps: Prefix
    rollouts: tuple[Rollout, ...]
    counts: Counts
    visits: int = 0
    searched: set[int] = field(default_factory=set)


class RightPrefixes:
    """The states from which a right answer is known to follow: every prefix of a right completion."""

    def __init__(self) -> None:
        self._known: set[Prefix] = set()

    def add(self, path: Prefix) -> None:
        """Add all prefixes of a right completion."""
        self._known.update(path[:length] for length in range(self.length(path) + 1, len(path) + 1))

    def __contains__(self, prefix: Prefix) -> bool:
        return prefix in self._known

    def length(self, path: Prefix) -> int:
        """Count the steps of `path` that are known to be right; -1 where even the question has no right completion."""
        return next((length for length in range(len(path), -1, -1) if path[:length] in self._known), -1)


class Tree:
    """Nodes in the order of their creation; `status` and `reason` are set when the search ends."""

    def __init__(self, problem_id: str) -> None:
        self.problem_id = problem_id
        self.nodes: list[Node] = []
        self.right = RightPrefixes()
        self.n_searches = 0
        self.status = "failed"
        self.reason = "not finished"
        self._by_prefix: dict[Prefix, Node] = {}

    def find(self, prefix: Prefix) -> Node | None:
        """Return the node of a state, if the state was probed."""
        return self._by_prefix.get(prefix)

    def add(self, prefix: Prefix, rollouts: tuple[Rollout, ...]) -> Node:
        """Add a node with its rollouts."""
        assert prefix not in self._by_prefix, "a state is probed once"
        node = Node(len(self.nodes), prefix, rollouts, count([rollout.verdict for rollout in rollouts]))
        self.nodes.append(node)
        self._by_prefix[prefix] = node
        for rollout in rollouts:
            if rollout.verdict == "correct":
                self.right.add(prefix + rollout.steps)
        return node

    @property
    def why_failed(self) -> str | None:
        """The reason of a failed search; None for another."""
        return self.reason if self.status == "failed" else None

    @property
    def n_rollouts(self) -> int:
        """The number of rollouts sampled, with those that have no verdict."""
        return sum(len(node.rollouts) for node in self.nodes)

    def parent(self, node: Node) -> int | None:
        """Return the last correct state before the node (longest probed prefix with MC > 0); None at the root.

        Read off at the end and not during a search, so that a first error hangs from the last correct state even when
        that state was probed after it (OmegaPRM, section 3).
        """
        for length in range(len(node.steps) - 1, -1, -1):
            above = self._by_prefix.get(node.steps[:length])
            if above is not None and above.counts.n_correct > 0:
                return above.node_id
        return None

    def node_rows(self) -> list[dict[str, Any]]:
        """Make the rows of schemas.NODES, by node id."""
        return [
            {
                "problem_id": self.problem_id,
                "node_id": node.node_id,
                "parent_id": self.parent(node),
                "steps": list(node.steps),
                **vars(node.counts),
                "mc": node.counts.mc,
                "visits": node.visits,
            }
            for node in self.nodes
        ]

    def rollout_rows(self) -> list[dict[str, Any]]:
        """Make the rows of schemas.ROLLOUTS, by node id and position."""
        return [
            {
                "problem_id": self.problem_id,
                "node_id": node.node_id,
                "rollout": index,
                "searched": index in node.searched,
                **rollout.row(),
            }
            for node in self.nodes
            for index, rollout in enumerate(node.rollouts)
        ]

    def status_row(self) -> dict[str, Any]:
        """Make the row of schemas.STATUS."""
        return {
            "problem_id": self.problem_id,
            "status": self.status,
            "reason": self.reason,
            "n_searches": self.n_searches,
            "n_rollouts": self.n_rollouts,
            "n_tokens": sum(rollout.n_tokens for node in self.nodes for rollout in node.rollouts),
            "n_nodes": len(self.nodes),
        }
