"""`mmprm score` and `mmprm evaluate`: candidates of any policy, without a run. In: files. Out: scores, metrics.

The steps are those of a run's stages `score_candidates` and `measure`: the same texts, checks and statistics. What the
files look like: `given`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mmprm.config import Prompt
from mmprm.config.offline import Standalone, read_standalone
from mmprm.data import schemas, tables
from mmprm.evaluation.candidates import by_problem, join_scores
from mmprm.evaluation.external_candidates import ExternalCandidates, read_candidates
from mmprm.evaluation.selection_rules import measured
from mmprm.grading import Grader
from mmprm.model import folders
from mmprm.model.step_text import Status
from mmprm.prm.score_candidates import write_scores
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress

# Keys of the metadata of a score table.
_OF, _BY = "mmprm.candidates", "mmprm.prm"
# What is printed: the metrics of `measures`, in this order.
_SHOWN = ("random", "random_parsed", "majority", "weighted_majority", "bon/{}", "oracle")
_DIFFERENCES = ("bon_minus_random/{}", "bon_minus_majority/{}", "weighted_majority_minus_majority")


def score(prm: Path, problems: Path | None, candidates: Path, out: Path, config: Path | None) -> None:
    """Write P(yes) at every marker of every candidate as schemas.SCORES; see given.read_given for the files.

    What the settings leave open comes from the data: the instruction after the question is that of the PRM's training,
    and as many images are allowed as the problems have.
    """
    manifest = folders.check_manifest(prm)
    given = read_candidates(problems, candidates)
    _say_statuses(given)
    settings = _fitted(read_standalone(config), manifest, given)
    stamp = {_OF: given.fingerprint, _BY: str(prm)}
    write_scores(settings, prm, given.problems, given.rows, out, stamp)
    log.info(f"{out}: scores of {len(given.rows)} candidates of {len(given.problems)} problems")


def evaluate(
    problems: Path | None, candidates: Path, scores: Path, out: Path, config: Path | None, name: str | None = None
) -> None:
    """Grade the candidates, write every statistic of them as a metrics.json, and print the main ones.

    N is each problem's own number of candidates; at a smaller n, a problem with fewer uses all it has. name: what the
    benchmark is called, by default as the file of the candidates. Problems without candidates are not counted.
    """
    settings = read_standalone(config)
    given = read_candidates(problems, candidates)
    prm = _check_stamp(scores, candidates, given)
    _say_statuses(given)
    _grade(settings, given)
    rows = join_scores(by_problem(given.rows, given.problems, candidates, problems or candidates), scores)
    n = max(len(group) for group in rows.values())
    try:
        found = measured(given.problems, rows, settings.bench, n, settings.seed)
    except UserError as error:
        raise UserError(f"{candidates}: {error}") from error
    whose = {"benchmark": name or candidates.stem, "variant": Path(prm).name if prm else scores.stem}
    found["rows"] = [whose | row for row in found["rows"]]
    sizes = Counter(len(group) for group in rows.values())
    by_size = {str(size): count for size, count in sorted(sizes.items())}
    tables.write_json(out, whose | {"domain": None, "candidates_a_problem": by_size} | found)
    print(summary(found))


def _fitted(settings: Standalone, manifest: dict[str, Any], given: ExternalCandidates) -> Standalone:
    """The settings, with what they leave open taken from the PRM's training and the problems."""
    changes: dict[str, Any] = {}
    if "prompt" not in settings.model_fields_set:
        trained = manifest.get("info", {}).get("config", {}).get("prompt")
        changes["prompt"] = Prompt.model_validate(trained or {})
    if "max_images" not in settings.engine.model_fields_set:
        most = max(len(problem.images) for problem in given.problems.values())
        changes["engine"] = settings.engine.model_copy(update={"max_images": max(1, most)})
    return settings.model_copy(update=changes)


def _say_statuses(given: ExternalCandidates) -> None:
    """Say how many candidates no PRM can choose, and why."""
    counts = Counter(row["status"] for row in given.rows if row["status"] != Status.OK)
    if counts:
        words = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        log.info(f"{sum(counts.values())} of {len(given.rows)} candidates count as unparsed: {words}")


def _check_stamp(scores: Path, candidates: Path, given: ExternalCandidates) -> str:
    """The PRM that made the scores; UserError where they are of other candidates than these."""
    tables.read(scores, schemas.SCORES)
    found = {key.decode(): value.decode() for key, value in (pq.read_schema(scores).metadata or {}).items()}
    if found.get(_OF, given.fingerprint) != given.fingerprint:
        raise UserError(f"{scores}: made of other candidates than {candidates} has now; run `mmprm score` again")
    return found.get(_BY, "")


def _grade(settings: Standalone, given: ExternalCandidates) -> None:
    """Put verdicts into the rows that have an answer."""
    answered = [row for row in given.rows if row["status"] == Status.OK]
    with Grader.of(settings.grading) as grader, Progress("graded", len(answered), "answers") as bar:
        for first in range(0, len(answered), 256):
            part = answered[first : first + 256]
            verdicts = grader.grade_many([(row["answer"], given.problems[row["problem_id"]]) for row in part])
            for row, graded in zip(part, verdicts, strict=True):
                row |= {"verdict": str(graded.verdict), "method": graded.method}
            bar.update(first + len(part))


def summary(found: dict[str, Any]) -> str:
    """The main values of `measures.measured` as lines of text, in percent and points."""
    at_n = defaultdict(dict, {row["metric"]: row for row in found["rows"] if row["n"] == found["n"]})
    lines = [
        f"{found['n_problems']} problems, at most {found['n']} candidates, {100 * found['confidence']:g} % intervals"
    ]
    for metric in (name.format(found["primary"]) for name in (*_SHOWN, *_DIFFERENCES)):
        row = at_n[metric]
        sign = "+" if "_minus_" in metric else ""
        values = [f"{100 * row[key]:{sign}.1f}" for key in ("value", "ci_low", "ci_high")]
        lines.append(f"  {metric:<45} {values[0]:>6}  ({values[1]} to {values[2]})")
    for row in (row for row in found["rows"] if row["metric"] == "oracle"):
        lines.append(f"  {'pass@' + str(row['n']):<45} {100 * row['value']:>6.1f}")
    for test in found["mcnemar"]:
        what = f"{test['choice']} against {test['against']}, McNemar"
        counts = f"{test['only_ours']} to {test['only_theirs']}, {test['by_lot']} problems by lot"
        lines.append(f"  {what:<45} p = {test['p_value']:.2g}  ({counts})")
    return "\n".join(lines)
