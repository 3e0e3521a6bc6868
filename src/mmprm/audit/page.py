"""The page on which people judge a sample of a run. In: results/<run>. Out: one HTML file.

It shows neither the run's claim nor the MC value, which would be agreed with; they are written into the marks.
"""

import hashlib
from pathlib import Path

from mmprm.audit import sample
from mmprm.audit.marks import COLUMNS
from mmprm.config import Config
from mmprm.pages.kit import Look, parts_in, write_page
from mmprm.pages.problem_view import about, view
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log

_DRAWN = {
    "step": (sample.steps, "steps"),
    "verdict": (sample.verdicts, "verdicts"),
    "refusal": (sample.refusals, "refusals"),
}


def write_audit(config: Config, folder: Path, out: Path) -> None:
    """Write the audit's page of the run in `folder`, as many items of each kind as `config.audit` says.

    UserError where the run has nothing to judge yet.
    """
    items = [item for draw, key in _DRAWN.values() for item in draw(config, folder, getattr(config.audit, key))]
    if not items:
        raise UserError(
            f"{folder}: nothing to judge: there are no labels, candidates or refusals yet, or audit asks for none"
        )
    rows = []
    with parts_in(None) as parts:
        for item in items:
            part, at = parts.add({"id": item.name, **view(item.problem), "kind": item.kind, **item.shown})
            facts = {
                "kind": item.kind,
                "claim": item.unit.claim,
                "value": item.unit.value,
                "weight": round(item.weight, 6),
            }
            facts |= {"stratum": ", ".join([item.unit.stratum, *item.unit.order[:1]]), "problem_id": item.problem_id}
            rows.append({"id": item.name, "part": part, "at": at, **about(item.problem), **facts})
    name = hashlib.sha256("".join(sorted(item.name for item in items)).encode()).hexdigest()[:12]
    look = Look(
        "Audit",
        ("steps.js", "browse.js", "csv.js", "audit.js"),
        [f"run {config.run}", f"{len(rows)} items", f"sample {name}"],
    )
    write_page(out, look, {"rows": rows, "sample": name, "run": config.run, "columns": list(COLUMNS)}, parts)
    log.info(f"{out}: {len(rows)} items")
