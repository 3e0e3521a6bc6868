"""A run as folders that others load: data for `datasets`, models, metrics. In: results/<run>. Out: one folder.

data/labels.parquet, data/stepwise.parquet, data/problems.parquet    what the run annotated, with pictures
data/candidates/<benchmark>.parquet    sampled solutions, verdicts, every PRM's step scores; no benchmark's questions
prm/<variant>/, policy/                model folders with their cards
metrics/                               Best-of-N and held-out measures, as JSON
README.md, data_card/                  the data card; its front matter names the tables
export.json                            what each part was made from, and under which licences: `mmprm push` reads it
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmprm import __version__
from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.hub import features, label_tables
from mmprm.hub.front_matter import model_front_matter
from mmprm.hub.licences import base_licence, lineage
from mmprm.model import folders
from mmprm.runtime import disk
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log

PARTS = ("labels", "candidates", "prm", "policy", "metrics")
MANIFEST = "export.json"
WriteCard = Callable[[Path, list[dict[str, str]]], None]  # a card's path, and the tables that its front matter names


@dataclass(frozen=True)
class Exported:
    """An export under way: the run, and the folder that is filled."""

    config: Config
    results: Path
    out: Path

    def needed(self, name: str) -> Path:
        """Return a file or folder of the run; UserError where it is missing."""
        path = self.results / name
        if not path.exists():
            raise UserError(f"{path}: missing; run `snakemake {path}` first, or leave this part out (--parts)")
        return path


def export(
    config: Config,
    results: Path,
    out: Path,
    licences: dict[str, str | None],
    write_card: WriteCard,
    parts: Collection[str] = PARTS,
) -> None:
    """Write the parts of a run to `out`, which must not exist, or be empty.

    licences: of each source and entry of step_data by name, None where its problems were drawn here; write_card writes
    the data card. UserError for a part that is not known, or that the run does not have yet.
    """
    if wrong := sorted(set(parts) - set(PARTS)):
        raise UserError(f"--parts: there is no {wrong[0]!r}; allowed: {', '.join(PARTS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: it is there already; name a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch, disk.filling(out):
        run = Exported(config, results, Path(scratch) / "export")
        run.out.mkdir()
        named: list[dict[str, str]] = []
        if "labels" in parts:
            named += _labels(run)
        if "candidates" in parts:
            named += _candidates(run)
        if named:
            write_card(run.out / "README.md", named)
        if "prm" in parts:
            for model in config.prm.trained_models:
                _model(run, f"prm/{model}")
        if "policy" in parts:
            _model(run, "policy")
        if "metrics" in parts:
            _metrics(run)
        tables.write_json(run.out / MANIFEST, _manifest(config, licences, parts))
        if out.exists():
            out.rmdir()
        run.out.replace(out)
    log.info(f"exported {', '.join(part for part in PARTS if part in parts)} of {results} to {out}")


def _labels(run: Exported) -> list[dict[str, str]]:
    paths, problems = run.needed("labels/paths.parquet"), [run.needed("seeds/seeds.parquet")]
    data = run.out / "data"
    counts = {
        "labels": label_tables.write_labels(paths, problems, data / "labels.parquet"),
        "stepwise": label_tables.write_stepwise(paths, problems, data / "stepwise.parquet"),
        "problems": label_tables.write_problems(problems, data / "problems.parquet"),
    }
    log.info(", ".join(f"{count} rows of {name}" for name, count in counts.items()))
    return [{"config_name": name, "data_files": f"data/{name}.parquet"} for name in counts]


def _candidates(run: Exported) -> list[dict[str, str]]:
    models = run.config.prm.models
    scores = [(f"scores_{name}", pa.list_(pa.float64())) for name in models]
    schema = pa.schema([*schemas.CANDIDATES, *scores])
    named = []
    for benchmark in run.config.benchmarks:
        folder = f"bench/{benchmark}"
        rows = tables.read_rows(run.needed(f"{folder}/candidates.parquet"), schemas.CANDIDATES)
        for name in models:
            table = tables.read_rows(run.needed(f"{folder}/{name}/scores.parquet"), schemas.SCORES)
            found = {(row["problem_id"], row["candidate"]): row["probabilities"] for row in table}
            for row in rows:
                row[f"scores_{name}"] = found[row["problem_id"], row["candidate"]]
        features.write(run.out / f"data/candidates/{benchmark}.parquet", rows, schema)
        data = f"data/candidates/{benchmark}.parquet"
        named.append({"config_name": f"candidates-{benchmark}", "data_files": data})
    return named


def _model(run: Exported, name: str) -> None:
    """Copy a model folder, with today's front matter: what `publish` says may have been added since its training."""
    source, out = run.needed(name), run.out / name
    manifest = folders.check_manifest(source)
    for file in (*manifest["files"], folders.MANIFEST):
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file, out / file)
    card = out / "README.md"
    _, _, body = card.read_text(encoding="utf-8").removeprefix("---\n").partition("\n---\n")
    front = model_front_matter(run.config, "policy" if name == "policy" else "prm", folders.reads_images(out))
    tables.write_text(card, f"{front}\n{body}")
    folders.write_manifest(out, manifest["info"])


def _metrics(run: Exported) -> None:
    names = {"best_of_n.json": "bench/summary.json"}
    names |= {f"{model}.heldout.json": f"prm/{model}.heldout.json" for model in run.config.prm.trained_models}
    (run.out / "metrics").mkdir()
    for name, source in names.items():
        shutil.copyfile(run.needed(source), run.out / "metrics" / name)


def _manifest(config: Config, licences: dict[str, str | None], parts: Collection[str]) -> dict[str, Any]:
    """Return under which licences each part is: of a model those of its base, too."""
    annotated = {name: licences[name] for name in lineage(config, config.seeds.sources) if name in licences}
    taught = {name: licences[name] for name in lineage(config, config.policy.sources) if name in licences}
    base = {config.policy.base.name: base_licence(config)}
    given = {name: licences[name] for name in config.labels.extra}
    of = {"labels": annotated, "candidates": base | taught, "policy": base | taught}
    of |= {f"prm/{model}": base | taught | annotated | given for model in config.prm.trained_models}
    kept = {name: stated for name, stated in of.items() if name.partition("/")[0] in parts}
    return {"run": config.run, "version": __version__, "licences": kept}
