"""Keep the training paths on whose first error a judging model agrees. In: labelled paths, seeds. Out: paths, counts.

Consensus filtering of "Lessons of Developing PRMs" (arXiv 2501.07301). Only the split train of the run's own problems
is judged; held-out paths and those of step data stay. Rows are streamed: a few hundred paths are in memory.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.experiments import Consensus
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, ProblemFile
from mmprm.experiments.consensus.verdicts import disagreement, labelled
from mmprm.grading.judge import KEYS
from mmprm.llm.batch_runner import BatchRunner
from mmprm.llm.client import LlmClient, opened_client
from mmprm.llm.first_error import JudgeReply, judge
from mmprm.llm.tasks import LlmTask, Refused
from mmprm.runtime.errors import UserError
from mmprm.runtime.http_client import Server
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress

Row = dict[str, Any]
_AHEAD = 4  # paths in memory for each open call: a slow reply must not delay the others
_ROWS = 256  # rows of a table that are read or written at once
_REPLY_END = 2000  # characters of a reply that are stored with a dropped path: its conclusion is at the end


@dataclass
class JudgedCounts:
    """Counts of paths by result.

    judged: kind -> agreed, disagreed, unreadable; reasons: of dropped paths; untouched: dev, extra; tries: number of
    replies -> paths.
    """

    judged: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: Counter[str] = field(default_factory=Counter)
    untouched: Counter[str] = field(default_factory=Counter)
    tries: Counter[int] = field(default_factory=Counter)

    def add(self, kind: str, reply: JudgeReply, reason: str) -> None:
        """Count a path that was judged, and why it is dropped (empty: it is kept)."""
        self.tries[reply.tries] += 1
        self.judged[kind]["unreadable" if reply.position is None else "disagreed" if reason else "agreed"] += 1
        if reason:
            self.reasons[reason] += 1

    def total(self, result: str) -> int:
        """Count the paths of all kinds with a result."""
        return sum(counts[result] for counts in self.judged.values())

    @property
    def paths(self) -> int:
        """The number of judged paths."""
        return sum(counts.total() for counts in self.judged.values())

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common())
        return f"{self.total('agreed')} kept, {self.reasons.total()} dropped{f' ({reasons})' if reasons else ''}"


def judge_labels(config: Config, seeds: Path, paths: Path, work: Path, out: Path, dropped: Path, counts: Path) -> None:
    """Write the kept paths (schemas.PATHS, in their order), the dropped ones (schemas.DISAGREED), and counts.

    seeds: the problems of the run's own paths. Replies are stored in the journal in `work`. Raises UserError where no
    model is configured, the model does not answer (finished calls are not lost), no path is kept, or more replies than
    max_unreadable_share are unreadable: then the dropped paths are beside `dropped`, in a file that Snakemake does not
    delete.
    """
    settings = config.labels.consensus
    if settings is None:
        raise UserError("labels.consensus: no judging model is configured; name one, or train on labels/paths.parquet")
    judged, stopped = JudgedCounts(), dropped.with_suffix(".stopped.parquet")
    server = Server("labels.consensus.url", KEYS, "start it")
    with opened_client("consensus", config, settings, server, work, "consensus") as client:
        runner = BatchRunner(None, client, _AHEAD * settings.max_concurrent, settings.max_concurrent)
        tasks = _tasks(paths, ProblemFile(seeds), seeds, config, settings)
        agreed = _agreed(runner.results(tasks), tables.count(paths), settings, stopped, judged)
        tables.write(out, agreed, schemas.PATHS, group=_ROWS)
    stopped.replace(dropped)
    tables.write_json(counts, _report(settings, judged, client))
    log.info(f"consensus: of {judged.paths} training paths {judged}")


def _tasks(
    paths: Path, problems: ProblemFile, seeds: Path, config: Config, settings: Consensus
) -> Iterator[tuple[Row, LlmTask[JudgeReply | None]]]:
    """Yield each path with the task of judging it. UserError where its problem is not among the seeds."""
    for part in tables.batches(paths, schemas.PATHS, rows=_ROWS):
        for row in part.to_pylist():
            of_run = row["source"] not in config.labels.extra
            if of_run and row["problem_id"] not in problems:
                raise UserError(
                    f"{paths}: path {row['path_id']} is of problem {row['problem_id']!r}, which is not in {seeds}; "
                    "delete the labels and run again"
                )
            is_judged = of_run and row["split"] == "train"
            yield row, _task(row, problems[row["problem_id"]] if is_judged else None, settings)


def _task(row: Row, problem: Problem | None, settings: Consensus) -> LlmTask[JudgeReply | None]:
    if problem is None:
        return None
    return (yield from judge(problem, row["steps"], row["answer"], settings))


def _agreed(
    outcomes: Iterable[tuple[Row, JudgeReply | Refused | None]],
    total: int,
    settings: Consensus,
    stopped: Path,
    counts: JudgedCounts,
) -> Iterator[Row]:
    """Yield the rows of PATHS that are kept, and write the others to `stopped`.

    Raises UserError, so that no table is written, where no judged path is kept or too many replies are unreadable.
    """
    with tables.appending(stopped, schemas.DISAGREED, _ROWS) as drop, Progress("judged", total, "paths") as bar:
        for number, (row, reply) in enumerate(outcomes, start=1):
            bar.update(number)
            if not isinstance(reply, JudgeReply):
                counts.untouched["dev" if row["split"] == "dev" else "extra"] += 1
                yield row
                continue
            reason = disagreement(row, reply)
            counts.add(row["kind"], reply, reason)
            if reason:
                columns = {name: row[name] for name in ("path_id", "problem_id", "source", "kind", "steps", "answer")}
                label = labelled(row["kind"], len(row["steps"]) + (row["answer"] is not None))
                result = {"labelled": label, "judged": reply.position, "reason": reason}
                drop(columns | result | {"said": reply.text[-_REPLY_END:]})
            else:
                yield row
    unreadable = counts.total("unreadable")
    if unreadable > settings.max_unreadable_share * counts.paths or (counts.paths and not counts.total("agreed")):
        raise UserError(
            f"labels.consensus: of {counts.paths} training paths {counts}, {unreadable} of them without a readable "
            f"reply; max_unreadable_share is {settings.max_unreadable_share}: see {stopped}, and use another model, or "
            "raise max_new_tokens, tries or the bound"
        )


def _report(settings: Consensus, counts: JudgedCounts, client: LlmClient) -> Row:
    """Make labels/consensus.json; the same for the same paths and replies."""
    results = ("agreed", "disagreed", "unreadable")
    return {
        "model": settings.shown,
        "paths": counts.paths,
        "kept": counts.total("agreed"),
        "dropped": counts.reasons.total(),
        "by_kind": {kind: {name: by[name] for name in results} for kind, by in sorted(counts.judged.items())},
        "dropped_by_reason": dict(sorted(counts.reasons.items())),
        "untouched": dict(sorted(counts.untouched.items())),
        "calls": client.used.total(),
        "tokens": client.tokens.total(),
        "tries": {str(tries): count for tries, count in sorted(counts.tries.items())},
    }
