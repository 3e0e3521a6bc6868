"""What every engine's tests do with it."""

from __future__ import annotations

from mmprm.engine.base import Engine, Finished, Request


def drain(engine: Engine, *requests: Request) -> dict[str, Finished]:
    """Submit all at once and step until all have finished; by their keys."""
    for request in requests:
        engine.submit(request)
    finished = {}
    while engine.pending:
        finished |= {done.key: done for done in engine.step()}
    return finished
