"""The report says what the tables say, needs nothing but itself, and says in words what is missing."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import altair as alt
import pytest
import report_example
from PIL import Image
from report_example import SPITE, settings

from mmprm.data import tables
from mmprm.model import folders
from mmprm.report import figures, results
from mmprm.report.page import render, write_report
from mmprm.report.sections import examples, tree_view
from mmprm.report.sections.benchmark_results import finding
from mmprm.report.templates import duration, percent, points
from mmprm.runtime.errors import UserError


@pytest.fixture(scope="session")
def example_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small whole run, made once: results/example."""
    return report_example.build(tmp_path_factory.mktemp("results") / "example")


@pytest.fixture(scope="session")
def page(example_run: Path) -> str:
    """The report of the whole example."""
    write_report(settings(), example_run, example_run / "report.html")
    return (example_run / "report.html").read_text()


@pytest.fixture
def copied(example_run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    return Path(shutil.copytree(example_run, tmp_path / "run"))


class Elements(HTMLParser):
    """All start tags of a page with their attributes, its text, and the tags that were not closed."""

    VOID = frozenset({"meta", "img", "br", "path", "rect", "line", "stop"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self.text += " "
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_no_network_and_runs_no_script(page: str) -> None:
    elements = Elements(page)
    assert not elements.open
    assert {tag for tag, _ in elements.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "base"})
    for tag, attributes in elements.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href"):
                assert (value or "").startswith(("data:", "#")), (tag, value)
    assert not re.search(r"url\((?!#)|@import", page)


def test_everything_from_data_is_escaped(page: str) -> None:
    assert SPITE not in page and "<prm>" not in page and "alert('x')</script>" not in page
    # A tree's step, an unparsed rollout, a refused row's detail and id.
    assert Elements(page).text.count(SPITE) >= 6


def test_no_two_charts_share_an_id(page: str) -> None:
    clipped = [
        figures._svg(alt.Chart(alt.Data(values=[{"x": x}])).mark_bar(clip=True).encode(x="x:Q"), "x") for x in (1, 2)
    ]
    used = [set(re.findall(r"url\(#([^)]+)\)", svg)) for svg in clipped]
    assert used[0] and used[1] and not used[0] & used[1]
    assert all(of <= set(re.findall(r'id="([^"]+)"', svg)) for of, svg in zip(used, clipped, strict=True))
    ids = Counter(attributes["id"] for _, attributes in Elements(page).tags if "id" in attributes)
    assert ids and max(ids.values()) == 1


def test_the_headline_and_the_table_are_the_summary(page: str, example_run: Path) -> None:
    rows = json.loads((example_run / "bench" / "summary.json").read_text())
    at = {(row["benchmark"], row["metric"]): row for row in rows if row["n"] == 4 and row["variant"] == "soft"}
    text = " ".join(Elements(page).text.split())
    gain = at["test", "bon_minus_random/mean_odds"]
    assert (
        f"Over a random pick: {points(gain['value'])} points (95 % interval {points(gain['ci_low'])} "
        f"to {points(gain['ci_high'])}, paired over 12 problems)" in text
    )
    assert f"{percent(at['test', 'bon/mean_odds']['value'])} % best of 4 by mean_odds" in text
    vote = at["test", "weighted_majority_minus_majority"]
    ends = f"{points(vote['ci_low'])} to {points(vote['ci_high'])}"
    said = f"weighted by the PRM's average over majority voting: {points(vote['value'])} points ({ends}), of which "
    ties = r"\S+ from \d+ problems whose vote is tied\. 12 problems are too few for a verdict"
    assert re.search(re.escape(said) + ties, text)
    for metric in ("random", "majority", "oracle", "weighted_majority"):
        row = at["dev", metric]
        name = metric.replace("_", " ")
        assert f"{name} {percent(row['value'])} {percent(row['ci_low'])}–{percent(row['ci_high'])}" in text
    for aggregate in ("min", "max", "average", "last", "product", "sum_log_pr", "sum_log_odds", "mean_odds"):
        assert f"PRM, {aggregate}" in text
    assert text.count("primary") >= 4  # one in each table
    quality = json.loads((example_run / "labels" / "quality.json").read_text())
    assert f"the truth of {quality['markers']} labelled states is known" in text


def test_development_problems_make_no_headline(page: str) -> None:
    headlines = re.findall(r'<div class="headline">\s*<h3>(\w+)', page)
    assert headlines == ["test", "test"]


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.01, 0.1, "above zero: better"),
        (-0.1, -0.01, "below zero: worse"),
        (-0.01, 0.1, "no difference"),
        (0, 0.1, "no"),
    ],
)
def test_only_an_interval_clear_of_zero_is_called_a_difference(low: float, high: float, says: str) -> None:
    assert says in finding({"value": (low + high) / 2, "ci_low": low, "ci_high": high}, "x")
    assert "nothing can be said" in finding({"value": 0.5, "ci_low": None, "ci_high": None}, "x")


def test_trees_show_images_mc_values_and_the_first_error_below_the_last_right_state(
    page: str, example_run: Path
) -> None:
    shown = tree_view.shown_trees(settings(), example_run)
    assert len(shown) == 2
    for tree in shown:
        problem = tree["problem"]
        assert tree["images"] == ["data:image/png;base64," + base64.b64encode(problem["images"][0]).decode()]
        assert f'<img src="{tree["images"][0]}"' in page
        (right,) = tree["root"]["children"]
        (wrong,) = right["children"]
        assert (tree["root"]["mc"], right["mc"], wrong["mc"]) == (0.25, 0.25, 0.0)
        assert (right["added"], wrong["added"]) == ([f"one {SPITE}"], ["two is wrong"])
    assert page.count(">0.25</span>") == 4 and page.count(">0.00</span>") == 2


def test_the_most_searched_trees_of_each_kind_are_shown() -> None:
    rows = [("a1", 5, 9), ("a2", 5, 8), ("a3", 7, 1), ("b1", 1, 1), ("b2", 0, 0)]
    status = [{"problem_id": name, "n_searches": searches, "n_nodes": nodes} for name, searches, nodes in rows]
    kinds = {name: name[0] for name, _, _ in rows}
    assert [row["problem_id"] for row in tree_view.choose(status, kinds, 3)] == ["a3", "b1", "a1"]
    assert [row["problem_id"] for row in tree_view.choose(status, {}, 9)] == ["a3", "a1", "a2", "b1"]


def test_of_many_rollouts_the_searched_and_a_right_one_are_shown() -> None:
    node = {"problem_id": "p", "node_id": 0, "parent_id": None, "steps": [], "mc": 0.1}
    own = [
        {"node_id": 0, "verdict": "correct" if at == 9 else "incorrect", "searched": at in (7, 8), "text": str(at)}
        for at in range(10)
    ]
    root = tree_view.nested([node], own)
    assert [rollout["text"] for rollout in root["rollouts"]] == ["0", "1", "2", "7", "8", "9"] and root["more"] == 4


def test_a_large_image_is_shown_smaller_and_a_broken_one_is_not() -> None:
    noise = Image.effect_noise((1500, 1000), 100)
    out = io.BytesIO()
    noise.save(out, "PNG")
    assert len(out.getvalue()) > 300_000
    shown = examples.data_uri(out.getvalue())
    assert shown and shown.startswith("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(shown.split(",")[1]))).size == (640, 427)
    assert examples.data_uri(b"no image") is None


def luminance(colour: str) -> float:
    """The relative luminance of #rrggbb (WCAG 2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_badges_go_from_orange_to_blue_and_white_can_be_read_on_all_of_them() -> None:
    assert [tree_view.colour(mc) for mc in (0.0, 0.5, 1.0, None)] == ["#a84600", "#666c72", "#005a8e", "#5b6066"]
    colours = [tree_view.colour(None), *(tree_view.colour(mc / 100) for mc in range(101))]
    assert min(1.05 / (luminance(colour) + 0.05) for colour in colours) >= 4.5


def test_mc_values_of_exactly_0_and_1_stand_apart() -> None:
    rows = figures.mc_bins([0, 0, 0.0625, 0.1, 0.3, 0.95, 0.9999, 1])
    counted = {row["bin"]: row["count"] for row in rows if row["count"]}
    assert counted == {"0": 2, "0.0–0.1": 2, "0.2–0.3": 1, "0.9–1.0": 2, "1": 1}
    assert [row["kind"] for row in rows] == ["wrong", *["between"] * 10, "right"]


def test_costs_add_up_over_jobs_and_stale_shards_are_not_counted(copied: Path) -> None:
    tables.write_json(copied / "annotation" / "0-of-7" / "usage.json", {"generated_tokens": 10**9})
    rows = {row["stage"]: row for row in results.costs_by_rule(settings(), copied)}
    assert list(rows) == ["intake", "annotate", "sample_candidates", "summarise"]
    assert rows["annotate"] | {} == {
        "stage": "annotate",
        "jobs": 2,
        "seconds": 123.5,
        "memory_mb": 1800.25,
        "used_seconds": 5.0,
        "used_completions": 200,
        "used_generated_tokens": 2000,
    }
    assert rows["intake"]["memory_mb"] is None
    assert rows["sample_candidates"]["used_prompt_tokens"] == 77


def test_what_was_refused_is_listed_with_its_reason(example_run: Path) -> None:
    found = {source["name"]: source for source in results.sources(settings(), example_run)}
    assert [(entry["reason"], entry["count"]) for entry in found["test"]["reasons"]] == [("corrupt_image", 1)]
    assert found["pool"]["refused"] == 0 and found["pool"]["problems"] == 12


def test_the_same_run_gives_the_same_page(page: str, example_run: Path) -> None:
    assert render(settings(), example_run) == page


def test_an_empty_run_gives_a_page_that_says_so(tmp_path: Path) -> None:
    page = render(settings(), tmp_path)
    assert page.count('class="missing"') == 9
    assert "<svg" not in page


def delete(*names: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for name in names:
            for path in list(folder.glob(name)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (delete("bench", "prm"), ["no measured benchmark", "No PRM of this run was measured"]),
        (delete("seeds/seeds.parquet", "benchmarks", "*/**/*usage.json"), ["not in seeds", "left its time or tokens"]),
        (
            delete("annotation", "labels", "seeds"),
            ["no annotated trees and no labels", "No tree to show", "no seed decisions"],
        ),
    ],
)
def test_a_missing_part_is_said_in_words_and_the_rest_is_there(
    copied: Path, damage: Callable[[Path], None], says: list[str], page: str
) -> None:
    damage(copied)
    damaged = render(settings(), copied)
    for words in says:
        assert words in damaged and words not in page
    assert damaged.count("<section") == page.count("<section")


@pytest.mark.parametrize("name", ["bench/summary.json", "prm/soft.heldout.json", "labels/paths.parquet"])
def test_a_torn_file_is_named(copied: Path, name: str) -> None:
    (copied / name).write_bytes((copied / name).read_bytes()[:-15])
    with pytest.raises(UserError, match=Path(name).name):
        render(settings(), copied)


def test_without_a_summary_the_metrics_of_each_benchmark_are_shown(copied: Path, page: str) -> None:
    (copied / "bench" / "summary.json").unlink()
    assert render(settings(), copied) == page


def of_provenance(text: str) -> str:
    """The words of the section on where a run's models were made."""
    return " ".join(Elements(text[text.index('<section id="provenance"') :].partition("</section>")[0]).text.split())


def test_the_page_says_where_each_model_was_made(copied: Path) -> None:
    config = settings()
    for name, seconds in (("policy", 75), ("prm/soft", 8.2)):
        (copied / name).mkdir(parents=True, exist_ok=True)
        (copied / name / "model.safetensors").write_bytes(b"weights")
        folders.write_manifest(copied / name, {"config": {"seed": 17}, "seconds": seconds})
    made = {name: json.loads((copied / name / "manifest.json").read_text()) for name in ("policy", "prm/soft")}
    of_prm = made["prm/soft"]["provenance"]
    section = of_provenance(page := render(config, copied))
    (copied / "config.json").write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    assert f"config.json in the run's folder: {sha256((copied / 'config.json').read_bytes()).hexdigest()}" in section
    when = of_prm["time"].replace("T", " ").removesuffix("+00:00")
    assert f"PRM soft {when} 8.2 s " in section and " 1 min 15 s " in section and " 17 " in section
    assert f"{of_prm['machine']['cores']} cores" in section and " ".join(map(str, of_prm["load"])) in section
    assert "policy, PRM soft: Python " + of_prm["python"] in section, "what both have in common is said once"
    assert all(f"{name} {version}" in section for name, version in of_prm["versions"].items())
    digests = [of_prm["info"], *of_prm["locks"].values(), *([of_prm["commit"]] if of_prm["commit"] else [])]
    assert len(digests) > 2 and all(digest[:12] in section and digest in page for digest in digests)
    assert f"PRM soft: {' '.join(of_prm['command'])}" in section


@pytest.mark.parametrize(
    "manifest",
    [
        {"info": {"config": {"seed": 5}}},
        {"info": [], "provenance": {"versions": ["a"], "machine": 3, "load": "x", "command": {}, "commit": 7}},
        {"info": {"seconds": "soon"}, "provenance": {"commit": SPITE, "command": [SPITE], "versions": {SPITE: SPITE}}},
    ],
)
def test_a_manifest_that_does_not_say_or_says_nonsense_is_shown_as_it_is(copied: Path, manifest: Any) -> None:
    (copied / "policy").mkdir(exist_ok=True)
    tables.write_json(copied / "policy/manifest.json", manifest)
    page = render(settings(), copied)
    assert SPITE not in page
    assert "not recorded" in of_provenance(page)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "–"), (8.26, "8.3 s"), (125, "2 min 05 s"), (10920, "3 h 02 min"), (59.99, "60.0 s")]
)
def test_durations_are_readable(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_no_tree_is_shown_where_none_is_asked_for(example_run: Path) -> None:
    assert tree_view.shown_trees(settings(trees=0), example_run) == []


def test_a_tree_without_a_root_is_named() -> None:
    node: dict[str, Any] = {"problem_id": "p", "node_id": 1, "parent_id": 1, "steps": [], "mc": None}
    with pytest.raises(UserError, match="tree of p has no root"):
        tree_view.nested([node], [])
