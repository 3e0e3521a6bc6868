"""A look at a sealed test. In: models, the configuration. Out: a line of the ledger, look.json, and then the problems.

The rules open_seal and draw_sealed: nothing of the test is known before its line is on the disk.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmprm import __version__
from mmprm.config import Config
from mmprm.config.derived import SampledSource
from mmprm.data import schemas, tables
from mmprm.data.problem import problems_by_id, write_problems
from mmprm.model import folders
from mmprm.problems.intake import SUMMARY, make_source
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.provenance import provenance
from mmprm.sealed import ledger
from mmprm.sealed.ledger import Look
from mmprm.sealed.recipe import recipe_digest, settings_digest
from mmprm.sealed.registration import registered


def open_seal(config: Config, test: str, policy: Path, prms: Sequence[Path], out: Path) -> None:
    """Enter this look into the ledger, unless it is there already, and write it to `out` (look.json).

    UserError where the test's claims are not registered as they must be (see `registration.registered`).
    """
    claimed = registered(config, test)
    made = provenance()
    models = {"policy": folders.fingerprint(policy), **{prm.name: folders.fingerprint(prm) for prm in prms}}
    look = Look(
        test=test,
        number=0,
        seed=0,
        problems=recipe_digest(config, test),
        settings=settings_digest(config, test),
        models=models,
        registration=claimed and claimed[1],
        registered=claimed and claimed[2],
        commit=made["commit"],
        run=config.run,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=made["machine"],
        version=__version__,
    )
    path = Path(config.evidence.ledger)
    entered = ledger.enter(path, look)
    again = "the same look as" if entered.time != look.time else "look"
    log.info(f"sealed.{test}: {again} number {entered.number} of {path}: commit that file")
    if claimed is None:
        log.warning(
            f"sealed.{test}: nothing of it is registered: its figures are no evidence of what was claimed before"
        )
    claims = claimed and claimed[0].model_dump(mode="json")
    tables.write_json(out, asdict(entered) | {"claims": claims})


def draw_sealed(config: Config, source: str, look: Path, parents: Sequence[Path], out: Path, refused: Path) -> None:
    """Write the problems of a sealed test, drawn by the seed of its look, as `intake.make_source` does of others.

    parents: the problem table of the source that a sample is of.
    """
    entered = read_look(look)
    settings = config.sources[source]
    if config.sealed[entered.test].source != source or entered.problems != recipe_digest(config, entered.test):
        raise UserError(f"{look}: a look at other problems than those of {source}; delete it and run again")
    if isinstance(settings, SampledSource):
        drawn = sample(parents[0], settings.size, entered.seed)
        write_problems(out, drawn)
        tables.write(refused, [], schemas.REFUSED)
        counts = {"source": source, "kind": settings.kind, "rows": len(drawn), "problems": len(drawn), "refused": {}}
        tables.write_json(out.with_suffix(SUMMARY), counts)
        return
    seeded = settings.model_copy(update={"seed": entered.seed})
    make_source(config.model_copy(update={"sources": {**config.sources, source: seeded}}), source, out, refused)


def read_look(path: Path) -> Look:
    """Read look.json; UserError where it is not one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values.pop("claims")
        return Look(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a look ({error!r}); delete it and run again") from error


def sample(table: Path, size: int, seed: int) -> list[Any]:
    """Draw at least `size` problems of a table in whole groups, those whose hash with the seed comes first; sorted."""
    problems = problems_by_id(table)
    if len(problems) < size:
        raise UserError(f"{table}: {len(problems)} problems, fewer than the {size} to draw")
    groups: dict[str, list[str]] = {}
    for name, problem in problems.items():
        groups.setdefault(problem.group or name, []).append(name)
    chosen: list[str] = []
    for group in sorted(groups, key=lambda name: hashlib.sha256(f"{seed}\x1f{name}".encode()).digest()):
        if len(chosen) >= size:
            break
        chosen += groups[group]
    return [problems[name] for name in sorted(chosen)]
