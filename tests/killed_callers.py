"""A command that asks a chat server, killed at random moments and then let run to its end."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chat_server import ChatServer
from waiting import wait_for

from mmprm.config import Config

KILLS = 4


@dataclass(frozen=True)
class Command:
    """`mmprm VERB OPTIONS` in a folder, where `outputs` (files by option) are there once it has ended."""

    folder: Path
    config: Config
    words: Sequence[str]
    outputs: dict[str, str]

    @property
    def log(self) -> str:
        """What all its processes have said."""
        return (self.folder / "log").read_text()

    def start(self) -> subprocess.Popen[bytes]:
        """It, as a rule calls it."""
        (self.folder / "config.json").write_text(self.config.model_dump_json())
        options = [*self.words, "--config", "config.json", "--work", "work"]
        options += [word for pair in self.outputs.items() for word in pair]
        command = [sys.executable, "-c", "from mmprm.cli import app; app()", *options]
        environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stderr=log)


def survive_kills(command: Command, server: ChatServer, most: int) -> None:
    """kill -9 it KILLS times, each after eight to `most` calls more; there is no output before it is let end."""
    rng = random.Random(0)
    for _ in range(KILLS):
        process, before = command.start(), len(server.bodies)
        wanted = before + rng.randint(8, most)
        reached = functools.partial(lambda least: len(server.bodies) >= least, wanted)
        wait_for(reached, f"{wanted} calls", process, command.folder / "log", pause=0.001)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not any((command.folder / name).exists() for name in command.outputs.values())
    wait_for(lambda: not server.running, "the end of what the last one had asked for")
    assert command.start().wait() == 0, command.log
