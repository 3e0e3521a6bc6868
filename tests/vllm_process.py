"""vLLM's own server in a process of its own: a port, a wait until it answers, and its end with all its processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from waiting import HANG, wait_for

# `vllm serve` looks for a package called vllm, and the CPU build has another name.
MODULE = "vllm.entrypoints.openai.api_server"


def free_port() -> int:
    """A port of the loopback interface on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def environment() -> dict[str, str]:
    """The environment of the server: no hub, no statistics, a small cache."""
    kept = {name: value for name, value in os.environ.items() if name != "VLLM_ENABLE_V1_MULTIPROCESSING"}
    kept |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    return kept | {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def wait_until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for /health; fails with the end of the log where the process ends before."""
    wait_for(lambda: _healthy(port), "an answer of the server", process, log, pause=0.2)


def _healthy(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=HANG).status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the server and whatever it has started; it must lead a session of its own."""
    try:
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever it has left
        process.wait()
