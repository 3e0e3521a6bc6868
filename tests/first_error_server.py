"""A judging model for the tests, which works the sums of a solution out anew and names the first that is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import chat_server
import pytest
from chat_server import text_of

from mmprm.runtime import http_client

KEY = "sk-judging-secret"
Parts = list[str]


class JudgeServer(chat_server.ChatServer):
    """`reply(parts, body)` gives the text of a reply to the steps (and answer) of a path, or a status."""

    def __init__(self, delay: float = 0.0, together: int = 1) -> None:
        super().__init__(KEY, delay, together)
        self.reply: Callable[[Parts, dict[str, Any]], str | int] = lambda parts, body: boxed(first_wrong(parts))
        self.reason = "stop"

    def answer(self, body: dict[str, Any]) -> chat_server.Answer:
        return self.reply(parts_of(text_of(body)), body), self.reason


def parts_of(prompt: str) -> Parts:
    """The texts of the numbered steps of a prompt."""
    found = re.findall(r"<step-(\d+)-(\w+)>\n(.*?)\n</step-\1-\2>", prompt, re.DOTALL)
    assert [int(number) for number, *_ in found] == list(range(1, len(found) + 1))
    return [text for *_, text in found]


def first_wrong(parts: Parts) -> int:
    """Where the first sum is wrong, or an answer that is not the last sum; -1: nowhere."""
    last = ""
    for number, part in enumerate(parts, start=1):
        if answer := re.fullmatch(r"Final answer: (\d+)", part):
            right = answer[1] == last
        else:
            one, other, last = re.fullmatch(r"(\d+) \+ (\d+) = (\d+)", part).groups()
            right = int(one) + int(other) == int(last)
        if not right:
            return number
    return -1


def boxed(place: object) -> str:
    return f"I work each step out anew. The box \\boxed{{77}} is on the way.\n\n\\boxed{{{place}}}"


def started(monkeypatch: pytest.MonkeyPatch) -> JudgeServer:
    """A server that jobs of this test reach with the right key; a call that fails is made again at once."""
    monkeypatch.setattr(http_client, "_FIRST_WAIT", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MMPRM_JUDGE_API_KEY", KEY)
    return JudgeServer()
