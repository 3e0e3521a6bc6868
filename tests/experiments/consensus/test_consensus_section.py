"""Report and data card say what the consensus filter left, and nothing of it where there is none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import report_example
from report_example import SPITE

from mmprm import config as configuration
from mmprm.config import Config
from mmprm.data import tables
from mmprm.experiments.sections import ConsensusSection
from mmprm.report.data_card import write_data_card
from mmprm.report.page import render

COUNTS = {
    "model": f"judge {SPITE}",
    "paths": 120,
    "kept": 48,
    "dropped": 72,
    "by_kind": {
        "negative": {"agreed": 20, "disagreed": 33, "unreadable": 7},
        "positive": {"agreed": 28, "disagreed": 30, "unreadable": 2},
    },
    "dropped_by_reason": {"error_found": 30, "error_earlier": 33, "reply_malformed": 9},
    "untouched": {"dev": 11},
    "calls": 131,
    "tokens": 45678,
    "tries": {"1": 109, "2": 11},
}


def settings(**labels: Any) -> Config:
    return configuration.load(report_example.settings().model_dump(mode="json") | {"labels": labels})


JUDGED = {"consensus": {"url": "http://host/v1", "model": "judge"}}
EXTRAS = [ConsensusSection()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = report_example.build(tmp_path_factory.mktemp("results") / "example")
    tables.write_json(folder / "labels" / "consensus.json", COUNTS)
    return folder


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_the_report_counts_what_was_kept_by_kind_and_why_paths_were_dropped(run: Path) -> None:
    page = render(settings(**JUDGED), run, EXTRAS)
    assert SPITE not in page
    said = words(page.split('<section id="labels">')[1].split("</section>")[0])
    assert "the first error of each of 120 training paths: the PRMs learn from the 48 of which" in said
    assert "(40.0 %, 131 calls, 45,678 tokens). Dropped: 30 error found, 33 error earlier, 9 reply malformed." in said
    for line in ("negative 60 20 33 7", "positive 60 28 30 2", "all 120 48 63 9"):
        assert line in said


def test_the_card_has_the_same_and_names_both_tables(run: Path, tmp_path: Path) -> None:
    write_data_card(settings(**JUDGED), run, tmp_path / "card.md", tmp_path / "card", EXTRAS)
    card = (tmp_path / "card.md").read_text()
    assert "| negative | 60 | 20 | 33 | 7 |\n| positive | 60 | 28 | 30 | 2 |\n| all | 120 | 48 | 63 | 9 |" in card
    assert "30 error found, 33 error earlier, 9 reply malformed" in card and "<script" not in card
    assert "data_files: labels/consensus.parquet" in card and "data_files: labels/paths.parquet" in card


def test_without_a_judge_nothing_is_said_even_of_one_that_there_was(run: Path, tmp_path: Path) -> None:
    assert "onsensus with" not in render(settings(), run, EXTRAS)
    write_data_card(settings(), run, tmp_path / "card.md", tmp_path / "card", EXTRAS)
    assert "onsensus" not in (tmp_path / "card.md").read_text()
    unfinished = Path(shutil.copytree(run, tmp_path / "run"))
    (unfinished / "labels" / "consensus.json").unlink()
    assert "onsensus with" not in render(settings(**JUDGED), unfinished, EXTRAS)


def test_labels_before_and_after_are_shown_beside_the_truth(run: Path, tmp_path: Path) -> None:
    from mmprm.report.sections.label_charts import label_accuracy

    folder = Path(shutil.copytree(run, tmp_path / "run"))
    share = {"value": 0.5, "ci_low": 0.25, "ci_high": 0.75, "count": 8}
    rows = [
        {"labels": "hard", "source": f"training, {name} consensus", "threshold": None, "k": None}
        | dict.fromkeys(("precision", "recall", "right"), share)
        for name in ("before", "after")
    ]
    errors = {"paths": 8, "exact": share, "too_late": share, "too_early": share, "offsets": {"0": 4}}
    found = {"problems": 3, "markers": 8, "markers_unreadable": 0, "errors": {}, "rows": rows, "first_error": errors}
    both = {f"first_error_{name}_consensus": errors | {"paths": paths} for name, paths in (("before", 8), ("after", 5))}
    tables.write_json(folder / "labels" / "quality.json", found | both)
    quality = label_accuracy(folder)
    assert quality is not None and len(quality["filtered"]) == 2
    said = words(render(settings(**JUDGED), folder, EXTRAS))
    assert "hard, training, before consensus" in said and "hard, training, after consensus" in said
    assert re.search(r"of 8 are exact before the consensus filter, 50\.0 .* of 5 are exact after the consensus", said)
