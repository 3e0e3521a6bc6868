"""A run's export loads with `datasets` and with our own intake, and nothing has changed on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import prm_cards as cards
import pyarrow.parquet as pq
import pytest
import report_example
from real_data import SAMPLES, real_samples
from typer.testing import CliRunner

from mmprm import config as configuration
from mmprm.cli import app
from mmprm.config.publish import Publish
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, decode_image, read_problems
from mmprm.hub.export import export
from mmprm.hub.label_tables import write_problems
from mmprm.model import folders
from mmprm.model.step_text import question_text
from mmprm.problems.intake import make_source
from mmprm.runtime.errors import UserError
from mmprm.step_data.read_steps import read_steps

DATA = ("labels", "candidates", "metrics")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small whole run, whose problems have pictures and choices, and unprobed steps."""
    folder = report_example.build(tmp_path_factory.mktemp("results") / "example")
    tables.write_json(folder / "config.json", report_example.settings().model_dump(mode="json"))
    rows = paths_of(folder)  # no step that was sampled holds a tag: such a solution does not parse
    for row in rows:
        row["steps"] = [step.replace(report_example.SPITE, "é 數") for step in row["steps"]]
    tables.write(folder / "labels/paths.parquet", rows, schemas.PATHS)
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "export"
    done = CliRunner().invoke(app, ["export", str(run), str(out), "--parts", *DATA])
    assert done.exit_code == 0, done.output
    return out


def paths_of(run: Path) -> list[dict[str, Any]]:
    return tables.read_rows(run / "labels/paths.parquet", schemas.PATHS)


def test_datasets_loads_every_table_by_its_name_with_its_pictures(run: Path, exported: Path, tmp_path: Path) -> None:
    from datasets import Image, get_dataset_config_names, load_dataset

    names = get_dataset_config_names(str(exported))
    assert sorted(names) == ["candidates-dev", "candidates-test", "labels", "problems", "stepwise"]
    read = {name: load_dataset(str(exported), name, cache_dir=str(tmp_path))["train"] for name in names}
    own, problems = paths_of(run), {one.problem_id: one for one in read_problems(run / "seeds/seeds.parquet")}
    rows = read["labels"].cast_column("images", [Image(decode=False)]).to_list()
    assert len(rows) == len(own) > 10
    for row, path in zip(rows, own, strict=True):
        problem = problems[path["problem_id"]]
        assert tuple(image["bytes"] for image in row["images"]) == problem.images
        assert (row["question"], row["answer"], row["final_answer"]) == (
            problem.question,
            problem.answer,
            path["answer"],
        )
        for name in ("steps", "soft", "hard", "n_correct", "n_rollouts", "label_source", "split", "kind"):
            assert row[name] == path[name]
    assert read["stepwise"][0]["images"][0].size == decode_image(next(iter(problems.values())).images[0]).size
    assert read["candidates-test"].num_rows == tables.count(run / "bench/test/candidates.parquet")
    assert all(len(row["scores_soft"]) == 2 for row in read["candidates-test"])


def test_no_question_or_picture_of_a_benchmark_is_exported(exported: Path) -> None:
    for benchmark in ("test", "dev"):
        names = pq.read_schema(exported / f"data/candidates/{benchmark}.parquet").names
        assert not {"question", "images", "choices"} & set(names)


def settings(**sections: Any) -> configuration.Config:
    drawn = {"kind": "mini", "split": "test", "size": 1, "families": ["bars"]}
    base = {"policy": {"base": "none", "sources": ["pool"]}, "seeds": {"sources": ["pool"]}}
    base |= {"run": "again", "benchmarks": {"test": {"source": "test"}}}
    pool = {"kind": "mini", "split": "sft", "size": 1, "families": ["bars"]}
    return configuration.load(
        base | {"sources": {"test": drawn, "pool": pool} | sections.pop("sources", {})} | sections
    )


def same(problem: Problem, other: Problem) -> bool:
    """The same but for the names of ids and groups, and the sources' own solutions, which are not exported."""
    mine, others = (
        {
            name: getattr(one, name)
            for name in schemas.PROBLEMS.names
            if name not in ("problem_id", "source", "solution")
        }
        for one in (problem, other)
    )
    return mine | {"group": ""} == others | {"group": ""}


def read_back(table: Path, folder: Path) -> dict[str, Problem]:
    """The problems of an exported table, by the ids that they had, through our own intake."""
    names = ("question", "answer", "choices", "answer_type", "precision", "unit", "tolerance", "group", "family")
    columns = {"id": "problem_id", "image": "images"} | {name: name for name in names}
    source = {"kind": "table", "path": str(table), "columns": columns, "composite": True}
    make_source(settings(sources={"back": source}), "back", folder / "back.parquet", folder / "refused.parquet")
    return {one.problem_id.removeprefix("back/"): one for one in read_problems(folder / "back.parquet")}


def test_our_intake_reads_the_problems_back_with_nothing_changed(run: Path, exported: Path, tmp_path: Path) -> None:
    seeds = {one.problem_id: one for one in read_problems(run / "seeds/seeds.parquet")}
    back = read_back(exported / "data/problems.parquet", tmp_path)
    assert back.keys() == seeds.keys()
    assert all(same(back[name], seeds[name]) for name in seeds)


@pytest.mark.parametrize("name", SAMPLES)
def test_real_problems_are_exported_and_read_back_with_nothing_changed(name: str, tmp_path: Path) -> None:
    """Choices, units, several images' formats and family names, as MM-K12 and MathVision have them."""
    real = configuration.load(real_samples())
    make_source(real, name, tmp_path / "real.parquet", tmp_path / "refused.parquet")
    problems = {one.problem_id: one for one in read_problems(tmp_path / "real.parquet")}
    assert write_problems([tmp_path / "real.parquet"], tmp_path / "exported.parquet") == len(problems) > 50
    back = read_back(tmp_path / "exported.parquet", tmp_path)
    assert [name for name in problems if not same(back[name], problems[name])] == []


def test_step_data_reads_the_labels_back_with_nothing_changed(run: Path, exported: Path, tmp_path: Path) -> None:
    source = {"kind": "exported", "path": str(exported / "data/labels.parquet")}
    read_steps(settings(step_data={"back": source}), "back", [], tmp_path / "paths.parquet")
    back, own = tables.read_rows(tmp_path / "paths.parquet", schemas.PATHS), paths_of(run)
    kept = ("kind", "steps", "answer", "n_correct", "n_rollouts", "hard", "label_source", "soft")
    assert sorted(json.dumps([row[name] for name in kept]) for row in back) == sorted(
        json.dumps([row[name] for name in kept]) for row in own
    )
    problems = read_problems(tmp_path / "problems.parquet")
    labelled = {row["problem_id"] for row in own}
    seeds = [one for one in read_problems(run / "seeds/seeds.parquet") if one.problem_id in labelled]
    assert sorted(one.fingerprint for one in problems) == sorted(one.fingerprint for one in seeds)


def test_the_stepwise_form_is_read_back_as_steps_that_are_right_or_wrong(
    run: Path, exported: Path, tmp_path: Path
) -> None:
    source = {"kind": "math_shepherd", "path": str(exported / "data/stepwise.parquet")}
    read_steps(settings(step_data={"back": source}), "back", [], tmp_path / "paths.parquet")
    problems = {one.problem_id: one for one in read_problems(tmp_path / "problems.parquet")}
    seeds = {one.problem_id: one for one in read_problems(run / "seeds/seeds.parquet")}
    expected = set()
    for row in paths_of(run):
        hard = row["hard"][: len(row["steps"])]
        known = hard.index(None) if None in hard else len(hard)
        if known:
            problem = seeds[row["problem_id"]]
            shown = (question_text(problem), problem.images)
            expected.add((*shown, tuple(row["steps"][:known]), tuple(hard[:known])))
    found = {
        (
            problems[row["problem_id"]].question,
            problems[row["problem_id"]].images,
            *map(tuple, (row["steps"], row["hard"])),
        )
        for row in tables.read_rows(tmp_path / "paths.parquet", schemas.PATHS)
    }
    assert found == expected and len(found) > 5


def test_a_picture_that_many_paths_share_is_stored_once(run: Path, exported: Path) -> None:
    pictures = {image for one in read_problems(run / "seeds/seeds.parquet") for image in one.images}
    size = (exported / "data/labels.parquet").stat().st_size
    assert size < 1.2 * sum(map(len, pictures)) + 60_000


@pytest.mark.parametrize("damage", [{"kind": "best"}, {"hard": [2, 1, 1]}, {"label_source": ["a"]}, {"n_correct": [9]}])
def test_a_damaged_row_of_labels_is_refused_and_named(
    run: Path, exported: Path, tmp_path: Path, damage: dict[str, Any]
) -> None:
    rows = pq.read_table(exported / "data/labels.parquet").drop_columns(["images"]).to_pylist()
    lines = [row | {"images": None} for row in rows]
    lines[0] |= damage
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    source = {"kind": "exported", "path": str(tmp_path / "labels.jsonl")}
    read_steps(
        settings(step_data={"back": source}, intake={"max_refused_share": 0.5}), "back", [], tmp_path / "p.parquet"
    )
    refused = tables.read_rows(tmp_path / "refused.parquet", schemas.REFUSED)
    assert [(row["row"], row["reason"]) for row in refused] == [(0, "bad_value")]


@pytest.mark.slow
def test_models_are_exported_whole_with_what_publish_says_now(run: Path, tmp_path: Path) -> None:
    again = shutil.copytree(run, tmp_path / "run")
    made = cards.build(tmp_path / "made", "llama")
    for name in ("prm/soft", "prm/hard", "policy"):
        shutil.copytree(made, again / name)
    config = report_example.settings().model_copy(
        update={"publish": Publish(base_model="HuggingFaceTB/SmolLM2-135M", base_licence="apache-2.0")}
    )
    out = tmp_path / "out"
    export(config, again, out, {"sft": None, "pool": None}, lambda *_: None, ("prm", "policy"))
    folders.check_manifest(out / "prm/soft", whole=True)
    assert "base_model: HuggingFaceTB/SmolLM2-135M" in (out / "prm/soft/README.md").read_text()
    assert cards.blocks(out / "prm/soft") == cards.blocks(again / "prm/soft")
    told = json.loads((out / "export.json").read_text())["licences"]
    assert told == {
        "policy": {"mini": "apache-2.0", "sft": None},
        **{f"prm/{name}": {"mini": "apache-2.0", "sft": None, "pool": None} for name in ("soft", "hard")},
    }


def test_an_export_is_whole_or_not_there(run: Path, exported: Path, tmp_path: Path) -> None:
    invoke = CliRunner().invoke
    done = invoke(app, ["export", str(run), str(exported)])
    assert done.exit_code == 2
    with pytest.raises(UserError, match=r"prm/soft: missing; run `snakemake .*prm/soft` first, or leave this part out"):
        export(report_example.settings(), run, tmp_path / "out", {}, lambda *_: None, ("prm",))
    with pytest.raises(UserError, match=r"--parts: there is no 'everything'; allowed: labels, candidates, prm"):
        export(report_example.settings(), run, tmp_path / "out", {}, lambda *_: None, ("everything",))
    assert list(tmp_path.iterdir()) == []
