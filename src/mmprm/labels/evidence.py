"""What a tree says about the states of its problem. In: nodes and rollouts of a problem. Out: paths, and their labels.

A negative path is a searched wrong solution up to its first error, which is the last thing it holds. A positive path is
a right solution. Counts stand at probed prefixes; the hard label of every prefix of a right solution is 1 (a prefix of
a prefix with MC > 0 has MC > 0 itself).

Negative paths seldom hold an answer, since the error lies before it. Of these two kinds alone a PRM learns that
whatever has an answer is right, and every aggregate that looks at the last marker is noise. Hence outcome paths: whole
wrong solutions of which nothing is labelled but the answer, with 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from mmprm.annotation.omegaprm import first_error
from mmprm.annotation.tree import RightPrefixes
from mmprm.rollouts.rollout import Counts, Prefix

Row = dict[str, Any]


@dataclass(frozen=True)
class StepPath:
    """A path before it is labelled; `answer` is None where it ends at a wrong step."""

    kind: str
    steps: Prefix
    answer: str | None


class Label(NamedTuple):
    """What is known at one marker; the fields are columns of schemas.PATHS."""

    n_correct: int | None
    n_rollouts: int | None
    hard: int | None
    label_source: str


class StateCounts(NamedTuple):
    """The rollouts that a state's MC value is taken from, and the `label_source` that they are."""

    n_correct: int
    n_rollouts: int
    label_source: str


class Evidence:
    """What the nodes and rollouts of one problem say about its states."""

    def __init__(self, nodes: Iterable[Row], rollouts: Iterable[Row]) -> None:
        self.prefix_of = {node["node_id"]: tuple(node["steps"]) for node in nodes}
        self.probed = {
            self.prefix_of[node["node_id"]]: Counts(
                node["n_rollouts"], node["n_correct"], node["n_unparsed"], node["n_undecided"]
            )
            for node in nodes
        }
        self.solutions = [
            (self.prefix_of[rollout["node_id"]] + tuple(rollout["steps"]), rollout) for rollout in rollouts
        ]
        self.right = RightPrefixes()
        for path, rollout in self.solutions:
            if rollout["verdict"] == "correct":
                self.right.add(path)
        self.wrong = {prefix for prefix, counts in self.probed.items() if counts.is_wrong}

    @property
    def self_confidence(self) -> float | None:
        """The policy's pass rate on the problem: the MC value of its root; None where the root has no verdict."""
        root = self.probed.get(())
        return root.mc if root else None

    def positives(self) -> list[StepPath]:
        """Return the right solutions, each once."""
        return self._solutions("positive", "correct")

    def outcomes(self) -> list[StepPath]:
        """Return the whole wrong solutions, searched or not, each once."""
        return self._solutions("outcome", "incorrect")

    def _solutions(self, kind: str, verdict: str) -> list[StepPath]:
        return self.unique(
            (StepPath(kind, steps, rollout["answer"]), rollout)
            for steps, rollout in self.solutions
            if rollout["verdict"] == verdict
        )

    def negatives(self) -> tuple[list[StepPath], int]:
        """Return the searched wrong solutions up to the first error, each once; and how many searches located none.

        A search locates none where the budget ended it, a verdict was undecided, or a right solution through the
        supposed error was found later.
        """
        located: list[tuple[StepPath, Row]] = []
        unlocated = 0
        for steps, rollout in self.solutions:
            if rollout["searched"]:
                error = first_error(steps, self.right.length(steps), self.wrong)
                if error is None:
                    unlocated += 1
                else:  # an error behind the last step is one of the answer
                    answer = rollout["answer"] if error > len(steps) else None
                    located.append((StepPath("negative", steps[:error], answer), rollout))
        return self.unique(located), unlocated

    def unique(self, paths: Iterable[tuple[StepPath, Row]]) -> list[StepPath]:
        """Return each path once; paths: with the rollout that each was made from."""
        return list(dict.fromkeys(path for path, _ in paths))

    def label(self, path: StepPath) -> Row:
        """Make the label columns of a path: an entry for each step, and one for the answer where there is one."""
        if path.kind == "outcome":
            labels = [Label(None, None, None, "none")] * len(path.steps)
        else:
            labels = [self._label_of_state(path, length) for length in range(1, len(path.steps) + 1)]
        if path.answer is not None:
            right = int(path.kind == "positive")
            labels.append(Label(right, 1, right, "answer"))
        return {name: [getattr(label, name) for label in labels] for name in Label._fields}

    def _label_of_state(self, path: StepPath, length: int) -> Label:
        counts, hard = self.state_counts(path, length), int(path.steps[:length] in self.right)
        return Label(counts[0], counts[1], hard, counts[2]) if counts[1] else Label(None, None, hard, "implied")

    def state_counts(self, path: StepPath, length: int) -> StateCounts:
        """Count the rollouts of the state after `length` steps of a path."""
        counts = self.probed.get(path.steps[:length])
        return StateCounts(counts.n_correct, counts.n_rollouts, "probed") if counts else StateCounts(0, 0, "implied")
