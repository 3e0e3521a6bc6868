"""The judge of the tests, fresh for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from judge_server import KEY, Server

from mmprm.runtime import http_client


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http_client, "_FIRST_WAIT", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MMPRM_JUDGE_API_KEY", KEY)
    server = Server()
    yield server
    server.close()
