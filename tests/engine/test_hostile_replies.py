"""Replies of a server that is broken or hostile: each is one request's error, and nothing of it is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from drain import drain

from mmprm.config import Sampling
from mmprm.config.models import InstructedModel
from mmprm.data.problem import Problem
from mmprm.engine.base import Request
from mmprm.engine.over_http import ChatEngine
from mmprm.rollouts.journal import Entry, Journal
from mmprm.runtime import http_client
from mmprm.runtime.http_client import Client, Server, ServerAwayError

SERVER = Server("test.url", ("MMPRM_TEST_KEY",), "start it")
PROBLEM = Problem("p", "source", "1 + 1 = ?", "2")
SAMPLING = Sampling(temperature=1.0, top_p=0.9, top_k=0, max_new_tokens=24)
GOOD = b'{"choices": [{"message": {"content": "two"}}], "usage": {"completion_tokens": 1}}'


def reply(content: str = '"two"', usage: str = '{"completion_tokens": 1}') -> bytes:
    return f'{{"choices": [{{"message": {{"content": {content}}}}}], "usage": {usage}}}'.encode()


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Starts a server whose bodies are `say(body of the request)`, in pieces; its address."""
    monkeypatch.setattr(http_client, "_FIRST_WAIT", 0.0)
    servers = []

    def start(say: Callable[[dict[str, object]], Iterator[bytes]]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()
                try:
                    for part in say(body):
                        self.wfile.write(part)
                        self.wfile.flush()
                except OSError:
                    pass  # the client has had enough

            def log_message(self, *_: object) -> None: ...

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "bad",
    [
        reply(r'"half of a pair: \ud83d"'),
        reply(usage='{"completion_tokens": 3000000000}'),
        reply(usage='{"completion_tokens": 1e999}'),
        reply(usage='{"completion_tokens": -5}'),
        reply(usage="[1]"),
        reply('["a list"]'),
        reply("7"),
        b"[" * 100_000,
        b"[[1]]",
        b"\xff\xfe\x00",
    ],
    ids=lambda bad: bad[:70].decode(errors="replace"),
)
def test_a_bad_reply_is_its_requests_error_and_no_others(
    bad: bytes, answering: Callable[..., str], tmp_path: Path
) -> None:
    url = answering(lambda body: iter([bad if "bad" in json.dumps(body) else GOOD]))
    engine = ChatEngine(InstructedModel(url=url, model="m"), SERVER)
    try:
        asked = [
            Request("good", PROBLEM, (), 1, SAMPLING, 1),
            Request("bad", replace(PROBLEM, question="bad"), (), 1, SAMPLING, 1),
        ]
        done = drain(engine, *asked)
    finally:
        engine.close()
    assert done["good"].error is None and done["good"].completions[0].text == "two"
    assert done["bad"].completions == () and "repl" in (done["bad"].error or "")
    journal = Journal(tmp_path, "0-of-1")
    for finished in done.values():
        if finished.error is None:
            journal.append(finished.key, Entry(finished.completions, (), ""))
    journal.compact()
    assert len(Journal(tmp_path, "again")) == 1


def test_a_reply_without_end_fills_no_memory(answering: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "_LONGEST_REPLY", 2**20)
    sent = 0

    def endless(body: object) -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 2**16
            yield b" " * 2**16

    client = Client(answering(endless), 1, SERVER)
    try:
        with pytest.raises(http_client.RequestRefusedError, match="more than 1 MiB"):
            client.run(client.ask("POST", "/x", {}, tries=lambda: 1))
    finally:
        client.close()
    assert sent < 2**26


def test_a_reply_that_trickles_in_is_given_no_more_time_than_one_that_does_not_come(
    answering: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "_CONNECT", 0.1)
    ended = threading.Event()

    def trickle(body: object) -> Iterator[bytes]:
        while not ended.wait(0.05):
            yield b" "

    client = Client(answering(trickle), 1, SERVER, silence=0.5)
    try:
        with pytest.raises(ServerAwayError) as error:
            client.run(client.ask("POST", "/x", {}, tries=lambda: 1))
    finally:
        ended.set()
        client.close()
    assert error.value.reason == "ReadTimeout"
