"""Offline evaluation of external candidates, without a run. In: files of any policy. Out: scores, metrics.

The verbs are `mmprm score` and `mmprm evaluate`. Texts, checks and statistics are those of a run's stages
`score_candidates` and `measure`; `external_candidates` says what the files look like.
"""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from mmprm.config.offline import OfflineSettings, read_offline_settings
from mmprm.data import schemas, tables
from mmprm.evaluation.candidates import by_problem, join_scores
from mmprm.evaluation.external_candidates import ExternalCandidates, read_candidates
from mmprm.evaluation.selection_rules import selection_metrics
from mmprm.grading import Grader
from mmprm.model import folders
from mmprm.model.step_text import Status
from mmprm.prm import score_stamp
from mmprm.prm.score_candidates import write_scores
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress

_BY = "mmprm.prm"  # a key of the metadata of a score table
# What is printed: metrics of `selection_rules`, in this order.
_SHOWN = ("random", "random_parsed", "majority", "weighted_majority", "bon/{}", "oracle")
_DIFFERENCES = ("bon_minus_random/{}", "bon_minus_majority/{}", "weighted_majority_minus_majority")


def score(prm: Path, problems: Path | None, candidates: Path, out: Path, config: Path | None) -> None:
    """Write P(yes) at every marker of every candidate as schemas.SCORES; see external_candidates for the files.

    Settings that are not given come from the data: the instruction after the question is that of the PRM's training,
    and as many images are allowed as the problems have.
    """
    manifest = folders.check_manifest(prm)
    external = read_candidates(problems, candidates)
    _log_statuses(external)
    most_images = max(len(problem.images) for problem in external.problems.values())
    settings = read_offline_settings(config).fitted(manifest, most_images)
    write_scores(settings, prm, external.problems, external.rows, out, {_BY: str(prm)})
    log.info(f"{out}: scores of {len(external.rows)} candidates of {len(external.problems)} problems")


def evaluate(
    problems: Path | None, candidates: Path, scores: Path, out: Path, config: Path | None, name: str | None = None
) -> None:
    """Grade the candidates, write every statistic of them as a metrics.json, and print the main ones.

    N is each problem's own number of candidates; at a smaller n, a problem with fewer uses all it has. name: the
    benchmark's name, by default that of the candidates' file. Problems without candidates are not counted.
    """
    settings = read_offline_settings(config)
    external = read_candidates(problems, candidates)
    prm = _check_stamp(scores, candidates, external)
    _log_statuses(external)
    _grade(settings, external)
    rows = join_scores(by_problem(external.rows, external.problems, candidates, problems or candidates), scores)
    n = max(len(group) for group in rows.values())
    try:
        metrics = selection_metrics(external.problems, rows, settings.bench, n, settings.seed)
    except UserError as error:
        raise UserError(f"{candidates}: {error}") from error
    names = {"benchmark": name or candidates.stem, "variant": Path(prm).name if prm else scores.stem}
    metrics["rows"] = [names | row for row in metrics["rows"]]
    sizes = Counter(len(group) for group in rows.values())
    by_size = {str(size): count for size, count in sorted(sizes.items())}
    tables.write_json(out, names | {"domain": None, "candidates_a_problem": by_size} | metrics)
    print(summary(metrics))


def _log_statuses(external: ExternalCandidates) -> None:
    """Log how many candidates no PRM can choose, and why."""
    counts = Counter(row["status"] for row in external.rows if row["status"] != Status.OK)
    if counts:
        statuses = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        log.info(f"{sum(counts.values())} of {len(external.rows)} candidates count as unparsed: {statuses}")


def _check_stamp(scores: Path, candidates: Path, external: ExternalCandidates) -> str:
    """Return the PRM that made the scores; UserError where they are of other candidates."""
    tables.read(scores, schemas.SCORES)
    if not score_stamp.fits(scores, external.fingerprint):
        raise UserError(f"{scores}: made for other candidates than those of {candidates}; run `mmprm score` again")
    return score_stamp.read_stamp(scores).get(_BY, "")


def _grade(settings: OfflineSettings, external: ExternalCandidates) -> None:
    """Put verdicts into the rows that have an answer."""
    answered = [row for row in external.rows if row["status"] == Status.OK]
    with Grader.of(settings.grading) as grader, Progress("graded", len(answered), "answers") as bar:
        for first in range(0, len(answered), 256):
            part = answered[first : first + 256]
            verdicts = grader.grade_many([(row["answer"], external.problems[row["problem_id"]]) for row in part])
            for row, graded in zip(part, verdicts, strict=True):
                row |= {"verdict": str(graded.verdict), "method": graded.method}
            bar.update(first + len(part))


def summary(metrics: dict[str, Any]) -> str:
    """Write the main values of `selection_metrics` as lines of text, in percent and points."""
    at_n = defaultdict(dict, {row["metric"]: row for row in metrics["rows"] if row["n"] == metrics["n"]})
    size = f"{metrics['n_problems']} problems, at most {metrics['n']} candidates"
    lines = [f"{size}, {100 * metrics['confidence']:g} % intervals"]
    for metric in (name.format(metrics["primary"]) for name in (*_SHOWN, *_DIFFERENCES)):
        row = at_n[metric]
        sign = "+" if "_minus_" in metric else ""
        values = [f"{100 * row[key]:{sign}.1f}" for key in ("value", "ci_low", "ci_high")]
        lines.append(f"  {metric:<45} {values[0]:>6}  ({values[1]} to {values[2]})")
    for row in (row for row in metrics["rows"] if row["metric"] == "oracle"):
        lines.append(f"  {'pass@' + str(row['n']):<45} {100 * row['value']:>6.1f}")
    for test in metrics["mcnemar"]:
        what = f"{test['choice']} against {test['against']}, McNemar"
        counts = f"{test['only_ours']:g} to {test['only_theirs']:g}, means over ties of {test['by_lot']} problems"
        lines.append(f"  {what:<45} p = {test['p_value']:.2g}  ({counts})")
    return "\n".join(lines)
