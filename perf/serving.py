"""A PRM's service under load: requests a second against offline scoring of the same candidates, and through a kill.

In: a run's PRM, problems and candidates. Out: one JSON line. vLLM scores the candidates offline and
behind `mmprm serve`, there for `--clients` clients at once, in turn, `--repeats` times; the medians are compared. Then
the server is killed in the middle of one more pass and started again: all scores of all passes are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmprm.client import Service
from mmprm.config.offline import OfflineSettings
from mmprm.model import folders
from mmprm.prm.step_scores import Item, StepScores
from mmprm.prm.vllm_scorer import VllmScorer
from mmprm.serving.server import Server
from perf.common import finish, machine, need, say, user_errors
from perf.scoring import items_of, largest_difference

_PART = 25  # requests that a client has in flight
_TRIES = 20  # minutes: a server on a busy CPU takes one or two to start


def by_clients(url: str, items: list[Item], clients: int, done: threading.Semaphore | None = None) -> list[StepScores]:
    """Score the items by so many clients, each with a connection of its own; item i is client i % clients'."""

    def one(first: int) -> list[StepScores]:
        scores: list[StepScores] = []
        with Service(url, running=_PART, tries=_TRIES) as service:
            for part in _parts(items[first::clients]):
                scores += service.score(part)
                if done:
                    done.release(len(part))
        return scores

    with ThreadPoolExecutor(clients) as pool:
        shares = list(pool.map(one, range(clients)))
    return [shares[index % clients][index // clients] for index in range(len(items))]


def _parts(items: list[Item]) -> list[list[Item]]:
    return [items[first : first + _PART] for first in range(0, len(items), _PART)]


def through_a_kill(
    server: Server, start: Any, items: list[Item], clients: int
) -> tuple[list[StepScores], Server, float]:
    """Score while the server is killed after a third of the items and started again: scores, server, seconds."""
    done = threading.Semaphore(0)
    began = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        scoring = pool.submit(by_clients, server.url, items, clients, done)
        for _ in range(len(items) // 3):
            done.acquire()
        say(f"kill of the server, {time.perf_counter() - began:.1f} s after the start of the pass")
        server.kill()
        again = start()
        return scoring.result(), again, time.perf_counter() - began


def run(
    settings: OfflineSettings, prm: Path, items: list[Item], clients: int, repeats: int, log: Path
) -> dict[str, Any]:
    """Start offline scorer and server, compare, kill, and return the result."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("a", encoding="utf-8"))

        def start() -> Server:
            server = Server(settings, prm, port=port, output=output)
            stack.callback(server.close)
            server.wait()
            return server

        server = start()
        offline = VllmScorer(settings, prm)
        stack.callback(offline.close)
        expected = [one.probabilities for one in offline.score(items)]  # warms both up
        by_clients(server.url, items, clients)
        seconds: dict[str, list[float]] = {"offline": [], "served": []}
        worst = 0.0
        for repeat in range(repeats):
            for name in sorted(seconds, reverse=bool(repeat % 2)):
                began = time.perf_counter()
                scores = offline.score(items) if name == "offline" else by_clients(server.url, items, clients)
                seconds[name].append(time.perf_counter() - began)
                worst = max(worst, largest_difference(expected, [one.probabilities for one in scores]))
                say(f"{repeat + 1} of {repeats}, {name}: {len(items)} candidates in {seconds[name][-1]:.2f} s")
        scores, _, killed = through_a_kill(server, start, items, clients)
    rate = {name: len(items) / statistics.median(values) for name, values in seconds.items()}
    return {
        "served_vs_offline": round(rate["served"] / rate["offline"], 2),
        "requests_per_second": {name: round(value, 1) for name, value in rate.items()},
        "largest_difference": float(f"{worst:.2e}"),
        "through_a_kill": {
            "seconds": round(killed, 1),
            "scored": sum(bool(one.probabilities) for one in scores),
            "largest_difference": float(f"{largest_difference(expected, [one.probabilities for one in scores]):.2e}"),
        },
        "requests": len(items),
        "clients": clients,
        "machine": machine(),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.serving", description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results/mini"), help="a run's folder (%(default)s)")
    parser.add_argument("--variant", default="soft", help="of its PRMs (%(default)s)")
    parser.add_argument("--benchmark", default="test", help="of its benchmarks (%(default)s)")
    parser.add_argument("--requests", type=int, default=1000, help="candidates to score (%(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="at once (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="passes of each (%(default)s)")
    parser.add_argument("--log", type=Path, default=Path("serving.log"), help="of the server (%(default)s)")
    given = parser.parse_args(arguments)
    if min(given.requests, given.clients, given.repeats) < 1:
        parser.error("--requests, --clients and --repeats must be at least 1")
    prm = given.results / "prm" / given.variant
    problems = given.results / f"problems/{given.benchmark}.parquet"
    candidates = given.results / f"bench/{given.benchmark}/candidates.parquet"
    with user_errors("serving"):
        need(prm, problems, candidates)
        known = items_of(problems, candidates, 48)
        items = list(itertools.islice(itertools.cycle(known), given.requests))
        settings = OfflineSettings().fitted(folders.check_manifest(prm), max(len(item[0].images) for item in items))
        result = run(settings, prm, items, given.clients, given.repeats, given.log)
    finish(result)


if __name__ == "__main__":
    main()
