"""What a tree says about the states of its problem. In: nodes and rollouts of a problem. Out: paths, and their labels.

A negative path is a searched wrong solution up to its first error, which is the last thing it holds. A positive path is
a right solution. Counts stand at probed prefixes; the hard label of every prefix of a right solution is 1.

Answers of negative paths are hardly ever seen, for their errors lie before. Of these two kinds alone a PRM learns that
whatever has an answer is right, and every aggregate that looks at the last marker is noise. An outcome path is a whole
wrong solution of which nothing is labelled but its answer: 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from mmprm.annotation.omegaprm import first_error
from mmprm.annotation.tree import Counts, Prefix, RightPrefixes

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


class Evidence:
    """What the nodes and rollouts of one problem say about its states.

    pooled: a state's counts hold the rollouts of shorter states too that wrote the same steps. From there on they are
    draws of the policy like the state's own. Left out is, for each path, the rollout that it was made from, since it
    was taken for what became of it; and rollouts that do not parse, of whose steps nothing is known.
    """

    def __init__(self, nodes: Iterable[Row], rollouts: Iterable[Row], pooled: bool = False) -> None:
        self.prefix_of = {node["node_id"]: tuple(node["steps"]) for node in nodes}
        self.probed: dict[Prefix, Counts] = {}
        for node in nodes:
            self.probed[tuple(node["steps"])] = Counts(
                node["n_rollouts"], node["n_correct"], node["n_unparsed"], node["n_undecided"]
            )
        self.solutions = [
            (self.prefix_of[rollout["node_id"]] + tuple(rollout["steps"]), rollout) for rollout in rollouts
        ]
        self.right = RightPrefixes()
        for path, rollout in self.solutions:
            if rollout["verdict"] == "correct":
                self.right.add(path)
        self.wrong = {p for p, counts in self.probed.items() if counts.is_wrong}
        self._pooled = pooled
        self._through = self._passing() if pooled else Counter()
        self._sampled_at: dict[StepPath, int] = {}  # steps of the shortest state whose rollout a path was made from

    def _passing(self) -> Counter[tuple[Prefix, str]]:
        """(state, verdict) -> how many rollouts of shorter states went through it."""
        through: Counter[tuple[Prefix, str]] = Counter()
        for path, rollout in self.solutions:
            if rollout["verdict"] in ("correct", "incorrect"):
                start = len(self.prefix_of[rollout["node_id"]])
                through.update((path[:length], rollout["verdict"]) for length in range(start + 1, len(path) + 1))
        return through

    @property
    def self_confidence(self) -> float | None:
        """The policy's pass rate on the problem: the MC value of its root; None where the root has no verdict."""
        root = self.probed.get(())
        return root.mc if root else None

    def positives(self) -> list[StepPath]:
        """Right solutions, each once."""
        return self._paths((StepPath("positive", p, r["answer"]), r) for p, r in self.solutions if _is(r, "correct"))

    def negatives(self) -> tuple[list[StepPath], int]:
        """Searched wrong solutions up to the first error, each once; and how many searches located none.

        A search locates none where the budget ended it, a verdict was undecided, or a right solution through the
        supposed error was found later.
        """
        found: list[tuple[StepPath, Row]] = []
        unlocated = 0
        for path, rollout in self.solutions:
            if not rollout["searched"]:
                continue
            error = first_error(path, self.right.length(path), self.wrong)
            if error is None:
                unlocated += 1
            elif error > len(path):
                found.append((StepPath("negative", path, rollout["answer"]), rollout))
            else:
                found.append((StepPath("negative", path[:error], None), rollout))
        return self._paths(found), unlocated

    def outcomes(self) -> list[StepPath]:
        """Whole wrong solutions, searched or not, each once."""
        return self._paths((StepPath("outcome", p, r["answer"]), r) for p, r in self.solutions if _is(r, "incorrect"))

    def _paths(self, found: Iterable[tuple[StepPath, Row]]) -> list[StepPath]:
        unique: dict[StepPath, None] = {}
        for path, rollout in found:
            unique[path] = None
            start = len(self.prefix_of[rollout["node_id"]])
            self._sampled_at[path] = min(start, self._sampled_at.get(path, start))
        return list(unique)

    def label(self, path: StepPath) -> Row:
        """The label columns of a path: an entry for each step, and one for the answer where there is one."""
        if path.kind == "outcome":
            labels = [Label(None, None, None, "none")] * len(path.steps)
        else:
            labels = [self._label_of_state(path, length) for length in range(1, len(path.steps) + 1)]
        if path.answer is not None:
            right = int(path.kind == "positive")
            labels.append(Label(right, 1, right, "answer"))
        return {name: [getattr(label, name) for label in labels] for name in Label._fields}

    def _label_of_state(self, path: StepPath, length: int) -> Label:
        prefix = path.steps[:length]
        counts = self.probed.get(prefix)
        probed = counts is not None and counts.n_rollouts > 0
        n_correct, n_rollouts = (counts.n_correct, counts.n_rollouts) if counts else (0, 0)
        if self._pooled:
            right, wrong = (self._through[prefix, verdict] for verdict in ("correct", "incorrect"))
            if self._sampled_at.get(path, length) < length:  # one of these is the path's own
                right, wrong = right - (path.kind == "positive"), wrong - (path.kind == "negative")
            n_correct, n_rollouts = n_correct + right, n_rollouts + right + wrong
        hard = int(prefix in self.right)
        if n_rollouts == 0:
            return Label(None, None, hard, "implied")
        return Label(n_correct, n_rollouts, hard, "probed" if probed else "pooled")


def _is(rollout: Row, verdict: str) -> bool:
    return bool(rollout["verdict"] == verdict)
