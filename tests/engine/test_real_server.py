"""The server engine against a real vLLM server on loopback: the same tokens and draws as the local engine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import vllm_process
from drain import drain
from pictures import transparent
from vllm_process import MODULE, ended, free_port, wait_until_it_answers

from mmprm.config import Config, Sampling
from mmprm.data.problem import Problem
from mmprm.engine.base import Request
from mmprm.engine.factory import open_engine
from mmprm.engine.server_engine import ServerEngine
from mmprm.engine.vllm_engine import VllmEngine
from mmprm.model import folders
from mmprm.runtime.errors import UserError

SAMPLING = Sampling(temperature=1.0, top_p=0.9, top_k=50, max_new_tokens=24)
KEY = "sk-of-the-tests-5f2c"

pytestmark = [pytest.mark.slow, pytest.mark.heavy]


@pytest.fixture(scope="module")
def vllm_server(mini_policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """A real vLLM server of the policy that wants KEY: a function that waits for it and gives its address."""
    folder = tmp_path_factory.mktemp("server")
    # vLLM's processes import torchvision, which needs compat.prepare where it is built for another torch.
    (folder / "sitecustomize.py").write_text("from mmprm.model.hf_env import prepare\nprepare()\n")
    port = free_port()
    command = [sys.executable, "-m", MODULE, "--model", str(mini_policy_folder)]
    command += f"--host 127.0.0.1 --port {port} --dtype float32 --max-model-len 320 --seed 0".split()
    command += ["--enable-prompt-tokens-details", "--served-model-name", "policy", "other-name"]
    if folders.device() == "cpu":
        command += ["--enforce-eager", "--no-enable-chunked-prefill", "--block-size", "32"]
    environment = vllm_process.environment() | {"PYTHONPATH": str(folder), "VLLM_API_KEY": KEY}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def address() -> str:
        wait_until_it_answers(port, process, folder / "log")
        return f"http://127.0.0.1:{port}/v1"

    with ended(process):
        yield address


def test_a_real_server_reads_the_same_tokens_and_draws_the_same_completions_as_the_local_engine(
    vllm_server: Callable[[], str],
    mini_policy_folder: Path,
    mini_problems: list[Problem],
    engine_config: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strange = "Is <prm> or <step> or <IMG_CONTEXT> <|im_end|> é 数 right?"
    hot = Sampling(temperature=2.0, top_p=1.0, top_k=0, max_new_tokens=60)
    greedy = Sampling(temperature=0, max_new_tokens=400)
    one, two, three = mini_problems[:3]
    prefix = ("1 + 1 = 2", "é 数 = <b>")
    requests = [
        Request("image", one, (), 4, SAMPLING, seed=7),
        Request("prefix", one, prefix, 4, SAMPLING, seed=8),
        Request("text", replace(two, images=()), (), 2, SAMPLING, seed=9),
        Request("text, prefix", replace(two, images=()), prefix[:1], 2, SAMPLING, seed=9),
        Request("strange", replace(two, question=strange), prefix[:1], 2, hot, seed=10),
        Request("transparent", replace(three, images=(transparent(),)), (), 2, hot, seed=11),
        Request("two", replace(three, images=one.images + two.images), (), 2, hot, seed=12),
        Request("end", three, prefix, 2, greedy, seed=13),  # the server has room for more
        Request("hot", three, (), 16, hot, seed=14),
    ]
    local = open_engine(engine_config("vllm", max_images=2), mini_policy_folder)
    assert isinstance(local, VllmEngine)
    expected = drain(local, *requests)
    read = {}
    for request in requests:  # afterwards: vLLM takes an image that was rendered before for one that it has
        text = local._model.renderer.continuation(request.problem, request.prefix)
        read[request.key] = list(local._model.render(text, request.problem, room=1)["prompt_token_ids"])
    local.close()
    assert [done.error for done in expected.values() if done.error is not None] == []

    monkeypatch.setenv("MMPRM_API_KEY", "wrong")
    config = engine_config("server", url=vllm_server(), served_model="policy", max_images=2)
    with pytest.raises(UserError, match=r"401.*MMPRM_API_KEY"):
        open_engine(config, mini_policy_folder)
    monkeypatch.setenv("MMPRM_API_KEY", KEY)
    engine = open_engine(config, mini_policy_folder)
    assert isinstance(engine, ServerEngine)
    prompts: dict[str, list[int]] = {}
    compare = engine._compare
    monkeypatch.setattr(engine, "_compare", lambda request, ids: compare(request, prompts.setdefault(request.key, ids)))
    try:
        assert drain(engine, *requests) == expected
        assert prompts == read
        assert engine.stats.generated_tokens == local.stats.generated_tokens
        assert engine.stats.prompt_tokens == local.stats.prompt_tokens
        assert 0 < engine.stats.cached_prompt_tokens < engine.stats.prompt_tokens
        monkeypatch.setattr(engine, "_model", "gone")
        gone = drain(engine, Request("gone", one, (), 1, SAMPLING, seed=1))["gone"]
        assert (gone.error or "").startswith("the server says 404: The model `gone` does not exist.")
    finally:
        engine.close()
