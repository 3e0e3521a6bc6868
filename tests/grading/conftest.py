"""The judge of the tests, fresh for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from judge_server import KEY, Server
from waiting import HANG

from mmprm.grading import Grader
from mmprm.runtime import http_client

HANGS = r"9^{9 \cdot 9^{9}}"


@pytest.fixture
def only_hanging_formulas_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on comparisons holds for HANGS alone: all others end, however slow the machine."""
    schedule = Grader._schedule

    def with_limit(grader: Grader, key: Any) -> Any:
        limit = grader.timeout
        grader.timeout = limit if HANGS in key[1] else HANG
        try:
            return schedule(grader, key)
        finally:
            grader.timeout = limit

    monkeypatch.setattr(Grader, "_schedule", with_limit)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http_client, "_FIRST_WAIT", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MMPRM_JUDGE_API_KEY", KEY)
    server = Server()
    yield server
    server.close()
