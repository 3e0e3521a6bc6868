"""The measures on published rows: rules of curation against labels, stated answers of solutions against labels."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from perf import curation_rules, stated_answers
from PIL import Image
from real_data import published

from mmprm.config.derived import CurationRules
from mmprm.runtime.errors import UserError

ROWS = [
    {"id": "a", "question": "How long is AB?", "answer": "4"},
    {"id": "b", "question": "Add one condition, so that AB = CD: ___.", "answer": "AC = BD"},
    {"id": "c", "question": "Sketch the graph of the function.", "answer": "5"},
]


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows of one set, and labels."""
    (tmp_path / "real/mm_k12").mkdir(parents=True)
    for number, row in enumerate(ROWS):
        picture = Image.effect_noise((90, 60 + number), 80)
        picture.save(tmp_path / f"real/mm_k12/{row['id']}.png")
        row["image_path"] = f"{row['id']}.png"
    (tmp_path / "real/mm_k12/k12.json").write_text(json.dumps(ROWS))
    monkeypatch.setattr(curation_rules, "FILES", {"mm_k12": "mm_k12/k12.json"})
    return tmp_path


def test_precision_recall_and_kappa_are_counted_from_the_labels(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = sets / "labels.csv"
    labels.write_text("id,pass_a,pass_b\nmm_k12/a,,drawing\nmm_k12/b,open_question,open_question\nmm_k12/c,drawing,\n")
    monkeypatch.setattr(curation_rules, "_with_blank", lambda counts, *_: counts)
    monkeypatch.setattr(curation_rules, "compare_copies", lambda *_: {})
    found = curation_rules.measure(sets / "real", labels, True, 1)
    assert found["rows"] == 3 and found["kappa"] == pytest.approx(0.458, abs=0.01)
    opened, drawing = found["rules"]["open_question"], found["rules"]["drawing"]
    assert (opened["fired"], opened["right"], opened["labelled"]) == (1, 1, 1)
    assert (drawing["fired"], drawing["right"], drawing["labelled"]) == (1, 0, 0)  # the passes differ
    assert drawing["wrong"] == ["mm_k12/c"] and drawing["precision"] == {"share": 0.0, "interval": [0.0, 0.793]}


@pytest.mark.parametrize(("text", "says"), [("nonsense", "there are no rules"), ("drawing", "1 of the ids are not in")])
def test_labels_of_unknown_rules_or_rows_are_told(sets: Path, text: str, says: str) -> None:
    (sets / "labels.csv").write_text(f"id,pass_a,pass_b\nmm_k12/zz,{text},\n")
    with pytest.raises(UserError, match=says):
        curation_rules.measure(sets / "real", sets / "labels.csv", False, 1)


def test_intervals_are_wilsons() -> None:
    assert curation_rules.share(5, 5) == {"share": 1.0, "interval": [0.566, 1.0]}
    assert curation_rules.share(0, 0) == {"share": None, "interval": None}


def test_the_labels_name_rules_and_every_rule_that_is_on_is_in_the_documented_table() -> None:
    labels = curation_rules.read_labels(curation_rules.LABELS)
    assert len(labels) == 420 and sum(bool(a) for a, _ in labels.values()) == 18
    page = (curation_rules.ROOT / "docs/your-data.md").read_text()
    for rule, is_on in CurationRules().model_dump().items():
        (line,) = (line for line in page.splitlines() if line.startswith(f"| `{rule}` |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[1] == ("yes" if is_on else "no")
        assert not is_on or float(cells[4].split()[0]) >= 0.9, rule


@pytest.mark.heavy
def test_the_documented_tables_are_what_the_commands_print() -> None:
    real = published("real")
    page = (curation_rules.ROOT / "docs/your-data.md").read_text()
    for rule, counts in curation_rules.measure(real, curation_rules.LABELS, False, 1)["rules"].items():
        positives = counts.get("labelled", counts.get("same"))
        start = f"| `{rule}` | {'yes' if counts['on'] else 'no'} | {counts['fired']} | {counts['right']} |"
        (line,) = (line for line in page.splitlines() if line.startswith(start))
        assert line.split("|")[6].strip() == str(positives)


def test_real_solutions_are_kept_as_documented() -> None:
    real = published("real")
    page = " ".join((curation_rules.ROOT / "docs/your-data.md").read_text().split())
    with stated_answers.LABELS.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 76
    found = stated_answers.measure(real.parent, stated_answers.LABELS)
    assert found["kept"] == found["kept_stating"]
    assert f"{found['kept']} of the {found['stating']} that state their answer are kept" in page
    assert f"{found['false']} of {found['wrong']} " in page
