"""The HTTP client: how long it waits for a server that is busy, and which proxy it goes through."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest

from mmprm.runtime import http_client
from mmprm.runtime.errors import UserError
from mmprm.runtime.http_client import Client, RequestRefusedError, Server, ServerAwayError

SERVER = Server("test.url", ("MMPRM_TEST_KEY",), "start it")


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [(None, 0, 0), ("7", 7, 7), ("soon", 0, 0), ("-3", 0, 0), (formatdate(0, usegmt=True), 0, 0)],
)
def test_a_retry_after_is_a_number_of_seconds_or_a_date(header: str | None, low: float, high: float) -> None:
    assert low <= http_client._retry_after(header) <= high


def test_a_retry_after_in_the_future_is_a_wait() -> None:
    assert 50 < http_client._retry_after(formatdate(time.time() + 60, usegmt=True)) <= 60


def test_a_busy_server_is_left_alone_as_long_as_it_asks_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    replies = [(429, "9"), (503, "100000"), (500, None), (429, None)]

    async def tried(self: Client, *_: Any) -> Any:
        if not replies:
            return {"done": True}
        status, header = replies.pop(0)
        raise http_client._FailedTryError(status, "busy", str(status), http_client._retry_after(header))

    monkeypatch.setattr(http_client.asyncio, "sleep", sleep)
    monkeypatch.setattr(Client, "_try", tried)
    client = Client("http://127.0.0.1:9/v1", 1, SERVER)
    try:
        assert client.run(client.ask("POST", "/x")) == {"done": True}
    finally:
        client.close()
    assert waits[:2] == [9, http_client._LONGEST_RETRY_AFTER]
    assert 2 <= waits[2] <= 4 <= waits[3] <= 8


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [(500, RequestRefusedError, "the server says 500: busy"), (503, ServerAwayError, r"test.url .* start it, or")],
)
def test_after_the_last_try_an_error_names_the_cause(
    status: int, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tried(self: Client, *_: Any) -> Any:
        raise http_client._FailedTryError(status, "busy", str(status))

    monkeypatch.setattr(http_client, "_FIRST_WAIT", 0.0)
    monkeypatch.setattr(Client, "_try", tried)
    client = Client("http://127.0.0.1:9/v1", 1, SERVER)
    try:
        with pytest.raises(error, match=message):
            client.run(client.ask("POST", "/x", tries=lambda: 2))
    finally:
        client.close()


def test_the_proxy_is_the_environments_unless_it_excepts_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "localhost,inside.example")
    assert http_client._proxy("https://judge.example/v1") == "http://proxy:3128"
    assert http_client._proxy("https://inside.example/v1") is None


@pytest.mark.parametrize(
    ("url", "names", "sent"),
    [
        ("https://api.openai.com/v1", ["OPENAI_API_KEY"], "openai"),
        ("https://example.org/v1", ["OPENAI_API_KEY"], None),
        ("http://127.0.0.1:8000/v1", ["OPENAI_API_KEY"], None),
        ("https://example.org/v1", ["OPENAI_API_KEY", "MMPRM_TEST_KEY"], "own"),
        ("http://127.0.0.1:8000/v1", ["MMPRM_TEST_KEY"], "own"),
        ("http://localhost:8000/v1", ["MMPRM_TEST_KEY"], "own"),
        ("http://[::1]:8000/v1", ["MMPRM_TEST_KEY"], "own"),
        ("http://node7:8000/v1", ["MMPRM_TEST_KEY"], "refused"),
        ("http://10.0.0.7:8000/v1", ["MMPRM_TEST_KEY"], "refused"),
        ("http://127.0.0.1.example.org/v1", ["MMPRM_TEST_KEY"], "refused"),
        ("http://node7:8000/v1", ["MMPRM_TEST_KEY", http_client.PLAIN], "own"),
        ("http://node7:8000/v1", [], None),
    ],
)
def test_a_key_goes_to_its_own_host_and_over_no_network_in_the_clear(
    url: str, names: list[str], sent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"OPENAI_API_KEY": "openai", "MMPRM_TEST_KEY": "own", http_client.PLAIN: "yes"}
    for name, key in keys.items():
        monkeypatch.setenv(name, key) if name in names else monkeypatch.delenv(name, raising=False)
    server = Server("test.url", ("MMPRM_TEST_KEY", "OPENAI_API_KEY"), "start it")
    if sent == "refused":
        with pytest.raises(UserError, match="unencrypted") as error:
            http_client._key(server, url)
        assert "own" not in str(error.value).split()
    else:
        assert http_client._key(server, url) == sent


def test_the_key_of_another_openai_server_is_sent_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "openai")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://example.org/v1")
    server = Server("test.url", ("OPENAI_API_KEY",), "start it")
    assert http_client._key(server, "https://example.org/v1") == "openai"
    assert http_client._key(server, "https://api.openai.com/v1") is None
