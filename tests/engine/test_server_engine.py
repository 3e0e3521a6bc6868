"""The server engine's manners, against a server of our own; test_real_server has its tokens against a real one."""

from __future__ import annotations

import base64
import io
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drain import drain
from fake_server import FakeServer, refused
from pictures import encoded, transparent
from PIL import Image
from waiting import wait_for

from mmprm.config import Config, Sampling
from mmprm.data.problem import Problem, decode_image
from mmprm.engine import base, over_http
from mmprm.engine.base import Finished, Request
from mmprm.engine.factory import open_engine
from mmprm.engine.server_engine import KEYS, ServerEngine, data_uri
from mmprm.model import folders
from mmprm.runtime import http_client
from mmprm.runtime.errors import UserError

SAMPLING = Sampling(temperature=1.0, top_p=0.9, top_k=50, max_new_tokens=24)
KEY = "sk-of-the-tests-5f2c"


@pytest.fixture
def server(mini_policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr(http_client, "_LONGEST_WAIT", 0.01)
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    opened = FakeServer(mini_policy_folder)
    threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield opened
    opened.shutdown()
    opened.server_close()


@pytest.fixture
def connect(
    server: FakeServer, mini_policy_folder: Path, engine_config: Callable[..., Config]
) -> Iterator[Callable[..., ServerEngine]]:
    opened: list[base.Engine] = []

    def make(**engine: Any) -> ServerEngine:
        opened.append(open_engine(engine_config("server", **{"url": server.url} | engine), mini_policy_folder))
        assert isinstance(opened[-1], ServerEngine)
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


pytestmark = pytest.mark.slow


def test_draws_come_back_in_order_whichever_is_ready_first(
    server: FakeServer, connect: Callable[..., ServerEngine], mini_problems: list[Problem]
) -> None:
    server.expect(mini_problems[0])
    server.plan = lambda body: time.sleep((75 - body["seed"]) / 100)
    engine = connect()
    done = drain(engine, Request("a", mini_problems[0], (), 5, SAMPLING, seed=70))["a"]
    assert [completion.text for completion in done.completions] == [f"<step>{70 + draw}</step>" for draw in range(5)]
    assert {completion.finish_reason for completion in done.completions} == {"stop"}
    stats = engine.stats
    assert (stats.requests, stats.completions) == (1, 5)
    assert stats.generated_tokens == sum(completion.n_tokens for completion in done.completions)
    assert (stats.prompt_tokens, stats.cached_prompt_tokens) == (5 * len(server.prompt), 5 * 5)


def test_no_more_requests_are_on_their_way_than_allowed(
    server: FakeServer, connect: Callable[..., ServerEngine], mini_problems: list[Problem]
) -> None:
    server.expect(mini_problems[0])
    three = threading.Barrier(3)
    server.plan = lambda body: (three.wait(), time.sleep(0.05), None)[-1]  # a fourth would have time to come
    engine = connect(max_running=3)
    done = drain(engine, *(Request(str(seed), mini_problems[0], (), 4, SAMPLING, seed) for seed in range(6)))
    assert len(done) == 6
    assert server.most_running == 3


def test_a_step_waits_for_something_to_finish(
    server: FakeServer, connect: Callable[..., ServerEngine], mini_problems: list[Problem]
) -> None:
    server.expect(mini_problems[0])
    server.plan = lambda body: time.sleep(0.5)
    engine = connect()
    assert engine.step() == []
    engine.submit(Request("a", mini_problems[0], (), 1, SAMPLING, seed=1))
    steps, started = 0, time.monotonic()
    while engine.pending:
        engine.step()
        steps += 1
    assert steps <= (time.monotonic() - started) / over_http._STEP + 1


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_a_server_that_stumbles_is_asked_again(
    status: int, server: FakeServer, connect: Callable[..., ServerEngine], mini_problems: list[Problem]
) -> None:
    server.expect(mini_problems[0])
    server.plan = lambda body: refused(status, "busy") if len(server.bodies) < 4 else None
    done = drain(connect(), Request("a", mini_problems[0], (), 1, SAMPLING, seed=7))["a"]
    assert done.error is None
    assert len(server.bodies) == 4


@pytest.mark.parametrize(("status", "asked"), [(400, 1), (500, http_client._TRIES)])
def test_a_refused_request_fails_alone_with_the_words_of_the_server(
    status: int,
    asked: int,
    server: FakeServer,
    connect: Callable[..., ServerEngine],
    mini_problems: list[Problem],
) -> None:
    server.expect(mini_problems[0])
    server.plan = lambda body: refused(status, "no such image") if body["seed"] == 8 else None
    engine = connect()
    requests = [Request(str(seed), mini_problems[0], (), 1, SAMPLING, seed) for seed in (7, 8)]
    done = drain(engine, *requests)
    assert done["8"] == Finished("8", (), f"the server says {status}: no such image")
    assert done["7"].error is None
    assert sum(body["seed"] == 8 for body in server.bodies) == asked


def test_a_server_that_is_gone_ends_the_run_after_all_that_it_gave(
    server: FakeServer, connect: Callable[..., ServerEngine], mini_problems: list[Problem]
) -> None:
    server.expect(mini_problems[0])
    server.plan = lambda body: (0, None) if body["seed"] == 8 else None
    engine = connect()
    for seed in (8, 7, 9):
        engine.submit(Request(str(seed), mini_problems[0], (), 1, SAMPLING, seed))
    wait_for(lambda: engine._done.qsize() >= 3, "three replies")
    assert sorted(done.key for done in engine.step()) == ["7", "9"]
    with pytest.raises(UserError, match=rf"{server.url}.*vllm serve.*run again"):
        engine.step()


@pytest.mark.parametrize("name", KEYS)
def test_the_key_goes_into_the_header_and_nowhere_else(
    name: str,
    server: FakeServer,
    connect: Callable[..., ServerEngine],
    mini_problems: list[Problem],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    engine_config: Callable[..., Config],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    monkeypatch.setenv(name, KEY)
    server.expect(mini_problems[0])
    server.plan = lambda body: refused({8: 401, 9: 503}.get(body["seed"], 200), f"wrong key {KEY}")
    engine = connect()
    said = [str(drain(engine, Request("a", mini_problems[0], (), 1, SAMPLING, seed=8))["a"].error)]
    with pytest.raises(UserError) as gone:
        drain(engine, Request("b", mini_problems[0], (), 1, SAMPLING, seed=9))
    said += [
        repr(gone.value),
        caplog.text,
        *capfd.readouterr(),
        engine_config("server", url=server.url).model_dump_json(),
    ]
    assert "401: wrong key ***" in said[0] and "wrong key ***" in said[1]
    assert not any(KEY in text for text in said)
    assert server.keys == {f"Bearer {KEY}"}


def test_no_key_is_sent_where_none_is_set(server: FakeServer, connect: Callable[..., ServerEngine]) -> None:
    connect()
    assert server.keys == {None}


def test_a_key_that_no_header_can_carry_is_not_quoted(
    connect: Callable[..., ServerEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMPRM_API_KEY", f"{KEY}\nX-More: 1")
    with pytest.raises(UserError, match="MMPRM_API_KEY") as raised:
        connect()
    assert KEY not in str(raised.value)


def test_a_server_that_cannot_be_used_is_named_at_opening(
    server: FakeServer,
    connect: Callable[..., ServerEngine],
    mini_model_folder: Path,
    engine_config: Callable[..., Config],
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match="not as one"):  # defect 7, before anybody is asked
        open_engine(engine_config("server", url=server.url), mini_model_folder)
    assert server.keys == set()
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/v1: no server answers there .*`vllm serve`"):
        connect(url="http://127.0.0.1:9/v1")
    with pytest.raises(UserError, match=r"404.*ends in /v1"):
        connect(url=server.url.removesuffix("/v1"))
    with pytest.raises(UserError, match=r"served_model is 'other', .* serves \['policy'\]"):
        connect(served_model="other")
    server.cards.append({"id": "base", "max_model_len": 255, "root": str(tmp_path)})
    with pytest.raises(UserError, match=r"serves \['base', 'policy'\]"):
        connect()
    with pytest.raises(UserError, match=r"255 tokens.*--max-model-len 256"):
        connect(served_model="base")
    server.cards = [{"id": "policy", "root": str(mini_model_folder)}]
    folders.write_manifest(mini_model_folder, {"stage": "test"})
    with pytest.raises(UserError, match=f"serves {mini_model_folder}, not .*policy"):
        connect()
    (mini_model_folder / folders.MANIFEST).unlink()
    connect(url=f"{server.url}/")


def test_requests_that_cannot_run_are_not_sent(
    server: FakeServer, connect: Callable[..., ServerEngine], mini_problems: list[Problem]
) -> None:
    damaged = replace(mini_problems[0], images=(b"not an image",))
    done = drain(
        connect(),
        Request("long", mini_problems[0], ("7 * 8 = 56",) * 60, 2, SAMPLING, seed=1),
        Request("images", replace(mini_problems[0], images=mini_problems[0].images * 2), (), 2, SAMPLING, seed=1),
        Request("damaged", damaged, (), 2, SAMPLING, seed=1),
    )
    assert "256" in (done["long"].error or "")
    assert "max_images" in (done["images"].error or "")
    assert "cannot be decoded" in (done["damaged"].error or "")
    assert server.bodies == []


def test_what_a_longer_server_draws_is_cut_where_the_local_engine_ends(
    server: FakeServer, connect: Callable[..., ServerEngine], mini_problems: list[Problem]
) -> None:
    prefix = ("1 + 1 = 2",) * 8  # engine.max_model_len is 64 at least
    server.expect(mini_problems[0], prefix)
    request = Request("a", mini_problems[0], prefix, 1, SAMPLING, seed=1234)
    (whole,) = drain(connect(), request)["a"].completions
    (cut,) = drain(connect(max_model_len=len(server.prompt) + 3), request)["a"].completions
    assert (cut.n_tokens, cut.finish_reason) == (3, "length")
    assert whole.text.startswith(cut.text)
    assert "does not fit" in (drain(connect(max_model_len=len(server.prompt)), request)["a"].error or "")


def test_another_prompt_than_the_policys_ends_the_run(
    server: FakeServer, connect: Callable[..., ServerEngine], mini_problems: list[Problem]
) -> None:
    server.expect(mini_problems[0])
    engine = connect()
    assert drain(engine, Request("a", mini_problems[0], (), 1, SAMPLING, seed=1))["a"].error is None
    with pytest.raises(UserError, match=r"prompt of .* chat template"):
        drain(engine, Request("b", mini_problems[0], ("1 + 1 = 2",), 1, SAMPLING, seed=1))
    server.plan = lambda body: (200, {"choices": [{"message": {"content": "3"}}]})
    with pytest.raises(UserError, match="no token ids"):
        drain(connect(), Request("c", mini_problems[0], (), 1, SAMPLING, seed=1))


def test_images_are_sent_as_the_local_engine_sees_them(mini_problems: list[Problem]) -> None:
    def pixels(uri: str) -> bytes:
        file = Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))
        assert uri.startswith(f"data:{file.get_format_mimetype()};")
        return file.convert("RGB").tobytes()

    (drawing,) = mini_problems[0].images
    turned = Image.Exif()
    turned[0x0112] = 6
    photo = encoded(decode_image(drawing), "JPEG")
    for data in (drawing, photo):
        assert base64.b64decode(data_uri(data).partition("base64,")[2]) == data
    for data in (transparent(), encoded(decode_image(drawing), "JPEG", exif=turned), encoded(gray16(), "PNG")):
        assert pixels(data_uri(data)) == decode_image(data).tobytes()


def gray16() -> Image.Image:
    image = Image.new("I;16", (32, 32), 30000)
    image.putpixel((3, 3), 65535)
    return image


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ({"kind": "server"}, "url: kind server needs"),
        ({"kind": "server", "url": "localhost:8000/v1"}, "engine.url: not an address"),
        ({"kind": "server", "url": "ftp://host/v1"}, "engine.url: not an address"),
        ({"kind": "vllm", "url": f"http://me:{KEY}@host/v1"}, "engine.url: not an address"),
        ({"kind": "server", "url": f"http://host/v1?key={KEY}"}, "engine.url: not an address"),
    ],
)
def test_a_wrong_address_ends_before_anything_runs_and_a_secret_in_it_is_not_quoted(
    engine: dict[str, Any], said: str, engine_config: Callable[..., Config]
) -> None:
    with pytest.raises(UserError) as raised:
        engine_config(**engine)
    assert said in str(raised.value)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("ids", [[1, 10**12], [1, "a"], [-1], [1.5], [[1]]])
def test_tokens_that_the_policy_does_not_have_are_their_requests_error(
    ids: list[Any], server: FakeServer, connect: Callable[..., ServerEngine], mini_problems: list[Problem]
) -> None:
    server.expect(mini_problems[0])
    choice = {"index": 0, "message": {"content": ""}, "token_ids": ids}
    usage = {"prompt_tokens_details": {"cached_tokens": "many"}}
    bad = 200, {"choices": [choice], "prompt_token_ids": server.prompt, "usage": usage}
    server.plan = lambda body: bad if body["seed"] == 1 else None
    done = drain(connect(), *(Request(str(seed), mini_problems[0], (), 1, SAMPLING, seed) for seed in (1, 2)))
    assert "token ids" in (done["1"].error or "") and done["2"].error is None
