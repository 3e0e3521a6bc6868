"""The page of trees shows what the tables say of every tree, and can be used by mouse, keyboard, link and phone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import browser as chromium
import pytest
import report_example
from browser import Browser
from typer.testing import CliRunner

from mmprm.cli import app
from mmprm.data import schemas, tables
from mmprm.data.problem import problems_by_id
from mmprm.mini.problems import generate
from mmprm.pages.score_trees import longest_states, score_trees
from mmprm.pages.tree_items import tree_item, tree_row
from mmprm.pages.trees import scores_of, write_trees
from mmprm.prm.scorers import TransformersScorer
from mmprm.report import results
from mmprm.runtime.errors import UserError


def rows_of(run: Path, name: str, schema: Any) -> list[dict[str, Any]]:
    return tables.read_rows(results.annotation_files(report_example.settings(), run, name), schema)


@pytest.fixture(scope="module")
def tree_page(example_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of all trees of the example, with a PRM's values: 0.9 after the first step, 0.2 after the second."""
    folder = tmp_path_factory.mktemp("trees")
    values = [
        {
            "problem_id": node["problem_id"],
            "node_id": node["node_id"],
            "probabilities": [0.9, 0.2][: len(node["steps"])],
        }
        for node in rows_of(example_run, "nodes", schemas.NODES)
    ]
    tables.write(folder / "soft.parquet", values, schemas.STATE_SCORES)
    write_trees(
        report_example.settings(), example_run, [folder / "soft.parquet"], folder / "trees.html", folder / "parts"
    )
    return folder / "trees.html"


def listed(browser: Browser) -> list[str]:
    return browser.texts(".entries .name")


def opened(browser: Browser, name: str) -> None:
    browser.wait(f"document.querySelector('.detail h2')?.textContent === {json.dumps(name)}")


def test_every_tree_is_listed_and_one_is_loaded_when_it_is_opened(
    tree_page: Path, example_run: Path, browser: Browser
) -> None:
    browser.open(tree_page)
    names = sorted(row["problem_id"] for row in rows_of(example_run, "status", schemas.STATUS))
    assert listed(browser) == names and browser.text(".count") == f"{len(names)} trees"
    browser.click(".entries li:nth-child(2) a")
    opened(browser, names[1])
    problem = problems_by_id(example_run / "seeds" / "seeds.parquet")[names[1]]
    assert problem.question in browser.text(".question") and browser.text(".problem .answer") == problem.answer
    assert browser.js("document.querySelector('.pictures img').naturalWidth") > 0
    shown = [" ".join(text.split()) for text in browser.texts(".state")]
    assert len(shown) == 3
    assert "the question alone" in shown[0] and "MC 0.25: 1 of 4 rollouts right" in shown[0]
    assert f"one {report_example.SPITE}" in shown[1] and "PRM 0.90" in shown[1]
    assert "two is wrong" in shown[2] and "PRM 0.20" in shown[2] and "MC 0.00: 0 of 4" in shown[2]
    assert [text.count("first error") for text in shown] == [0, 0, 1]
    browser.click(".state summary")
    browser.wait("document.querySelectorAll('.rollouts > li').length === 4")
    assert browser.said == []


def test_filters_search_and_order_say_how_many_are_left_and_are_in_the_link(
    tree_page: Path, example_run: Path, browser: Browser
) -> None:
    browser.open(tree_page)
    every = listed(browser)
    families = {
        row["problem_id"]: row["family"]
        for row in tables.read_rows(example_run / "seeds/seeds.parquet", schemas.PROBLEMS)
    }
    family = families[every[0]]
    browser.choose("#f-family", family)
    same = [name for name in every if families[name] == family]
    assert listed(browser) == same and browser.text(".count") == f"{len(same)} of {len(every)} trees"
    browser.choose("#f-apart", "0.5")  # |0.9 - 0.25| is
    assert listed(browser) == same
    browser.choose("#f-apart", "0.75")
    assert listed(browser) == []
    browser.choose("#f-apart", "")
    browser.js("document.querySelector('#q').focus()")
    browser.type(every[0])
    browser.wait("document.querySelectorAll('.entries a').length === 1")
    link = browser.js("location.hash")
    browser.open(tree_page, link[1:])
    assert listed(browser) == [every[0]]
    assert browser.js("[document.querySelector('#q').value, document.querySelector('#f-family').value]") == [
        every[0],
        family,
    ]


def test_a_link_leads_to_a_state(tree_page: Path, browser: Browser) -> None:
    browser.look(height=500)
    browser.open(tree_page)
    name = listed(browser)[0]
    browser.open(tree_page, f"id={name.replace('/', '%2F')}&state=2")
    opened(browser, name)
    browser.wait("document.activeElement.closest('#state-2')")
    box = browser.js(
        "(b => [b.top, b.bottom, innerHeight])(document.querySelector('.state.here').getBoundingClientRect())"
    )
    assert box[0] >= 0 and box[1] <= box[2]
    browser.open(tree_page, "id=no-such-problem")
    browser.wait("document.querySelector('.detail').innerText.includes('There is no tree no-such-problem')")


def test_the_keyboard_suffices(tree_page: Path, browser: Browser) -> None:
    browser.open(tree_page)
    names = listed(browser)
    browser.key("Tab")
    assert browser.js("document.activeElement.className") == "skip"
    browser.key("n")
    opened(browser, names[0])
    browser.key("n")
    opened(browser, names[1])
    browser.key("p")
    opened(browser, names[0])
    browser.key("ArrowDown", times=3)
    browser.key("Enter")
    browser.wait("document.querySelectorAll('.rollouts > li').length === 4")
    assert browser.js("document.activeElement.closest('.state').id") == "state-2"
    browser.key("/")
    assert browser.js("document.activeElement.id") == "q"
    browser.key("n")  # is a letter now
    browser.wait("document.querySelector('#q').value === 'n'")
    browser.click(".keys summary")
    browser.click(".keys input")
    before = browser.js("location.hash")
    browser.key("n")
    assert browser.js("location.hash") == before, "single keys can be switched off"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1440])
def test_nothing_is_cut_off_at_any_width(width: int, dark: bool, tree_page: Path, browser: Browser) -> None:
    browser.look(width, dark=dark)
    browser.open(tree_page)
    overflow = "document.documentElement.scrollWidth - innerWidth"
    assert browser.js(overflow) <= 0
    browser.click(".entries a")
    browser.wait("document.querySelector('.detail h2')")
    browser.js("document.querySelectorAll('.detail details').forEach(e => { e.open = true; })")
    browser.wait("document.querySelectorAll('.rollouts > li').length === 12")
    assert browser.js(overflow) <= 0
    if chromium.AXE.is_file():
        assert browser.serious() == []
    if width == 400:
        assert browser.js("document.querySelector('.list').offsetParent") is None
        browser.click(".back")
        browser.wait("document.querySelector('.list').offsetParent !== null")


def test_accessibility_is_checked_by_axe() -> None:
    if not chromium.AXE.is_file():
        pytest.skip(f"{chromium.AXE} is not there: `npm pack axe-core` has it; MMPRM_AXE names its axe.min.js")


def test_the_verb_writes_the_tree_of_one_problem_in_one_file(example_run: Path, browser: Browser) -> None:
    name = rows_of(example_run, "status", schemas.STATUS)[0]["problem_id"]
    done = CliRunner().invoke(app, ["tree", name, "--run", str(example_run)])
    assert done.exit_code == 0, done.output
    page = Path(done.output.strip())
    assert page.parent == example_run / "trees" / "one"
    browser.open(page)
    assert listed(browser) == [name]
    browser.click(".entries a")
    opened(browser, name)
    assert len(browser.texts(".state")) == 3 and browser.said == []


def test_a_tree_or_a_run_that_is_not_there_is_said(example_run: Path) -> None:
    for arguments, says in (
        (["tree", "nothing", "--run", str(example_run)], "has no tree of problem 'nothing'"),
        (["tree", "x", "--run", "no-such-run"], "no-such-run: not a run"),
    ):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2 and says in done.output


def test_the_page_of_one_tree_has_a_prms_values_where_they_were_made(
    mini_policy_folder: Path, example_run: Path, tmp_path: Path, browser: Browser
) -> None:
    """The values are those of the plain reference, which reads every state by itself."""
    run = Path(shutil.copytree(example_run, tmp_path / "run"))
    config = report_example.settings(engine={"kind": "transformers", "dtype": "float32"})
    seeds, shards = run / "seeds/seeds.parquet", [run / "annotation" / f"{index}-of-2" for index in range(2)]
    for path in results.annotation_files(config, run, "nodes"):  # no parsed step has a marker in it
        plain = [
            {**row, "steps": [step.replace("<prm>", "") for step in row["steps"]]}
            for row in tables.read_rows(path, schemas.NODES)
        ]
        tables.write(path, plain, schemas.NODES)
    score_trees(config, mini_policy_folder, seeds, shards, scores_of(run, "soft"))
    nodes = {(row["problem_id"], row["node_id"]): row for row in rows_of(run, "nodes", schemas.NODES)}
    problems, reference = (
        problems_by_id(seeds),
        TransformersScorer(mini_policy_folder, config.prompt.instruction, "float32"),
    )
    rows = tables.read_rows(scores_of(run, "soft"), schemas.STATE_SCORES)
    assert [(row["problem_id"], row["node_id"]) for row in rows] == list(nodes)
    for row in rows:
        node = nodes[row["problem_id"], row["node_id"]]
        steps = tuple(node["steps"])
        read = reference.score([(problems[row["problem_id"]], steps, None)])[0].probabilities if steps else []
        assert row["probabilities"] == pytest.approx(read, abs=1e-4) and len(row["probabilities"]) == len(steps)
    name, node_id = list(nodes)[-1]
    done = CliRunner().invoke(app, ["tree", name, "--run", str(run), "--out", str(tmp_path / "one.html")])
    assert done.exit_code == 0, done.output
    browser.open(tmp_path / "one.html", f"id={name}&state={node_id}")
    opened(browser, name)
    assert f"PRM {rows[-1]['probabilities'][-1]:.2f}" in " ".join(browser.text(".state.here").split())


def test_a_located_error_is_compared_with_the_true_one() -> None:
    """Of a drawn problem every step can be judged: a right state that no rollout solved is called a first error."""
    problem = generate("sft", 1, ["bars"], seed=0)[0]
    steps = [part.partition("</step>")[0] for part in (problem.solution or "").split("<step>")[1:]]
    status = {"problem_id": problem.problem_id, "status": "done", "reason": "", "n_searches": 1, "n_rollouts": 4}
    status |= {"n_tokens": 1, "n_nodes": 2}
    counts = {"n_rollouts": 2, "n_unparsed": 0, "n_undecided": 0, "visits": 1}

    def completion(node: int, verdict: str, own: list[str], searched: bool = False) -> dict[str, Any]:
        shown = {"node_id": node, "verdict": verdict, "searched": searched, "steps": own, "answer": "1"}
        return shown | {"method": "number", "status": "ok", "text": ""}

    nodes = [
        {"node_id": 0, "parent_id": None, "steps": [], "mc": 0.5, "n_correct": 1, **counts},
        {"node_id": 1, "parent_id": 0, "steps": steps[:1], "mc": 0.0, "n_correct": 0, **counts},
    ]
    other = ["read nothing at all"]
    rollouts = [completion(0, "correct", other), completion(0, "incorrect", steps[:2], True)]
    rollouts += [completion(1, "incorrect", steps[1:2])] * 2
    item = tree_item(status, nodes, rollouts, problem, {1: [0.75]})
    assert [(node["error"], node["misplaced"]) for node in item["nodes"]] == [(False, None), (True, "none")]
    assert item["nodes"][1]["truth"] == ["right"] and item["nodes"][1]["prm"] == [0.75]
    row = tree_row(item, problem, "dev")
    assert (row["errors"], row["misplaced"], row["apart"], row["family"]) == (1, 1, 0.75, "bars")
    unknown = tree_item(status, nodes, rollouts, replace(problem, family="photograph"), None)
    assert [node["misplaced"] for node in unknown["nodes"]] == [None, None] and unknown["nodes"][1]["truth"] == []
    assert tree_row(unknown, None, "dev")["apart"] is None
    with pytest.raises(UserError, match="are of another tree"):
        tree_item(status, nodes, rollouts, problem, {1: [0.75, 0.5]})
    with pytest.raises(UserError, match="has no root"):
        tree_item(status, nodes[1:], rollouts, problem, None)


def test_a_prm_reads_only_the_longest_states() -> None:
    states = [(), ("a",), ("a", "b"), ("a", "c"), ("d",), ("a", "b")]
    assert longest_states(states) == [("a", "b"), ("a", "c"), ("d",)]
    assert longest_states([()]) == []


def test_values_are_kept_beside_the_page(tmp_path: Path) -> None:
    assert scores_of(tmp_path, "soft") == tmp_path / "trees/values/soft.parquet"
