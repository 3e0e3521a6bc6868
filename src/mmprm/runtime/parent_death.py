"""End a process when its parent ends, SIGKILL included. Two ways: `end_with_parent` for pools, `tie` for commands.

`python -m mmprm.runtime.parent_death PARENT SIGNAL COMMAND...` becomes the command. It is a program of its own, started
before the command, since Python cannot safely run code between fork and exec where there are threads. Only Linux has
such a tie; elsewhere the command runs untied.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence

PARENT = "MMPRM_TIED_PARENT"  # in the environment of `become`'s command: the process that its children are tied to
_SET_PARENT_DEATH_SIGNAL = 1


def tie(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process the signal when `parent`, its parent, dies; end at once if it already has.

    The kernel means the thread that started this process: it must not end before its process does.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def tie_to_command() -> None:
    """`tie` this process to the command that `become` made of its parent; elsewhere do nothing."""
    if PARENT in os.environ:
        tie(int(os.environ[PARENT]))


def become(command: list[str]) -> None:
    """Replace this process by the command, which keeps its number and its tie."""
    os.environ[PARENT] = str(os.getpid())
    os.execvp(command[0], command)


def to_me(command: Sequence[str], number: int = signal.SIGKILL) -> list[str]:
    """Return the command that runs `command` tied to this process."""
    return [sys.executable, "-m", "mmprm.runtime.parent_death", str(os.getpid()), str(int(number)), *command]


def end_with_parent() -> None:
    """End this process, started by `multiprocessing`, as soon as its parent ends.

    The processes of a pool wait at a pipe that they hold open for each other: without this they would wait for ever.
    They cannot be tied: a pool starts them from threads that may end before it does.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    tie(int(sys.argv[1]), int(sys.argv[2]))
    become(sys.argv[3:])
