"""The Arrow schema of every table of a run. A comment beside a column says what it holds where its name does not."""

from typing import Any

import pyarrow as pa

_STRINGS = pa.list_(pa.string())


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


# problems/{source}.parquet
PROBLEMS = _schema(
    problem_id=pa.string(),
    source=pa.string(),
    question=pa.string(),
    answer=pa.string(),
    images=pa.list_(pa.binary()),  # encoded files
    choices=_STRINGS,
    answer_type=pa.string(),
    solution=pa.string(),
    family=pa.string(),
    precision=pa.int32(),  # null: not stated
    unit=pa.string(),
    tolerance=pa.list_(pa.float64()),
    group=pa.string(),
)
# Rows of a source that were not taken. `reason` is a short code, `detail` a sentence for a person.
REFUSED = _schema(source=pa.string(), row=pa.int64(), problem_id=pa.string(), reason=pa.string(), detail=pa.string())
# A checked row of a source, in a part file of intake (problems/parts.py).
INTAKE_PART = _schema(
    row=pa.int64(),
    problem_id=pa.string(),
    reason=pa.string(),  # why the row is refused; null: it is taken
    detail=pa.string(),
    own_group=pa.string(),  # as the source has it
    pictures=pa.list_(pa.binary(16)),  # a hash of each encoded image
    image_bytes=pa.int64(),
    offset=pa.int64(),  # byte position of the problem in the part's problem file
    length=pa.int64(),  # in bytes
)

# The columns of one sampled solution, in every table that has such.
_COMPLETION = {
    "text": pa.string(),
    "steps": _STRINGS,
    "answer": pa.string(),
    "status": pa.string(),  # a solution.Status
    "verdict": pa.string(),  # a grading.Verdict
    "method": pa.string(),  # what gave the verdict
    "n_tokens": pa.int32(),
    "finish_reason": pa.string(),
}
# The values of these columns where there is no completion.
NO_COMPLETION: dict[str, Any] = {
    "text": "",
    "steps": [],
    "answer": None,
    "status": "empty",
    "verdict": "unparsed",
    "method": "engine",
    "n_tokens": 0,
    "finish_reason": "error",
}
# The same where the policy, which reads text alone, was not shown the problem.
SKIPPED: dict[str, Any] = NO_COMPLETION | {"finish_reason": "needs_images"}
_COUNTS = {
    "n_rollouts": pa.int32(),  # graded ones: correct + incorrect + unparsed, without the undecided
    "n_correct": pa.int32(),
    "n_unparsed": pa.int32(),
    "n_undecided": pa.int32(),
}

SEED_ROLLOUTS = _schema(
    problem_id=pa.string(),
    blank=pa.bool_(),  # true: the problem was shown with uniform pictures instead of its own
    attempt=pa.int32(),
    **_COMPLETION,
)
SEED_DECISIONS = _schema(
    problem_id=pa.string(),
    source=pa.string(),
    **_COUNTS,
    kept=pa.bool_(),
    # kept; none_right, all_right, too_hard, too_easy; undecided; failed; needs_images; image_not_needed; over_limit
    reason=pa.string(),
    # why sampling ended: all_drawn, certain (no further rollout could change the decision), bound (with confidence)
    stopped=pa.string(),
    n_tokens=pa.int64(),  # of its rollouts, without those with a blank picture
    blank_n_rollouts=pa.int32(),  # graded ones with a blank picture; null: not tried
    blank_n_correct=pa.int32(),
    image_needed=pa.bool_(),  # false: solved as well with a blank picture; true: not so; null: not tried
)

NODES = _schema(
    problem_id=pa.string(),
    node_id=pa.int32(),  # in order of creation; 0 is the root
    parent_id=pa.int32(),  # null at the root; always a node whose MC value is above 0
    steps=_STRINGS,  # the complete prefix, empty at the root
    **_COUNTS,
    mc=pa.float64(),  # n_correct / n_rollouts; null where nothing could be graded
    visits=pa.int32(),  # N(s)
)
ROLLOUTS = _schema(
    problem_id=pa.string(),
    node_id=pa.int32(),
    rollout=pa.int32(),  # position among the node's rollouts
    searched=pa.bool_(),  # was it chosen for a binary search?
    **_COMPLETION,  # `steps` are the steps after the node's prefix
)
STATUS = _schema(
    problem_id=pa.string(),
    status=pa.string(),  # done, failed, skipped
    reason=pa.string(),
    n_searches=pa.int32(),
    n_rollouts=pa.int32(),
    n_tokens=pa.int64(),
    n_nodes=pa.int32(),
)
# A finished request; each list has one item per completion. The other columns are documented at journal.Entry.
JOURNAL = _schema(
    problem_id=pa.string(),
    key=pa.string(),
    grading=pa.string(),
    text=_STRINGS,
    n_tokens=pa.list_(pa.int32()),
    finish_reason=_STRINGS,
    verdict=_STRINGS,
    method=_STRINGS,
    crc=pa.uint32(),  # over the other columns; journals of older versions lack it
)

# Trajectories with step labels. The PRM reads a marker after each step and, in a complete solution, after the answer:
# the lists n_correct, n_rollouts, hard, label_source and soft have len(steps) + (answer is not null) entries.
PATHS = _schema(
    path_id=pa.string(),
    problem_id=pa.string(),
    source=pa.string(),
    split=pa.string(),  # train or dev, by problem; test in a step benchmark
    # positive (ends in a correct answer), negative (ends at the first error), outcome (has a wrong answer), or given (a
    # complete solution whose labels came with its data set)
    kind=pa.string(),
    steps=_STRINGS,
    answer=pa.string(),
    n_correct=pa.list_(pa.int32()),  # null where the prefix has no rollouts
    n_rollouts=pa.list_(pa.int32()),
    hard=pa.list_(pa.int8()),  # 1 right, 0 wrong, null unknown
    # probed, implied, after_error (behind a wrong state), answer, given (step data), none; in tables of earlier
    # releases also pooled (rollouts of shorter prefixes)
    label_source=_STRINGS,
    soft=pa.list_(pa.float64()),  # n_correct / n_rollouts, or what labels.* made of it; null unknown
)
# Trajectories on which the judging model of labels.consensus disagrees with the labels. Steps are counted from 1, the
# answer follows the last step; -1: no error.
DISAGREED = _schema(
    path_id=pa.string(),
    problem_id=pa.string(),
    source=pa.string(),
    kind=pa.string(),
    steps=_STRINGS,
    answer=pa.string(),
    labelled=pa.int32(),  # first error according to the labels; null: somewhere (an outcome trajectory)
    judged=pa.int32(),  # first error according to the model; null: its reply is unreadable
    reason=pa.string(),  # disagreed; no_reply, reply_truncated, reply_malformed: of the last attempt
    said=pa.string(),  # the end of the reply, or why there is none
)

CANDIDATES = _schema(problem_id=pa.string(), candidate=pa.int32(), **_COMPLETION)
SCORES = _schema(
    problem_id=pa.string(),
    candidate=pa.int32(),
    probabilities=pa.list_(pa.float64()),  # P(yes) at each marker: the steps, then the answer
)
STEP_SCORES = _schema(path_id=pa.string(), probabilities=pa.list_(pa.float64()))  # the same for the rows of PATHS
# P(yes) after each step of every state of the trees that was probed; empty where the state is too long for the PRM.
STATE_SCORES = _schema(problem_id=pa.string(), node_id=pa.int32(), probabilities=pa.list_(pa.float64()))
# How many rollouts each probability is worth, for a PRM that was trained on counts (step_scores).
_CONCENTRATIONS = pa.field("concentrations", pa.list_(pa.float64()))
COUNTED_SCORES = SCORES.append(_CONCENTRATIONS)
# The solution that a guided strategy chose for a problem, and its cost.
GUIDED = _schema(
    problem_id=pa.string(),
    **_COMPLETION,  # of the chosen solution; its n_tokens are those of its last request
    probabilities=pa.list_(pa.float64()),
    n_solutions=pa.int32(),  # complete solutions found
    n_correct=pa.int32(),  # how many of them are correct
    sampled_tokens=pa.int64(),  # all tokens sampled for the problem
    n_requests=pa.int32(),
)
COUNTED_GUIDED = GUIDED.append(_CONCENTRATIONS)
