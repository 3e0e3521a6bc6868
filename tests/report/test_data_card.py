"""The data card counts what the files say, shows examples, and holds nothing that data could have smuggled in."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
import report_example
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report_example import SPITE

from mmprm import config as configuration
from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems, write_problems
from mmprm.hub.licences import licence_of, lineage
from mmprm.report import figures
from mmprm.report.data_card import data_section, gather, write_data_card
from mmprm.report.page import render
from mmprm.report.sections import examples
from mmprm.report.templates import escaped

DETAIL = "there is no file 'a.png' in /home/someone/data/pictures, see /srv/x.txt"


def settings(**sections: Any) -> Config:
    """The example's, where the pool is curated from two sources, and the policy's solutions are tagged."""
    values = report_example.settings().model_dump(mode="json")
    values["sources"] |= {
        "own": {"kind": "table", "path": "own.parquet", "licence": "cc-by-4.0"},
        "curated": {"kind": "curated", "sources": ["pool", "own"]},
        "tagged": {"kind": "tagged", "sources": ["sft"]},
    }
    values["seeds"]["sources"], values["policy"]["sources"] = ["curated"], ["tagged"]
    return configuration.load(values | sections)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small whole run, with the counts and tables of intake, curation and tagging."""
    folder = report_example.build(tmp_path_factory.mktemp("results") / "example")
    problems = folder / "problems"
    pool = read_problems(problems / "pool.parquet")
    twin = Problem("own/twin", "own", f"How long is it? {SPITE}", "3 cm", images=pool[0].images, choices=("a", "*b*"))
    write_problems(problems / "own.parquet", [twin])
    refuse(problems, "own", [("own", 7, None, "missing_file", DETAIL)])
    write_problems(problems / "curated.parquet", pool)
    refuse(problems, "curated", [("own", None, "own/twin", "near_duplicate", f"of {pool[0].problem_id}")])
    write_problems(problems / "tagged.parquet", read_problems(problems / "sft.parquet")[:9])
    refuse(problems, "tagged", [("sft", None, f"sft/{n}", "answer_differs", "12 is not 13") for n in range(3)])
    tables.write_json(
        problems / "own.intake.json",
        {"rows": 5, "problems": 1, "refused": {"missing_file": 4}, "licence": "cc-by-4.0", "weight": 1.0, "images": 1},
    )
    rule = {"rule": "near_duplicate", "on": True, "in": 13, "out": 12, "refused": 1}
    tables.write_json(
        problems / "curated.curation.json",
        {
            **{"rows": 13, "kept": 12, "set_aside": 0, "refused": 1, "flags": {"several_blanks": 2}},
            "rules": [{"rule": "proof", "on": False, "in": 13, "out": 13, "refused": 0}, rule],
            "types": {"number": {"in": 13, "kept": 12, "set_aside": 0}},
            "decontamination": {"problems": 24, "tables": ["test", "dev"], "hits": 2, "by": {"picture": 2}},
        },
    )
    tables.write_json(
        problems / "tagged.tagging.json",
        {
            **{"by": "model", "problems": 12, "kept": 9, "refused": 3},
            "kept_by_method": {"rewrite": 9},
            "refused_by_reason": {"answer_differs": 3},
            "model": {"model": "M-72B", "calls": {"pass 1": 12}, "tokens": {"generated": 900}},
        },
    )
    tables.write_json(folder / "policy" / "manifest.json", {"info": {"examples": 8, "refused": {"too_long": 1}}})
    return folder


def refuse(folder: Path, name: str, rows: list[tuple]) -> None:
    columns = schemas.REFUSED.names
    tables.write(
        folder / f"{name}.refused.parquet", [dict(zip(columns, row, strict=True)) for row in rows], schemas.REFUSED
    )


@pytest.fixture(scope="module")
def card(run: Path) -> str:
    """The text of the card; its pictures lie beside it."""
    write_data_card(settings(), run, run / "data_card.md", run / "data_card")
    return (run / "data_card.md").read_text()


def stages(flow: list[dict]) -> list[tuple[str, int, dict[str, int]]]:
    return [(row["stage"], row["count"], row["lost"]) for row in flow]


def test_the_funnels_follow_the_problems_from_rows_to_paths_and_to_training(run: Path) -> None:
    flows = gather(settings(), run)["flows"]
    assert [flow["title"] for flow in flows] == ["From rows to labelled paths", "From rows to the policy's training"]
    assert stages(flows[0]["stages"]) == [
        ("rows read", 17, {}),
        ("taken", 13, {"missing_file": 1}),  # of the table of refused rows, which has one of the four
        ("curated: curated", 12, {"near_duplicate": 1}),
        ("kept as seeds", 7, {"none_right": 3, "all_right": 2}),
        ("annotated", 7, {}),
        ("with labelled paths", 7, {}),
    ]
    assert stages(flows[1]["stages"]) == [
        ("rows read", 12, {}),
        ("taken", 12, {}),
        ("tagged: tagged", 9, {"answer_differs": 3}),
        ("trained on", 8, {"too_long": 1}),
    ]


def test_a_source_that_two_are_made_of_is_read_once() -> None:
    config = settings(seeds={"sources": ["curated", "pool"], "rollouts": 4})
    assert lineage(config, config.seeds.sources) == ["pool", "own", "curated"]


def test_the_card_says_who_is_made_of_whom_and_every_count(card: str) -> None:
    for line in (
        "| curated | curated of pool, own | seeds | – | – | 13 | 12 | 1 near duplicate |",
        "| own | table, own.parquet, licence cc-by-4.0 | – | cc-by-4.0 | 1 | 5 | 1 | 1 missing file |",
        "| tagged | tagged of sft | policy | – | – | 12 | 9 | 3 answer differs |",
        "| proof (off) | 13 | 0 | 13 |",
        "| near duplicate | 13 | 1 | 12 |",
        "Compared with 24 problems of test, dev: 2 hits (2 picture). Kept with a flag: 2 several blanks.",
        "tagged, by model: of 12 solutions 9 are kept (9 rewrite) and 3 refused (3 answer differs). "
        "Rewritten by M-72B, calls: 12 pass 1; tokens: 900 generated.",
        "48 rollouts of 12 problems: 2 all right, 7 kept, 3 none right.",
        "| paths by kind | 7 negative, 7 outcome, 7 positive |",
    ):
        assert line in card.splitlines(), line
    assert "\n\n\n" not in card


def test_the_front_matter_is_what_the_hub_reads(card: str) -> None:
    from huggingface_hub import DatasetCard

    data = DatasetCard(card).data.to_dict()
    assert yaml.safe_load(card.split("---")[1]) == data
    assert (data["license"], data["license_name"]) == ("other", "cc-by-4.0-drawn-here")
    assert (data["language"], data["size_categories"]) == (["en"], "n<1K")
    assert data["configs"] == [{"config_name": "paths", "data_files": "labels/paths.parquet"}]


@pytest.mark.parametrize(
    ("licences", "found"),
    [
        (["mit", "mit"], {"license": "mit"}),
        (["mit", "cc-by-4.0"], {"license": ["cc-by-4.0", "mit"]}),
        (["mit", "unknown"], {"license": "unknown"}),
        (["Research only"], {"license": "other", "license_name": "research-only"}),
        ([None], {"license": "other", "license_name": "drawn-here"}),
        ([], {"license": "unknown"}),
    ],
)
def test_the_licence_is_that_of_the_sources_and_unknown_where_one_is(licences: list, found: dict) -> None:
    assert licence_of(licences) == found


def test_the_card_shows_kept_and_refused_problems_with_small_pictures(card: str, run: Path) -> None:
    shown = re.findall(r"!\[.*?\]\((.*?)\)", card)
    assert {str(path.relative_to(run)) for path in (run / "data_card").iterdir()} == set(shown)
    pictures = [Image.open(run / name) for name in shown if name.endswith(".png")]
    assert len(pictures) >= 7 and all(max(picture.size) <= 160 for picture in pictures)
    assert card.count(" of 4 rollouts right") == 3 + 3
    assert "own/twin: near duplicate (curated)" in card  # shown as the pool has it
    assert f"> How long is it? {escaped(SPITE)}" in card and r"> - (B) \*b\*" in card


def test_a_new_card_leaves_no_examples_of_an_old_one(run: Path, tmp_path: Path) -> None:
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "example-99.png").write_bytes(b"old")
    config = settings(data_card={"examples": 0, "language": ["zh"]})
    write_data_card(config, run, tmp_path / "card.md", tmp_path / "card")
    assert sorted(path.name for path in (tmp_path / "card").iterdir()) == ["policy.svg", "seeds.svg"]
    assert "- zh" in (tmp_path / "card.md").read_text()


def test_nothing_from_data_is_markup_and_no_folder_of_this_machine_is_named(card: str) -> None:
    assert "<script" not in card and "<prm>" not in card
    assert "there is no file 'a.png' in …/pictures, see …/x.txt" in card
    assert "/home" not in card and "/srv" not in card


@given(st.text(max_size=400))
def test_escaped_text_stays_on_its_line_in_its_cell_and_is_no_markup(text: str) -> None:
    shown = escaped(text)
    assert len(shown.splitlines()) <= 1 and len(shown) < 2000
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*\[\]<>]", shown)


def test_the_report_shows_the_same(run: Path) -> None:
    page = render(settings(), run)
    data = page.split('<section id="data">')[1].split("</section>")[0]
    assert data.count("<svg") == 2 and SPITE not in page
    for words in ("near duplicate", "proof (off)", "cc-by-4.0", "9 rewrite", "own/twin", "2 hits"):
        assert words in data
    assert data.count("data:image/png;base64,") >= 7


def test_a_run_without_the_counts_of_its_sources_has_those_of_its_tables(tmp_path: Path) -> None:
    folder = report_example.build(tmp_path / "run")
    found = gather(report_example.settings(), folder)
    assert stages(found["flows"][0]["stages"])[:2] == [("rows read", 12, {}), ("taken", 12, {})]
    assert found["curated"] == found["tagged"] == []


@pytest.mark.parametrize("lacking", ["problems", "seeds", "annotation", "labels"])
def test_what_is_missing_is_not_shown(tmp_path: Path, lacking: str, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    for part in ("problems", "seeds", "annotation", "labels"):
        if part != lacking:
            (tmp_path / part).symlink_to(run / part)
    write_data_card(settings(), tmp_path, tmp_path / "card.md", tmp_path / "pictures")
    text = (tmp_path / "card.md").read_text()
    heading = {"seeds": "## Difficulty filter", "labels": "## Annotation and labels"}.get(lacking, "## Curation")
    assert (heading in text) == (lacking == "annotation")
    assert data_section(settings(), tmp_path)["sources"]


def test_an_empty_run_has_a_card_of_its_sources_alone(tmp_path: Path) -> None:
    write_data_card(settings(), tmp_path, tmp_path / "card.md", tmp_path / "pictures")
    text = (tmp_path / "card.md").read_text()
    assert "| curated | curated of pool, own | seeds | – | – | – | – | – |" in text
    assert "size_categories" not in text and not (tmp_path / "pictures").exists()


def test_examples_are_of_different_reasons_the_most_frequent_first() -> None:
    rows = [{"problem_id": str(number), "reason": reason} for number, reason in enumerate("abbccc")]
    chosen = [row["reason"] for row in examples._of_each_reason(rows, 4)]
    assert chosen[:3] == ["c", "b", "a"] and len(chosen) == 4


def test_a_picture_that_cannot_be_shown_is_left_out() -> None:
    assert examples.thumbnail(b"no picture") is None
    large = io.BytesIO()
    Image.new("L", (900, 300)).save(large, "PNG")
    assert Image.open(io.BytesIO(examples.thumbnail(large.getvalue()) or b"")).size == (160, 53)


def test_a_funnel_names_the_largest_losses() -> None:
    lost = {"too_hard": 40, "all_right": 30, "none_right": 20, "undecided": 7, "failed": 3}
    svg = figures.funnel([{"stage": "in", "count": 200, "lost": {}}, {"stage": "out", "count": 100, "lost": lost}], "x")
    assert "100 (lost 100: 40 too hard, 30 all right, 20 none right, …)" in svg
    assert figures.funnel([{"stage": "in", "count": 0, "lost": {}}], "x").count("<svg") == 1
