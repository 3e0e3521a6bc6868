"""The problems from the rows of the sources to labelled paths. In: results/<run>. Out: counts and losses by stage.

A source's counts are in `problems/{source}.intake.json`, `.curation.json` or `.tagging.json`; where there is none, what
its tables say.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmprm.config import Config
from mmprm.config.sources import DERIVED
from mmprm.data import schemas, tables
from mmprm.hub.licences import lineage
from mmprm.report import results
from mmprm.report.results import Row


def sources(config: Config, folder: Path) -> dict[str, Row]:
    """Return for each source, by name, what it is made of, its licence and weight, and its counts.

    rows: what came in; problems: what is in its table; refused: reason -> rows; curation, tagging: the JSON of a
    derived source. What is not known is None.
    """
    by_name: dict[str, Row] = {}
    for row in results.sources(config, folder):
        name = row["name"]
        settings = config.sources[name]
        intake, curation, tagging = (
            results.read_json(folder / "problems" / f"{name}.{stage}.json")
            for stage in ("intake", "curation", "tagging")
        )
        refused = {entry["reason"]: entry["count"] for entry in row["reasons"]}
        known = intake or curation or {"rows": (tagging or {}).get("problems")}
        n_rows = known.get("rows")
        if n_rows is None and row["problems"] is not None and not isinstance(settings, DERIVED):
            n_rows = row["problems"] + sum(refused.values())
        by_name[name] = {
            **{key: row[key] for key in ("name", "kind", "about", "problems")},
            "made_of": list(settings.sources) if isinstance(settings, DERIVED) else [],
            "used_for": used_for(config, name),
            "licence": getattr(settings, "licence", None) or (intake or {}).get("licence"),
            "weight": getattr(settings, "weight", None),
            "rows": n_rows,
            "refused": refused,
            "images": (intake or {}).get("images"),
            "set_aside": (curation or {}).get("set_aside"),
            "curation": curation,
            "tagging": tagging,
        }
    return by_name


def used_for(config: Config, name: str) -> list[str]:
    """Return the stages that read the source's table directly."""
    stages = [stage for stage in ("policy", "seeds") if name in getattr(config, stage).sources]
    return stages + [f"benchmark {bench}" for bench, settings in config.tests.items() if settings.source == name]


def of_sources(config: Config, known: Mapping[str, Row], names: Sequence[str]) -> list[Row]:
    """Return the stages up to the tables of these sources: {stage, count, lost: reason -> problems}."""
    ancestors = [known[name] for name in lineage(config, names)]
    read = [row for row in ancestors if not row["made_of"]]
    stages: list[Row] = []
    if read and all(row["rows"] is not None and row["problems"] is not None for row in read):
        refused: Counter[str] = sum((Counter(row["refused"]) for row in read), Counter())
        stages.append(_stage("rows read", sum(row["rows"] for row in read), {}))
        stages.append(_stage("taken", sum(row["problems"] for row in read), refused))
    for row in ancestors:
        if row["made_of"] and row["problems"] is not None:
            lost = Counter(row["refused"] | {"set aside": row["set_aside"] or 0})
            stages.append(_stage(f"{row['kind']}: {row['name']}", row["problems"], lost))
    return stages


def of_seeds(config: Config, folder: Path, known: Mapping[str, Row]) -> list[Row]:
    """Return the stages from the rows of the seeds' sources to problems with labelled paths."""
    stages = of_sources(config, known, config.seeds.sources)
    seeds = results.read_json(folder / "seeds" / "statistics.json")
    if seeds is None:
        return stages
    dropped = {reason: count for reason, count in seeds["reasons"].items() if reason != "kept"}
    stages.append(_stage("kept as seeds", seeds["kept"], dropped))
    status = tables.read_rows(results.annotation_files(config, folder, "status"), schemas.STATUS)
    if not status:
        return stages
    done = sum(row["status"] == "done" for row in status)
    others = Counter(f"{row['status']}: {row['reason']}" for row in status if row["status"] != "done")
    stages.append(_stage("annotated", done, others))
    labels = results.read_json(folder / "labels" / "statistics.json")
    if labels is not None:
        paths = labels["problems_with_paths"]
        stages.append(_stage("with labelled paths", paths, {"no path": max(0, done - paths)}))
    return stages


def of_policy(config: Config, folder: Path, known: Mapping[str, Row]) -> list[Row]:
    """Return the stages from the rows of the policy's sources to the solutions that it was trained on."""
    stages = of_sources(config, known, config.policy.sources)
    manifest = results.read_json(folder / "policy" / "manifest.json") or {}
    info = manifest.get("info", {})
    if "examples" in info:
        stages.append(_stage("trained on", info["examples"], info.get("refused") or {}))
    return stages


def _stage(name: str, count: int, lost: Mapping[str, int]) -> Row:
    ordered = sorted((item for item in lost.items() if item[1]), key=lambda item: (-item[1], item[0]))
    return {"stage": name, "count": count, "lost": dict(ordered)}
