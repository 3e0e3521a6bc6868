"""Published PRMs among a run's own. In: prm.variants.<name>.external. Out: prm/<name>/manifest.json, which names it.

The folder stays where it is: the manifest has its settings and fingerprint, and the scoring stages follow it there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from mmprm.config import Config
from mmprm.config.external import External
from mmprm.model import folders
from mmprm.prm import score_stamp
from mmprm.prm.step_scores import StepScores
from mmprm.runtime.errors import UserError

_COLUMNS = ("problem_id", "candidate", "probabilities")


def take_prm(config: Config, variant: str, out: Path) -> None:
    """Write the manifest of an external variant. UserError if the variant is none, or what it names cannot be read."""
    external = config.prm.recipe_of(variant).external
    if external is None:
        raise UserError(f"prm.variants.{variant} is trained here: it has no `external`")
    if external.kind == "scores_file":
        read_scores(external.folder)
        with external.folder.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    elif external.critic:
        local = external.critic.kind != "server"
        found = folders.fingerprint(Path(external.critic.model)) if local else external.critic.identity
    else:
        found = folders.fingerprint(external.folder)
    out.mkdir(parents=True, exist_ok=True)
    settings = external.model_dump(mode="json")
    folders.write_manifest(out, {"variant": variant, "external": settings, "fingerprint": found})


def external_of(prm: Path) -> External | None:
    """Return the settings of a PRM folder that stands for a published PRM; None for one that was trained."""
    if (prm / "config.json").is_file() or not (prm / folders.MANIFEST).is_file():
        return None
    info = folders.check_manifest(prm)["info"]
    return External.model_validate(info["external"]) if "external" in info else None


def reads_text_alone(prm: Path) -> bool:
    """Tell it of a PRM folder, or of the published PRM that it stands for."""
    external = external_of(prm)
    if external and external.critic:
        return False  # critic.images says what it is shown
    return folders.reads_text_alone(external.folder if external else prm)


def looked_up(path: Path, rows: Sequence[Mapping[str, Any]], readable: Sequence[Mapping[str, Any]]) -> list[StepScores]:
    """Return the scores that a file has of the candidates `readable`, of all the candidates `rows`.

    UserError where one is missing, or the file says that it was made for others.
    """
    if path.suffix == ".parquet":
        made_for = score_stamp.read_stamp(path).get(score_stamp.OF)
        if made_for is not None and made_for != score_stamp.digest(rows, "problem_id", "candidate"):
            raise UserError(f"{path}: made for other candidates than those of this run: score them again")
    scores = {(row["problem_id"], row["candidate"]): row["probabilities"] for row in read_scores(path)}
    keys = [(row["problem_id"], row["candidate"]) for row in readable]
    lacking = [key for key in keys if key not in scores]
    if lacking:
        raise UserError(
            f"{path}: no scores of candidate {lacking[0][1]} of problem {lacking[0][0]!r} (of {len(lacking)})"
        )
    return [StepScores([float(value) for value in scores[key] or ()]) for key in keys]


def read_scores(path: Path) -> list[dict[str, Any]]:
    """Read a table of scores, parquet or JSON Lines. UserError where it is none."""
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else pa.json.read_json(path)
    except (OSError, pa.ArrowException, json.JSONDecodeError) as error:
        raise UserError(f"{path}: cannot be read as parquet or JSON Lines ({error})") from error
    if lacking := [name for name in _COLUMNS if name not in table.column_names]:
        raise UserError(f"{path}: no column {', '.join(lacking)}; a table of scores has {', '.join(_COLUMNS)}")
    rows: list[dict[str, Any]] = table.select(_COLUMNS).to_pylist()
    return rows
