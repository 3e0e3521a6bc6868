r"""The gold answer of a problem whose source gives but a whole reply. In: the reply, and where its answer stands.

Out: the answer's text; or a refusal: an answer that has to be guessed is no gold answer.
"""

from __future__ import annotations

from mmprm.grading.answer_statements import body, explicit_statements
from mmprm.grading.boxed import boxed_texts
from mmprm.problems.images import RowRefusedError

_SAYS = {"boxed": r"no \boxed{…}", "tag": "no <answer>…</answer>", "last_line": "no last line", "whole": "no text"}


def answer_in(reply: str, where: str) -> str:
    r"""The last `\boxed{…}` (boxed), the last `<answer>` (tag), what the last line states (last_line), or all (whole).

    Hidden reasoning (`<think>…</think>`) is not read. RefusedError where there is none.
    """
    text = body(reply).strip()
    if found := _found(text, where):
        return found
    raise RowRefusedError("no_answer", f"the reply has {_SAYS[where]}")


def _found(text: str, where: str) -> str:
    if where == "whole" or not text:
        return text
    if where == "boxed":
        return (boxed_texts(text) or [""])[-1].strip()
    if where == "tag":
        return next((said.text for said in explicit_statements(text) if said.how == "tag"), "")
    line = text.splitlines()[-1]
    said = [statement.text for statement in explicit_statements(line)]  # "The answer is 5.", "#### 5"
    return (said[0] if said else line).strip("*_ ").rstrip(".。").strip()
