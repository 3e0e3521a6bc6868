"""The stage: training paths on whose first error a judging model agrees. In: the labelled paths, and the seeds. Out:
the paths that PRMs are trained on, those that were dropped with what the model said, and counts.

Consensus filtering of "Lessons of Developing PRMs" (arXiv 2501.07301): Monte-Carlo labels put errors in wrong places,
and a model that judges steps makes other mistakes. Asked is about the split train of the run's own problems; held-out
paths, by which all settings are measured, and those of step data go through as they are. Rows are streamed: a few
hundred paths are in memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.experiments import Consensus
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, ProblemFile
from mmprm.engine.factory import open_instructed
from mmprm.experiments.consensus.verdicts import JudgeReply, disagreement, judge, labelled
from mmprm.grading.judge import KEYS
from mmprm.llm.batch_runner import BatchRunner
from mmprm.llm.client import LlmClient
from mmprm.llm.tasks import LlmTask, Refused
from mmprm.rollouts.journal import Journal
from mmprm.runtime.errors import UserError
from mmprm.runtime.http_client import Server
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress

Row = dict[str, Any]
_AHEAD = 4  # paths in memory for each call on its way: a slow reply must not hold up the others
_ROWS = 256  # of a table that are read or written at once
_SAID = 2000  # characters of a reply that are kept beside a dropped path: its conclusion is at the end


@dataclass
class JudgedCounts:
    """How many paths came to what. judged: kind -> agreed, disagreed, unreadable; reasons: of those dropped; untouched:
    dev, extra; tries: number of them -> paths."""

    judged: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: Counter[str] = field(default_factory=Counter)
    untouched: Counter[str] = field(default_factory=Counter)
    tries: Counter[int] = field(default_factory=Counter)

    def add(self, kind: str, judged: JudgeReply, reason: str) -> None:
        """A path that was judged, and why it is dropped (empty: it is kept)."""
        self.tries[judged.tries] += 1
        self.judged[kind]["unreadable" if judged.place is None else "disagreed" if reason else "agreed"] += 1
        if reason:
            self.reasons[reason] += 1

    def total(self, became: str) -> int:
        return sum(counts[became] for counts in self.judged.values())

    @property
    def paths(self) -> int:
        return sum(counts.total() for counts in self.judged.values())

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common())
        return f"{self.total('agreed')} kept, {self.reasons.total()} dropped{f' ({reasons})' if reasons else ''}"


def judge_labels(config: Config, seeds: Path, paths: Path, work: Path, out: Path, dropped: Path, counts: Path) -> None:
    """Write the kept paths (schemas.PATHS, in their order), the dropped ones (schemas.DISAGREED), and counts.

    seeds: the problems of the run's own paths. Calls are kept in the journal in `work`. UserError where no model is
    configured, it stays away (nothing is lost), nothing is kept, or more than max_unreadable_share says nothing that
    can be read: then the dropped paths lie beside `dropped`, in a file that Snakemake does not delete.
    """
    settings = config.labels.consensus
    if settings is None:
        raise UserError("labels.consensus: no judging model is named there; name one, or train on labels/paths.parquet")
    found, stopped = JudgedCounts(), dropped.with_suffix(".stopped.parquet")
    server = Server("labels.consensus.url", KEYS, "start it")
    with ExitStack() as stack:
        journal = Journal(work, "consensus")
        stack.callback(journal.close)
        opened = partial(open_instructed, config, settings, server)
        caller = LlmClient("consensus", settings, config.seed, journal, opened)
        stack.callback(caller.close)
        crew = BatchRunner(None, caller, _AHEAD * settings.max_concurrent, settings.max_concurrent)
        works = _works(paths, ProblemFile(seeds), seeds, config, settings)
        kept = _kept(crew.results(works), tables.count(paths), settings, stopped, found)
        tables.write(out, kept, schemas.PATHS, group=_ROWS)
        log.info(f"consensus: {caller.used.total()} calls, {caller.paid} of them made now, the others from the journal")
        journal.compact()
    stopped.replace(dropped)
    tables.write_json(counts, _report(settings, found, caller))
    log.info(f"consensus: of {found.paths} training paths {found}")


def _works(
    paths: Path, problems: ProblemFile, seeds: Path, config: Config, settings: Consensus
) -> Iterator[tuple[Row, LlmTask[JudgeReply | None]]]:
    """Each path with what is to be done with it. UserError where its problem is none of the seeds'."""
    for part in tables.batches(paths, schemas.PATHS, rows=_ROWS):
        for row in part.to_pylist():
            own = row["source"] not in config.labels.extra
            if own and row["problem_id"] not in problems:
                raise UserError(
                    f"{paths}: path {row['path_id']} is of problem {row['problem_id']!r}, which is not in {seeds}; "
                    "delete the labels and run again"
                )
            asked = own and row["split"] == "train"
            yield row, _work(row, problems[row["problem_id"]] if asked else None, settings)


def _work(row: Row, problem: Problem | None, settings: Consensus) -> LlmTask[JudgeReply | None]:
    if problem is None:
        return None
    return (yield from judge(problem, row["steps"], row["answer"], settings))


def _kept(
    outcomes: Iterable[tuple[Row, JudgeReply | Refused | None]],
    total: int,
    settings: Consensus,
    stopped: Path,
    counts: JudgedCounts,
) -> Iterator[Row]:
    """The rows of PATHS that are kept; `stopped` has the others when the last of them is handed out.

    UserError, so that no table is written, where none of the judged ones is kept or too many are unreadable.
    """
    with tables.appending(stopped, schemas.DISAGREED, _ROWS) as drop, Progress("judged", total, "paths") as bar:
        for number, (row, judged) in enumerate(outcomes, start=1):
            bar.update(number)
            if not isinstance(judged, JudgeReply):
                counts.untouched["dev" if row["split"] == "dev" else "extra"] += 1
                yield row
                continue
            reason = disagreement(row, judged)
            counts.add(row["kind"], judged, reason)
            if reason:
                drop(_dropped(row, judged, reason))
            else:
                yield row
    unreadable = counts.total("unreadable")
    if unreadable > settings.max_unreadable_share * counts.paths or (counts.paths and not counts.total("agreed")):
        raise UserError(
            f"labels.consensus: of {counts.paths} training paths {counts}, {unreadable} of them without a reply that "
            f"can be read; max_unreadable_share is {settings.max_unreadable_share}: see {stopped}, and take another "
            "model, raise max_new_tokens or tries, or the bound"
        )


def _dropped(row: Row, judged: JudgeReply, reason: str) -> Row:
    its = {name: row[name] for name in ("path_id", "problem_id", "source", "kind", "steps", "answer")}
    place = labelled(row["kind"], len(row["steps"]) + (row["answer"] is not None))
    return its | {"labelled": place, "judged": judged.place, "reason": reason, "said": judged.said[-_SAID:]}


def _report(settings: Consensus, counts: JudgedCounts, caller: LlmClient) -> Row:
    """What the report says of the filter; the same for the same paths and replies."""
    became = ("agreed", "disagreed", "unreadable")
    return {
        "model": settings.shown,
        "paths": counts.paths,
        "kept": counts.total("agreed"),
        "dropped": counts.reasons.total(),
        "by_kind": {kind: {name: own[name] for name in became} for kind, own in sorted(counts.judged.items())},
        "dropped_by_reason": dict(sorted(counts.reasons.items())),
        "untouched": dict(sorted(counts.untouched.items())),
        "calls": caller.used.total(),
        "tokens": caller.tokens.total(),
        "tries": {str(tries): count for tries, count in sorted(counts.tries.items())},
    }
