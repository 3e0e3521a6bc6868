"""The page of a benchmark's candidates. In: problems, candidates, a PRM's scores. Out: HTML, and its data beside it."""

from pathlib import Path

from mmprm.config import Config
from mmprm.data import tables
from mmprm.evaluation.candidates import candidates_by_problem, join_scores
from mmprm.evaluation.selection_rules import weight_of
from mmprm.pages.candidate_items import candidate_item, candidate_row
from mmprm.pages.kit import Look, Row, parts_in, write_page
from mmprm.pages.problem_view import StepTruth
from mmprm.runtime.log import log

_SCRIPTS = ("steps.js", "browse.js", "candidates.js")


def write_candidates(
    config: Config,
    benchmark: str,
    variant: str,
    problems: Path,
    candidates: Path,
    scores: Path,
    out: Path,
    parts: Path,
) -> None:
    """Write the page of all candidates of a benchmark as a PRM variant sees them; parts: the folder for its data.

    Raises UserError where a table is missing, damaged, or made for other candidates.
    """
    by_id, rows = candidates_by_problem(problems, candidates)
    joined, primary = join_scores(rows, scores), config.bench.primary
    listed: list[Row] = []
    with parts_in(parts) as kept:
        for name in sorted(joined):
            item = candidate_item(by_id[name], joined[name], primary)
            part, at = kept.add(item)
            listed.append(candidate_row(item, by_id[name]) | {"part": part, "at": at})
    domain = config.benchmarks[benchmark].domain.replace("_", " ")
    about = [f"run {config.run}", f"{benchmark} ({domain})", f"PRM {variant}", f"{len(listed)} problems"]
    data = {
        "rows": listed,
        "primary": primary,
        "weight": weight_of(primary),
        "truth": any(StepTruth(problem) for problem in by_id.values()),
    }
    write_page(out, Look(f"Candidates of {benchmark}", _SCRIPTS, about), data, kept)
    log.info(
        f"{out}: {len(listed)} problems, {sum(map(len, joined.values()))} candidates; of {tables.count(scores)} scores"
    )
