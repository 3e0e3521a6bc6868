"""A PRM served by vLLM's own server with a PRM's options. In: a PRM folder, settings. Out: an address that answers.

Its engine arguments are those of the offline scorer, turned into options of the command.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from mmprm.config.offline import Settings
from mmprm.model import folders
from mmprm.prm import vllm_head
from mmprm.prm.vllm_scorer import scoring_arguments
from mmprm.runtime import loopback, parent_death
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.serving.contract import KEY, SERVED, Contract

_ENDING = 20.0  # seconds that vLLM is given to end by itself
HERE = ("127.0.0.1", "localhost", "::1")


class Server:
    """vLLM's server of a PRM as a child process, which ends with its parent."""

    def __init__(
        self,
        settings: Settings,
        prm: Path,
        host: str = "127.0.0.1",
        port: int = 8000,
        output: IO[Any] | None = None,
    ) -> None:
        """Start it; `wait` for it before use. output: where its messages go; None: to ours.

        UserError if the folder is no whole PRM, vLLM would read it wrongly, or it would be open to a network.
        """
        if host not in HERE and not os.environ.get(KEY, "").strip():
            raise UserError(
                f"--host {host}: whoever reaches it could score. Set {KEY} to a secret of your choice, here and for "
                "the clients, or serve on 127.0.0.1 and let clients come by a tunnel"
            )
        folders.check_manifest(prm)
        if why := vllm_head.unread(prm):
            raise UserError(f"{prm}: {why}: it can be scored with, but not served")
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.contract = Contract.of(prm, settings.prompt.instruction)
        self._scratch = tempfile.TemporaryDirectory(prefix="mmprm-serve-")
        contract = Path(self._scratch.name) / "contract.json"
        self.contract.write(contract)
        self.process = subprocess.Popen(
            # By a signal that vLLM passes on: its engine has a process of its own.
            parent_death.to_me(_command(settings, prm, host, port, self.contract.name), signal.SIGTERM),
            env=_environment(contract, folders.device()),
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that what it has started can be ended with it
        )

    def wait(self, seconds: float = 3600.0) -> None:
        """Wait until it is healthy. UserError if it ends before, or does not answer in time."""
        end = time.monotonic() + seconds
        while not healthy(self.url):
            if self.process.poll() is not None:
                raise UserError(f"vLLM ended with status {self.process.returncode} before it answered; see above")
            if time.monotonic() > end:
                raise UserError(f"{self.url}: vLLM has not answered for {seconds:.0f} s")
            time.sleep(0.2)

    def close(self) -> None:
        """End it, and whatever it has started."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_ENDING)
        self.kill()
        self._scratch.cleanup()

    def kill(self) -> None:
        """End it and whatever it has started at once, as a crash of the machine would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def served(
    settings: Settings, prm: Path, host: str = "127.0.0.1", port: int = 8000, output: IO[Any] | None = None
) -> Iterator[Server]:
    """Serve a PRM until the block ends; it answers when the block begins."""
    server = Server(settings, prm, host, port, output)
    try:
        server.wait()
        yield server
    finally:
        server.close()


def serve(settings: Settings, prm: Path, host: str, port: int, trial: Callable[[str], list[float]]) -> int:
    """Serve a PRM until vLLM ends or this process is told to; returns vLLM's status.

    trial: scores one solution over HTTP, by the server's address; the server is called ready after it, too.
    """

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        with served(settings, prm, host, port) as server:
            log.info(f"{server.url}: serves {server.contract.name}; P(yes) of a trial: {trial(server.url)}")
            return server.process.wait()
    except KeyboardInterrupt:
        return 0


def healthy(url: str) -> bool:
    """Ask vLLM's health check."""
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/health", timeout=10) as reply:
            return bool(reply.status == 200)
    except OSError:  # a urllib.error.URLError is one
        return False


def _command(settings: Settings, prm: Path, host: str, port: int, name: str) -> list[str]:
    """Return vLLM's command; by its module, since the builds for CPUs have no `vllm`."""
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    for key, value in scoring_arguments(settings, prm, folders.device()).items():
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            command.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            command += [flag, json.dumps(value) if isinstance(value, dict) else str(value)]
    command += ["--host", host, "--port", str(port), "--served-model-name", name]
    return [*command, "--middleware", "mmprm.serving.contract.Beside", "--disable-uvicorn-access-log"]


def _environment(contract: Path, device: str) -> dict[str, str]:
    environment = dict(os.environ) | {SERVED: str(contract), "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)  # a server's engine has a process of its own
    if device == "cpu":
        environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    loopback.stay_here(environment)
    return environment
