"""Whether labels and a judging model agree on a path's first error. In: a path, a verdict. Out: why it is dropped.

The prompt does not contain the labels. A negative path ends at the error that the labels locate: later steps could not
make an earlier one wrong.
"""

from typing import Any

from mmprm.llm.first_error import NONE, JudgeReply


def labelled(kind: str, parts: int) -> int | None:
    """Return where the labels locate the first error of a path of `parts` steps and answer; None: unknown."""
    return {"positive": NONE, "negative": parts, "outcome": None}[kind]


def disagreement(row: dict[str, Any], reply: JudgeReply) -> str:
    """Return why a path (of schemas.PATHS) is dropped; empty where labels and model agree.

    A right solution is kept where the model finds no error, a located error where it finds the same one, and a whole
    wrong solution of unknown error where it finds any (arXiv 2501.07301, on consensus filtering).
    """
    if reply.position is None:
        return reply.reason
    expected = labelled(row["kind"], len(row["steps"]) + (row["answer"] is not None))
    if expected is None:
        return "no_error_found" if reply.position == NONE else ""
    if reply.position == expected:
        return ""
    if reply.position == NONE:
        return "no_error_found"
    return "error_found" if expected == NONE else "error_earlier"
