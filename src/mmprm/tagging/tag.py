"""The stage `tag`: turn raw solutions into step-tagged ones, by rules or by a model.

In: problem tables, which are streamed. Out: one problem table, the refused solutions with their reasons, and counts.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.derived import TaggedSource
from mmprm.data import schemas, tables
from mmprm.data.problem import stream_problems
from mmprm.grading import Grader
from mmprm.llm.batch_runner import BatchRunner
from mmprm.llm.client import LlmClient, opened_client
from mmprm.runtime.errors import UserError
from mmprm.runtime.http_client import Server
from mmprm.runtime.log import log
from mmprm.tagging.tag_by_model import tag_by_model
from mmprm.tagging.tag_by_rules import tag_by_rules
from mmprm.tagging.tag_results import TagCounts, tagged_rows

KEYS = ("MMPRM_TAGGING_API_KEY", "OPENAI_API_KEY")  # environment variables; the first one that is set counts
_WINDOW = 256  # problems in memory if no model is asked
_AHEAD = 4  # problems in memory for each concurrent call of a model, so that a slow reply does not delay the others


def tag(config: Config, name: str, parents: Sequence[Path], work: Path, out: Path, refused: Path, counts: Path) -> None:
    """Write the tagged problems, the refused ones, and counts; replies of a model are kept in the journal in `work`.

    UserError if the model stays unreachable (nothing is lost), no solution is left, or more than `max_refused_share` is
    refused; then the refused solutions are in a file beside `refused` that Snakemake does not delete.
    """
    source = config.sources[name]
    if not isinstance(source, TaggedSource):
        raise UserError(f"source {name}: its kind is {source.kind}; only sources of kind tagged are tagged")
    totals, stopped = TagCounts(), refused.with_suffix(".stopped.parquet")
    with ExitStack() as stack:
        settings = source.model if source.by == "model" else None
        caller = None
        if settings is not None:
            server = Server(f"sources.{name}.model.url", KEYS, "start it")
            caller = stack.enter_context(opened_client("tagging", config, settings, server, work, name))
        # No judge: its calls are in no journal, and a restart would pay for them again.
        grader = stack.enter_context(Grader(config.grading.workers, config.grading.timeout))
        concurrent = settings.max_concurrent if settings else 1
        runner = BatchRunner(grader, caller, _AHEAD * concurrent if settings else _WINDOW, concurrent)
        task = partial(tag_by_model, settings=settings) if settings else tag_by_rules
        results = runner.results((problem, task(problem, source)) for problem in stream_problems(*parents))
        total = sum(map(tables.count, parents))
        rows = tagged_rows(name, results, total, source.max_refused_share, stopped, totals)
        tables.write(out, rows, schemas.PROBLEMS)
    stopped.replace(refused)
    tables.write_json(counts, _report(name, source, totals, caller))
    log.info(f"{name}: {totals}")


def _report(name: str, source: TaggedSource, counts: TagCounts, caller: LlmClient | None) -> dict[str, Any]:
    """Return what the data card says of the tagging; the same for the same solutions and replies."""
    report: dict[str, Any] = {
        "source": name,
        "of": source.sources,
        "by": source.by,
        "problems": counts.problems,
        "kept": counts.tagged.total(),
        "refused": counts.refused.total(),
        "kept_by_method": dict(sorted(counts.tagged.items())),
        "refused_by_reason": dict(sorted(counts.refused.items())),
        "steps": {str(steps): count for steps, count in sorted(counts.steps.items())},
        "answers_from": dict(sorted(counts.answers.items())),
        "model": None,
    }
    if caller is not None and source.model is not None:
        report["model"] = {
            "model": source.model.shown,
            "calls": dict(sorted(caller.used.items())),
            "tokens": dict(sorted(caller.tokens.items())),
            "tries": {str(tries): count for tries, count in sorted(counts.tries.items())},
        }
    return report
