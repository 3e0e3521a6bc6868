"""A PRM behind vLLM's own server: its options, who may ask it, and its scores, which are those of offline scoring."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import prm_cards as cards
import pytest
from listening import addresses_of, beyond_this_machine
from waiting import wait_for

from mmprm.client import Service
from mmprm.config.offline import OfflineSettings
from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.prm import vllm_scorer
from mmprm.runtime.errors import UserError
from mmprm.serving import contract as contracts
from mmprm.serving import server as servers
from mmprm.serving.contract import Beside, Contract
from mmprm.serving.server import Server, served

SETTINGS = OfflineSettings.model_validate({"prompt": {"instruction": cards.INSTRUCTION}, "engine": {"kv_cache_gib": 1}})


@pytest.fixture(scope="module")
def prm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cards.build(tmp_path_factory.mktemp("served") / "soft", "qwen2_5_vl")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_the_command_has_the_offline_scorers_options_and_names_the_head(prm: Path) -> None:
    """Also for a PRM whose config.json, of an earlier version, does not."""
    command = servers._command(SETTINGS, prm, "127.0.0.1", 8000, "soft-1")
    options = dict(pairwise(command))
    offline = vllm_scorer.scoring_arguments(SETTINGS, prm, folders.device())
    assert json.loads(options["--hf-overrides"]) == offline["hf_overrides"]
    assert json.loads(options["--hf-overrides"])["text_config"]["classifier_from_token"] == ["No", "Yes"]
    assert json.loads(options["--pooler-config"]) == offline["pooler_config"]
    assert options["--dtype"] == offline["dtype"] and options["--max-model-len"] == str(offline["max_model_len"])
    assert {"--no-enable-prefix-caching", "--no-enable-chunked-prefill", "--no-trust-remote-code"} <= set(command)
    assert options["--host"] == "127.0.0.1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "node-3"])
def test_a_server_for_others_needs_a_key(host: str, prm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMPRM_API_KEY", raising=False)
    with pytest.raises(UserError, match="whoever reaches it could score"):
        Server(SETTINGS, prm, host)


def test_a_prm_that_vllm_reads_wrongly_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not find the output layer of idefics3"):
        Server(SETTINGS, cards.build(tmp_path / "soft", "idefics3"))


def test_the_contract_says_what_a_client_must_write(prm: Path, tmp_path: Path) -> None:
    found = Contract.of(prm, "Answer in steps.")
    assert found.name == f"soft-{folders.fingerprint(prm)[:12]}" and found.reads_images and not found.counted
    assert found.control == Renderer(folders.load_processor(prm)).control and found.control
    assert "<prm>" not in found.control
    found.write(tmp_path / "contract.json")
    assert Contract.read((tmp_path / "contract.json").read_text()) == found
    for text in ("", "[]", "{}", '{"name": "a"}'):
        with pytest.raises(ValueError):
            Contract.read(text)


def asked(beside: Beside, path: str, headers: list[tuple[bytes, bytes]]) -> int:
    """The status that a request gets; 299 if it came through."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(beside({"type": "http", "path": path, "headers": headers}, None, send))
    return int(sent[0]["status"])


def test_every_path_asks_for_the_key_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM itself guards /v1 alone: with its --api-key anyone could score."""
    (tmp_path / "contract.json").write_text("{}")
    monkeypatch.setenv(contracts.SERVED, str(tmp_path / "contract.json"))

    async def vllm(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299})

    monkeypatch.setenv("MMPRM_API_KEY", "of-the-tests")
    beside = Beside(vllm)
    paths = ("/pooling", "/v1/models", "/mmprm", "/tokenize", "/metrics", "/")
    for headers in ([], [(b"authorization", b"Bearer another")], [(b"authorization", b"of-the-tests")]):
        assert {asked(beside, path, headers) for path in paths} == {401}
    key = [(b"authorization", b"Bearer of-the-tests")]
    assert [asked(beside, path, key) for path in ("/pooling", "/mmprm")] == [299, 200]
    assert asked(beside, "/health", []) == 299
    monkeypatch.delenv("MMPRM_API_KEY")
    assert asked(Beside(vllm), "/pooling", []) == 299


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize(("family", "label"), [("internvl", "soft"), ("qwen2_5_vl", "soft"), ("llama", "counts")])
def test_served_scores_are_offline_ones_before_and_after_a_kill(family: str, label: str, tmp_path: Path) -> None:
    """Of a PRM whose config.json does not name the head, as those of earlier versions."""
    folder = cards.build(tmp_path / "soft", family, label=label)
    before = json.loads((folder / "config.json").read_text())
    for each in (before, before.get("text_config", {})):
        each.pop("classifier_from_token", None)
    (folder / "config.json").write_text(json.dumps(before))
    folders.write_manifest(folder, json.loads((folder / "manifest.json").read_text())["info"])
    items, ours, port = cards.solutions(folder), cards.expected(folder), free_port()
    with (
        (tmp_path / "log").open("w") as log,
        served(SETTINGS, folder, port=port, output=log) as first,
        Service(first.url, tries=20) as service,
    ):
        with addresses_of(first.process.pid) as listened:
            found = service.score(items)
        assert all((one.concentrations is not None) == (label == "counts") for one in found)
        assert cards.largest([one.probabilities for one in found], ours) <= 1e-6
        assert listened and not beyond_this_machine(listened)
        first.kill()
        with served(SETTINGS, folder, port=port, output=log):
            found = service.score(items)
        assert cards.largest([one.probabilities for one in found], ours) <= 1e-6


@pytest.mark.slow
@pytest.mark.heavy
def test_the_verb_serves_until_it_is_told_to_end(prm: Path, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", "from mmprm.cli import app; app()", "serve", str(prm), "--port", str(port)]
    key = {"MMPRM_API_KEY": "of-the-tests"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | key, stdout=log, stderr=log)
    try:
        ready: Callable[[], bool] = lambda: "P(yes) of a trial" in (tmp_path / "log").read_text()  # noqa: E731
        wait_for(ready, "a trial", process, tmp_path / "log", pause=0.2)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(urllib.request.Request(f"{url}/pooling", b"{}", method="POST"))
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert not servers.healthy(url)
