"""Processes that work for another one: they end when it is killed, though it cannot tell them to."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """To be called in a process that `multiprocessing` has started: it ends as soon as the one that started it has.

    A pool's processes wait at a pipe that they hold open for each other: without this they wait there for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
