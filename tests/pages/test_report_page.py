"""The report's first screen says what ran and what it came to; the page can be read on any screen, and printed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import browser as chromium
import numpy as np
import pytest
import report_example
from browser import Browser

from mmprm.evaluation.official_scores import official_scores
from mmprm.report.page import render, write_report
from mmprm.report.templates import percent, points


@pytest.fixture(scope="module")
def report_page(example_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's report, beside a page of candidates that was made."""
    folder = tmp_path_factory.mktemp("report") / "example"
    shutil.copytree(example_run, folder)
    made = folder / "candidates/test/soft/candidates.html"
    made.parent.mkdir(parents=True)
    made.write_text("<title>made</title>")
    models = {"policy": "2026-11-28T07:01:02+00:00", "prm/soft": "2026-11-29T08:09:10+00:00"}
    for name, time in models.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        machine = {"system": "Linux", "kind": "x86_64", "cores": 2, "gpus": ["NVIDIA H200"]}
        commit = "0123456789abcdef0123456789abcdef01234567-dirty"
        of_model = {"time": time, "commit": commit, "machine": machine, "load": [1.5, 2.5, 3.5]}
        (folder / name / "manifest.json").write_text(json.dumps({"info": {"seconds": 9.0}, "provenance": of_model}))
    write_report(report_example.settings(), folder, folder / "report.html")
    return folder / "report.html"


def test_the_first_screen_says_what_ran_and_what_it_came_to(report_page: Path, browser: Browser) -> None:
    browser.open(report_page)
    facts = dict(zip(browser.texts(".ran dt"), browser.texts(".ran dd"), strict=True))
    assert facts["commit"] == "0123456789ab-dirty" and facts["machine"] == "Linux, x86_64, 2 cores, NVIDIA H200"
    assert facts["models trained"] == "until 2026-11-29 08:09 UTC" and facts["load"] == "1.5 2.5 3.5"
    assert facts["policy"] == "models/mini, trained on sft" and facts["PRM"] == "soft (soft labels), hard (hard labels)"
    assert facts["data"] == "12 problems → 7 with rollouts right and wrong → 7 trees → 21 labelled paths"
    assert facts["cost"] == "2 min 05 s of all jobs, 2,960 generated tokens"
    rows = json.loads((report_page.parent / "bench/summary.json").read_text())
    at = {row["metric"]: row for row in rows if (row["benchmark"], row["variant"], row["n"]) == ("test", "soft", 4)}
    shown = browser.text("table.first tbody tr").split()
    for metric in ("random", "majority", "bon/mean_odds", "weighted_majority", "oracle"):
        value, low, high = (percent(at[metric][key]) for key in ("value", "ci_low", "ci_high"))
        assert f"{low}–{high}" in shown and value in shown, metric
    assert points(at["bon_minus_majority/mean_odds"]["value"]) in shown
    assert browser.js("document.querySelector('#curves').getBoundingClientRect().top") < 900, "on the first screen"
    assert browser.said == []


def test_the_big_numbers_have_their_intervals(report_page: Path, browser: Browser) -> None:
    browser.open(report_page)
    figures = browser.texts(".headline .figures > div")
    assert len(figures) == 8
    assert all(re.search(r"\d+\.\d %\n.+ \d+\.\d–\d+\.\d$", text) for text in figures), figures


def test_pages_that_were_made_are_linked_and_others_have_their_command(report_page: Path, browser: Browser) -> None:
    browser.open(report_page)
    text = browser.text(".next")
    assert "snakemake trees --cores all --configfile results/example/config.json" in text
    assert "mmprm compare results/example results/OTHER" in text
    links = browser.js("[...document.querySelectorAll('#overview a')].map(a => a.getAttribute('href'))")
    assert links.count("candidates/test/soft/candidates.html") == 2 and not [link for link in links if "trees" in link]
    browser.click("table.first a")
    browser.wait("document.title === 'made'")


def test_official_scores_stand_in_the_report(example_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(example_run, folder)
    path = folder / "bench/test/soft/metrics.json"
    metrics = json.loads(path.read_text())
    assert "the benchmark's own scores" not in render(report_example.settings(), folder).lower()
    row = {"value": 0.125, "ci_low": 0.0625, "ci_high": 0.5}
    metrics["official"] = [
        {"choice": choice, "score": score, **row}
        for choice in ("random", "bon/mean_odds")
        for score in official_scores("dynamath", ["a/1/1", "a/1/2"], np.array([1.0, 0.0]))
    ]
    path.write_text(json.dumps(metrics))
    page = " ".join(re.sub(r"<[^>]+>", " ", render(report_example.settings(), folder)).split())
    assert (
        "The benchmark's own scores, % (best of 4): score random PRM, mean_odds worst case 12.5 6.2–50.0 12.5" in page
    )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1440])
def test_nothing_of_the_report_is_cut_off_at_any_width(
    width: int, dark: bool, report_page: Path, browser: Browser
) -> None:
    browser.look(width, dark=dark)
    browser.open(report_page)
    browser.js("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert browser.js("document.documentElement.scrollWidth - innerWidth") <= 0
    paper = browser.js("getComputedStyle(document.body).backgroundColor")
    words = browser.js("getComputedStyle(document.querySelector('figure svg text')).fill")
    assert dark not in (paper == "rgb(255, 255, 255)", words == "rgb(29, 34, 39)")
    if chromium.AXE.is_file():
        assert browser.serious() == []


def test_the_report_is_printed_dark_on_white_without_what_paper_cannot_do(report_page: Path, browser: Browser) -> None:
    browser.look(dark=True)
    browser.open(report_page)
    browser.print_media()
    assert browser.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.js("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.js("getComputedStyle(document.querySelector('.wide')).overflowX") == "visible"


def test_a_prm_that_learnt_nothing_is_said_to_and_its_curves_are_there(example_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(example_run, folder)
    path = folder / "prm/soft.heldout.json"
    measured = json.loads(path.read_text())
    before = render(report_example.settings(), folder)
    curve = [{"false_positive": x, "true_positive": x**0.5} for x in (0.0, 0.25, 1.0)]
    for name, loss in (("trained", 0.7), ("untrained", 0.9)):
        deep = [{"depth": at, "n_markers": 9, "loss": loss, "constant_loss": 0.69, "auc_steps": 0.6} for at in (1, 2)]
        measured[name] |= {"loss": loss, "constant_loss": 0.69, "roc": curve, "by_depth": deep}
    path.write_text(json.dumps(measured))
    (folder / "prm/soft").mkdir()
    losses = [{"step": step, "loss": 1 / step, "learning_rate": 0.1} for step in range(1, 1200)]
    (folder / "prm/soft/losses.json").write_text(json.dumps(losses))
    page = render(report_example.settings(), folder)
    for title in ("Steps right or wrong (ROC), PRM soft", "Loss by depth, PRM soft", "AUC by depth, PRM soft"):
        assert f'aria-label="{title}"' in page and title not in before
    assert 'aria-label="Training of PRM soft"' in page
    assert page.count("not below that of a constant") == 1 and "not below" not in before
    assert 'the same of the best constant</td><td class="n">0.690' in page


def test_where_first_errors_lie_and_what_trees_took_stands_beside_the_trees(report_page: Path) -> None:
    page = report_page.read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "7 trees: a problem took 1 searches and 12 rollouts, 240 tokens on average. 7 ended by pool empty." in text
    assert 'aria-label="Where first errors lie"' in page
