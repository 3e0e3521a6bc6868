r"""Conversations: a question and a reply in turns. A row of LLaVA's form, and one of the chat form:

    {"id": "0", "image": "a.png", "conversations": [{"from": "human", "value": "<image>\nWhat is the area?"},
                                                    {"from": "gpt", "value": "The sides are … \\boxed{12}"}]}
    {"images": [{"bytes": …}],
     "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is …?"}]},
                  {"role": "assistant", "content": "The sides are … \\boxed{12}"}]}

The reply is the solution, as it stands. System turns are left out. `<image>` and parts of type image stand for the
row's images in their order, unless a part has its own (`image`, `path`, or `image_url`). Placeholders around the
question are dropped, those within it are numbered (`<image1>`), so that it still says which image it means.
"""

from __future__ import annotations

import re
from typing import Any

from mmprm.config.sources import ConversationSource
from mmprm.problems.images import RowRefusedError
from mmprm.problems.replies import answer_in
from mmprm.problems.values import Fields, text_of

PLACEHOLDER = "<image>"
_ROLES = {"human": "user", "user": "user", "gpt": "reply", "assistant": "reply", "model": "reply", "system": "system"}
_AROUND = re.compile(r"^((?:\s*<image>)*)(.*?)((?:<image>\s*)*)$", re.DOTALL)


def columns(source: ConversationSource) -> dict[str, str]:
    """Our column -> theirs, of those that the files must have."""
    mapped: dict[str, str] = {"id": "id", "turns": "conversations"} | dict(source.columns)
    return {ours: theirs for ours, theirs in mapped.items() if theirs}


def fields(row: dict[str, Any], source: ConversationSource) -> Fields:
    """The row's values. RefusedError where the turns are not a question and a reply, or do not fit the images."""
    theirs = columns(source)
    found = {ours: row.get(name) for ours, name in theirs.items()}
    turns = [turn for turn in _turns(found.get("turns")) if turn[0] != "system"]
    if [role for role, _ in turns[:2]] != ["user", "reply"]:
        raise RowRefusedError(
            "bad_turns", f"the turns are not a question and a reply but {[role for role, _ in turns]}"
        )
    if len(turns) > 2 and source.extra_turns == "refuse":
        raise RowRefusedError("extra_turns", f"there are {len(turns)} turns; extra_turns: drop takes the first two")
    question, own = _content(turns[0][1])
    reply, _ = _content(turns[1][1])
    later = [image for role, content in turns[2:] if role == "user" for image in _content(content)[1]]
    images = _images(own, later, found["image"] if "image" in source.columns else _shown(row))
    given = found.get("answer")
    return Fields(
        id=found.get("id"),
        question=_numbered(question),
        answer=given if "answer" in theirs else answer_in(reply, source.answer),
        image=images or None,
        has_image=bool(own),
        choices=found.get("choices"),
        answer_type=found.get("answer_type"),
        solution=None if source.answer == "whole" and "answer" not in theirs else reply,
        group=found.get("group"),
    )


def _shown(row: dict[str, Any]) -> Any:
    return row.get("image") if row.get("image") is not None else row.get("images")


def _turns(value: Any) -> list[tuple[str, Any]]:
    """(role, content) of each turn."""
    if not isinstance(value, list) or not value:
        raise RowRefusedError("bad_turns", f"the turns are not a list of turns but {type(value).__name__}")
    found = []
    for turn in value:
        if not isinstance(turn, dict):
            raise RowRefusedError("bad_turns", f"a turn is an object, this is {type(turn).__name__}")
        role = turn.get("from") if turn.get("from") is not None else turn.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise RowRefusedError("bad_turns", f"a turn is of {role!r}, not of one of {', '.join(_ROLES)}")
        found.append((_ROLES[role], turn.get("value") if turn.get("value") is not None else turn.get("content")))
    return found


def _content(value: Any) -> tuple[str, list[Any]]:
    """The text of a turn, and for each placeholder in it the image that it stands for, None for the row's next."""
    if not isinstance(value, list):
        text = text_of(value, "a turn")
        return text, [None] * text.count(PLACEHOLDER)
    texts, images = [], []
    for part in value:
        if isinstance(part, dict) and part.get("type") == "text":
            texts.append(text_of(part.get("text"), "a turn"))
            images += [None] * texts[-1].count(PLACEHOLDER)
        elif isinstance(part, dict) and part.get("type") in ("image", "image_url"):
            texts.append(PLACEHOLDER)
            images.append(_own(part))
        else:
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise RowRefusedError("bad_turns", f"a part of a turn is of type {kind!r}, not text or image")
    return "\n".join(texts), images


def _own(part: dict[str, Any]) -> Any:
    named = part.get("image_url")
    if isinstance(named, dict):
        named = named.get("url")
    return next((value for value in (part.get("image"), part.get("path"), named) if value is not None), None)


def _images(own: list[Any], later: list[Any], shown: Any) -> list[Any]:
    """The images of the first question; `own` and `later` say which its and the later questions' placeholders mean."""
    left = [] if shown is None else list(shown) if isinstance(shown, list) else [shown]
    n_meant = sum(image is None for image in (*own, *later))
    if not own and not later:
        return left  # there are images, and no word of where they stand: before the question
    if n_meant != len(left):
        raise RowRefusedError("placeholders", f"the turns name {n_meant} images, and the row has {len(left)}")
    following = iter(left)
    return [next(following) if image is None else image for image in own]


def _numbered(question: str) -> str:
    """The question with the placeholders within it numbered, by the images that come before."""
    around = _AROUND.match(question)
    if around is None or PLACEHOLDER not in around[2]:
        return question
    pieces = around[2].split(PLACEHOLDER)
    first = around[1].count(PLACEHOLDER) + 1
    inner = "".join(f"{piece}<image{first + at}>" for at, piece in enumerate(pieces[:-1])) + pieces[-1]
    return f"{around[1]}{inner}{around[3]}"
