"""Calls of an instruction model, each paid for once. In: LlmCall. Out: its completion, from the journal or the model.

A finished call is appended to the journal before it is used, under the hash of what decides it: model, prompt, images,
sampling, seed. So it survives a kill -9, and every change of the configuration that does not change its prompt.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mmprm.config import Sampling
from mmprm.config.models import InstructedModel
from mmprm.config.offline import Settings
from mmprm.engine.base import Completion, Engine, Request, request_key, request_seed
from mmprm.engine.factory import open_instructed
from mmprm.llm.tasks import LlmCall
from mmprm.model import folders
from mmprm.rollouts.journal import Entry, Journal
from mmprm.runtime.http_client import Server
from mmprm.runtime.log import log

Reply = Completion | str
OpenEngine = Callable[[], Engine]


class LlmClient:
    """Asks the model. The engine is opened with the first call that the journal does not have.

    `used` and `tokens` count, by stage of a call, the calls whose replies were used and their tokens, whether or not
    they were in the journal. `paid` counts the calls of this process.
    """

    def __init__(
        self, purpose: str, settings: InstructedModel, run_seed: int, journal: Journal, open_engine: OpenEngine
    ) -> None:
        """Open nothing yet. `purpose` makes the seeds of one use of the model differ from those of another."""
        self.sampling = Sampling(
            temperature=settings.temperature, top_p=settings.top_p, top_k=0, max_new_tokens=settings.max_new_tokens
        )
        self.used: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.paid = 0
        # A local model is identified by its weights, one on a server by its name there.
        self._model = settings.model if settings.kind == "server" else folders.fingerprint(Path(settings.model))
        self._purpose = purpose
        self._run_seed = run_seed
        self._journal = journal
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._waiting: defaultdict[str, list[tuple[LlmCall, Any]]] = defaultdict(list)

    def ask(self, call: LlmCall, asker: Any) -> Reply | None:
        """Return the reply if it is in the journal; else None, and `step` returns it later for `asker`."""
        seed = request_seed(self._run_seed, call.prompt, (), f"{self._purpose}/{call.stage}", call.attempt)
        key = request_key(self._model, call.prompt, (), 1, self.sampling, seed)
        if (entry := self._journal.get(key)) is not None:
            return self._count(call, entry.completions[0])
        self._waiting[key].append((call, asker))
        if len(self._waiting[key]) == 1:
            self._engine = self._engine or self._open_engine()
            self._engine.submit(Request(key, call.prompt, (), 1, self.sampling, seed))
        return None

    def step(self) -> list[tuple[Any, Reply]]:
        """Wait a moment for calls to end; returns (asker, reply) pairs. Raises UserError if the model is gone."""
        replies: list[tuple[Any, Reply]] = []
        for finished in self._engine.step() if self._engine else []:
            askers = self._waiting.pop(finished.key)
            if finished.error is None:
                entry = Entry(finished.completions, (), "", askers[0][0].prompt.problem_id)
                self._journal.append(finished.key, entry)
                self.paid += 1
            for call, asker in askers:
                # Errors are not recorded: the next run may ask again, which costs nothing.
                replies.append((asker, finished.error or self._count(call, finished.completions[0])))
        return replies

    def _count(self, call: LlmCall, completion: Completion) -> Completion:
        self.used[call.stage] += 1
        self.tokens[call.stage] += completion.n_tokens
        return completion

    @property
    def pending(self) -> int:
        """Calls in flight."""
        return len(self._waiting)

    def close(self) -> None:
        """Free the model."""
        if self._engine is not None:
            self._engine.close()


@contextmanager
def opened_client(
    purpose: str, config: Settings, settings: InstructedModel, server: Server, work: Path, name: str
) -> Iterator[LlmClient]:
    """Yield a client over the journal `name` in `work`; at a good end tell its calls, and compact the journal."""
    with closing(Journal(work, name)) as journal:
        opened = partial(open_instructed, config, settings, server)
        with closing(LlmClient(purpose, settings, config.seed, journal, opened)) as client:
            yield client
            log.info(
                f"{name}: {client.used.total()} calls, {client.paid} of them made now, the others from the journal"
            )
            journal.compact()
