"""What a tree says about the states of its problem. In: nodes and rollouts of a problem. Out: paths, and their labels.

A negative path is a searched wrong solution up to its first error, which is the last thing it holds. A positive path is
a right solution. Counts stand at probed prefixes; the hard label of every prefix of a right solution is 1 (a prefix of
a prefix with MC > 0 has MC > 0 itself).

Negative paths seldom hold an answer, since the error lies before it. Of these two kinds alone a PRM learns that
whatever has an answer is right, and every aggregate that looks at the last marker is noise. Hence outcome paths: whole
wrong solutions, labelled at the answer with 0. Their steps are labelled on request (`label_outcome_steps`): with what
is known of them, and with 0 behind a wrong state. Else a PRM never sees a step after an error, and what it says of
those in the candidates that it ranks is noise too.

A state with MC 0 through which a right solution is known to go has no soft label. Its k rollouts were wrong by chance;
the right one cannot be counted beside them, since it was drawn from another state, after other choices.
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


_NOTHING = Label(None, None, None, "none")


class Evidence:
    """What the nodes and rollouts of one problem say about its states."""

    def __init__(self, nodes: Iterable[Row], rollouts: Iterable[Row], label_outcome_steps: bool = False) -> None:
        self._label_outcome_steps = label_outcome_steps
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
        return _unique(
            StepPath(kind, steps, rollout["answer"])
            for steps, rollout in self.solutions
            if rollout["verdict"] == verdict
        )

    def negatives(self) -> tuple[list[StepPath], int]:
        """Return the searched wrong solutions up to the first error, each once; and how many searches located none.

        A search locates none where the budget ended it, a verdict was undecided, or a right solution through the
        supposed error was found later.
        """
        located: list[StepPath] = []
        unlocated = 0
        for steps, rollout in self.solutions:
            if rollout["searched"]:
                error = first_error(steps, self.right.length(steps), self.wrong)
                if error is None:
                    unlocated += 1
                else:  # an error behind the last step is one of the answer
                    answer = rollout["answer"] if error > len(steps) else None
                    located.append(StepPath("negative", steps[:error], answer))
        return _unique(located), unlocated

    def is_dense(self, path: StepPath) -> bool:
        """Tell whether every state of a path was probed."""
        return all(path.steps[:length] in self.probed for length in range(1, len(path.steps) + 1))

    def label(self, path: StepPath) -> Row:
        """Make the label columns of a path: an entry for each step, and one for the answer where there is one."""
        if path.kind != "outcome":
            labels = [self._label_of_state(path.steps[:length]) for length in range(1, len(path.steps) + 1)]
        elif self._label_outcome_steps:
            labels = self._labels_of_outcome(path)
        else:
            labels = [_NOTHING] * len(path.steps)
        if path.answer is not None:
            right = int(path.kind == "positive")
            labels.append(Label(right, 1, right, "answer"))
        return {name: [getattr(label, name) for label in labels] for name in Label._fields}

    def _label_of_state(self, state: Prefix) -> Label:
        """Label a state of a path that was searched, or is right."""
        counts, right = self.probed.get(state), state in self.right
        if counts is None or not counts.n_rollouts or (right and not counts.n_correct):
            return Label(None, None, int(right), "implied")
        return Label(counts.n_correct, counts.n_rollouts, int(right), "probed")

    def _labels_of_outcome(self, path: StepPath) -> list[Label]:
        """Label the states of a whole wrong solution: right ones and probed ones; 0 behind one that is wrong."""
        labels, is_wrong = [], False
        for length in range(1, len(path.steps) + 1):
            state = path.steps[:length]
            is_right, was_wrong = state in self.right, is_wrong
            is_wrong = not is_right and (is_wrong or state in self.wrong)
            if is_right or state in self.wrong:
                labels.append(self._label_of_state(state))
            else:
                labels.append(Label(None, None, 0, "after_error") if was_wrong else _NOTHING)
        return labels


def _unique(paths: Iterable[StepPath]) -> list[StepPath]:
    return list(dict.fromkeys(paths))
