r"""Conversations: a question and a reply as turns. A row in LLaVA's form, and one in the chat form:

    {"id": "0", "image": "a.png", "conversations": [{"from": "human", "value": "<image>\nWhat is the area?"},
                                                    {"from": "gpt", "value": "The sides are … \\boxed{12}"}]}
    {"images": [{"bytes": …}],
     "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is …?"}]},
                  {"role": "assistant", "content": "The sides are … \\boxed{12}"}]}

The reply is the solution, unchanged. System turns are skipped. `<image>` and parts of type image refer to the row's
images in their order, unless a part has its own (`image`, `path`, or `image_url`). Placeholders around the question are
removed; those within it are numbered (`<image1>`), so that it is clear which image is meant.
"""

import json
from typing import Any

from mmprm.config.sources import ConversationSource
from mmprm.grading.clean import boxed_texts
from mmprm.grading.statements import body, explicit_statements
from mmprm.problems.fields import RowFields
from mmprm.problems.places import PLACE
from mmprm.problems.refusals import RowRefusedError
from mmprm.problems.values import text_of

IMAGES = ("image", "images")  # the columns of images unless the source names one
_MISSING = {"boxed": r"no \boxed{…}", "tag": "no <answer>…</answer>", "last_line": "no last line", "whole": "no text"}
_TEXT_PARTS, _IMAGE_PARTS = ("text", "input_text", "output_text"), ("image", "image_url", "input_image")
_ROLES = {"human": "user", "user": "user", "gpt": "reply", "assistant": "reply", "model": "reply", "system": "system"}


def columns(source: ConversationSource) -> dict[str, str]:
    """Map our columns to theirs, for those that the files must have."""
    mapped: dict[str, str] = {"id": "id", "turns": "conversations"} | dict(source.columns)
    return {ours: theirs for ours, theirs in mapped.items() if theirs}


def fields(row: dict[str, Any], source: ConversationSource) -> RowFields:
    """Read the row; RowRefusedError where the turns are not a question and a reply, or do not fit the images."""
    theirs = columns(source)
    values = {ours: row.get(name) for ours, name in theirs.items()}
    turns = [turn for turn in _turns(values.get("turns")) if turn[0] != "system"]
    if [role for role, _ in turns[:2]] != ["user", "reply"]:
        roles = [role for role, _ in turns]
        raise RowRefusedError("bad_turns", f"the turns are not a question and a reply but {roles}")
    if len(turns) > 2 and source.extra_turns == "refuse":
        raise RowRefusedError("extra_turns", f"there are {len(turns)} turns; extra_turns: drop takes the first two")
    question, meant = _content(turns[0][1])
    reply, _ = _content(turns[1][1])
    later = [image for role, content in turns[2:] if role == "user" for image in _content(content)[1]]
    shown = values["image"] if "image" in source.columns else _first_given(row.get("image"), row.get("images"))
    images = _images(meant, later, shown)
    return RowFields(
        id=values.get("id"),
        question=question,
        answer=values.get("answer") if "answer" in theirs else answer_in(reply, source.answer),
        image=images or None,
        has_image=bool(meant),
        choices=values.get("choices"),
        answer_type=values.get("answer_type"),
        solution=None if source.answer == "whole" and "answer" not in theirs else reply,
        group=values.get("group"),
        family=values.get("family"),
        places=True,
    )


def _first_given(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _turns(value: Any) -> list[tuple[str, Any]]:
    """Return (role, content) of each turn."""
    if isinstance(value, str):  # a list that is stored as text
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RowRefusedError("bad_turns", f"the turns are a text that is no JSON: {error}") from error
    if not isinstance(value, list) or not value:
        raise RowRefusedError("bad_turns", f"the turns are not a list of turns but {type(value).__name__}")
    turns = []
    for turn in value:
        if not isinstance(turn, dict):
            raise RowRefusedError("bad_turns", f"a turn is an object, this is {type(turn).__name__}")
        role = _first_given(turn.get("from"), turn.get("role"))
        if not isinstance(role, str) or role.casefold() not in _ROLES:
            raise RowRefusedError("bad_turns", f"a turn is of {role!r}, not of one of {', '.join(_ROLES)}")
        turns.append((_ROLES[role.casefold()], _first_given(turn.get("value"), turn.get("content"))))
    return turns


def _content(value: Any) -> tuple[str, list[Any]]:
    """Return the text of a turn, and for each placeholder in it its image, None for the row's next image."""
    if not isinstance(value, list):
        text = text_of(value, "a turn")
        return text, [None] * text.count(PLACE)
    texts, images = [], []
    for part in value:
        if isinstance(part, dict) and part.get("type") in _TEXT_PARTS:
            texts.append(text_of(part.get("text"), "a turn"))
            images += [None] * texts[-1].count(PLACE)
        elif isinstance(part, dict) and part.get("type") in _IMAGE_PARTS:
            texts.append(PLACE)
            url = part.get("image_url")
            url = url.get("url") if isinstance(url, dict) else url
            images.append(_first_given(part.get("image"), part.get("path"), url))
        else:
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise RowRefusedError("bad_turns", f"a part of a turn is of type {kind!r}, not text or image")
    return "\n".join(texts), images


def _images(first: list[Any], later: list[Any], shown: Any) -> list[Any]:
    """Return the first question's images: those of its placeholders (`first`), where None of the row (`shown`)."""
    left = [] if shown is None else list(shown) if isinstance(shown, list) else [shown]
    if not first and not later:
        return left  # no placeholder says where the images belong: they go before the question
    n_meant = sum(image is None for image in (*first, *later))
    if n_meant != len(left):
        raise RowRefusedError("placeholders", f"the turns name {n_meant} images, and the row has {len(left)}")
    return [left.pop(0) if image is None else image for image in first]


def answer_in(reply: str, where: str) -> str:
    r"""Read the gold answer from the reply; RowRefusedError where there is none, since nothing is guessed.

    where: the last `\boxed{…}` (boxed), the last `<answer>` (tag), what the last line states (last_line), or the
    complete reply (whole). Hidden reasoning (`<think>…</think>`) is skipped.
    """
    text = body(reply).strip()
    if where == "whole" or not text:
        answer = text
    elif where == "boxed":
        answer = (boxed_texts(text) or [""])[-1].strip()
    elif where == "tag":
        answer = next((statement.text for statement in explicit_statements(text) if statement.how == "tag"), "")
    else:
        line = text.splitlines()[-1]
        stated = [statement.text for statement in explicit_statements(line)]  # "The answer is 5.", "#### 5"
        answer = (stated[0] if stated else line).strip("*_ ").rstrip(".。").strip()
    if not answer:
        raise RowRefusedError("no_answer", f"the reply has {_MISSING[where]}")
    return answer
