"""A page is one file that opens from a disk, runs one script and no other, and shows every text as text."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from browser import Browser
from real_data import sample

from mmprm.pages.kit import Look, Parts, as_json, parts_in, write_page

# What a text may try: to end the script that it stands in, to be HTML, to end a line, to be no text at all.
HOSTILE = (
    "</script><script>window.broken = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.broken = 1'>",
    "\"'`${window.broken = 1}\\",
    "a\u2028b\u2029c",
    "a\x00b\x1b[31m\ud83dc\uffff",
    "javascript:window.broken=1",
    "__proto__",
    "w" * 300,
)


def item(text: str) -> dict[str, object]:
    """A tree of one state in which every text is this one."""
    rollouts = [
        {"verdict": "correct", "method": text, "searched": True, "status": "ok", "steps": [text], "answer": text},
        {"verdict": "unparsed", "method": text, "searched": False, "status": text, "text": text},
    ]
    node = {"id": 0, "parent": None, "from": 0, "steps": [text], "mc": 0.5, "right": 1, "drawn": 2, "unparsed": 1}
    node |= {"undecided": 0, "visits": 0, "error": True, "misplaced": text, "prm": [0.25], "truth": [text]}
    return {
        **{"id": text, "question": text, "choices": [text], "answer": text, "images": [text, None], "status": text},
        **{"reason": text, "searches": 1, "drawn": 2, "tokens": 3, "nodes": [node | {"rollouts": rollouts}]},
    }


def row(text: str) -> dict[str, object]:
    """Its row of the list."""
    facts = {"source": text, "family": text, "split": text, "mc": 0.5, "states": 1, "errors": 1, "misplaced": 1}
    return {"id": text, "about": text, **facts, "apart": 0.25}


def hostile_page(folder: Path, parts: Path | None) -> Path:
    """A page of trees in which every text is hostile in turn."""
    rows = []
    with parts_in(parts) as kept:
        for text in HOSTILE:
            part, at = kept.add(item(text))
            rows.append(row(text) | {"part": part, "at": at})
    look = Look(HOSTILE[0], ("steps.js", "browse.js", "trees.js"), HOSTILE)
    write_page(folder / "page.html", look, {"rows": rows, "scored_by": HOSTILE[1], "truth": True}, kept)
    return folder / "page.html"


@pytest.mark.parametrize("own_files", [False, True])
def test_a_hostile_text_stays_a_text_in_every_place(own_files: bool, tmp_path: Path, browser: Browser) -> None:
    page = hostile_page(tmp_path, tmp_path / "parts" if own_files else None)
    browser.open(page)
    scripts = browser.js("document.scripts.length")
    for number, text in enumerate(HOSTILE):
        browser.js(f"location.hash = document.querySelectorAll('.entries a')[{number}].hash")
        shown = as_json(text).replace("\\u003c", "<")
        browser.wait(f"document.querySelector('.detail h2')?.textContent === {shown}")
        browser.js("document.querySelectorAll('.detail details').forEach(e => { e.open = true; })")
        browser.wait("document.querySelectorAll('.rollouts > li').length === 2")
        assert browser.js(f"document.querySelector('.detail').textContent.split({shown}).length") > 9
        browser.look(400)
        assert browser.js("document.documentElement.scrollWidth - innerWidth") <= 0, "nothing is cut off"
        browser.look()
    assert browser.js("typeof window.broken") == "undefined"
    assert browser.js("document.scripts.length") == scripts, "a script of a part is removed when it has run"
    assert browser.js("document.querySelectorAll('main script, main iframe, main object, main [onerror]').length") == 0
    assert browser.said == []


def test_a_text_that_a_page_cannot_hold_is_replaced_and_no_other() -> None:
    assert as_json("a\x00b\ud83d\uffff") == '"a\ufffdb\ufffd\ufffd"'
    assert as_json({"x\x1b": ["é√😀\n\t", 1, 0.5, None, True]}) == '{"x\ufffd":["é√😀\\n\\t",1,0.5,null,true]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json(float("nan"))


def test_only_the_script_of_the_page_may_run(tmp_path: Path, browser: Browser) -> None:
    page = hostile_page(tmp_path, None)
    text = page.read_text(encoding="utf-8")
    assert "unsafe" not in text and "http" not in re.sub(r"http-equiv", "", text.partition("</head>")[0])
    foreign = "<script>window.broken = 1</script><p id=x style='color: red' onclick='window.broken = 1'>x</p>"
    page.write_text(text.replace("</body>", f"{foreign}</body>"), encoding="utf-8")
    browser.open(page)
    browser.click("#x")
    assert browser.js("typeof window.broken") == "undefined"
    assert browser.js("getComputedStyle(document.getElementById('x')).color") != "rgb(255, 0, 0)"
    blocked = (
        "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'set'; } catch (error) { return error.name; } })()"
    )
    assert browser.js(blocked) == "TypeError", "no text becomes HTML"
    assert any("Content Security Policy" in said for said in browser.said)


def test_parts_are_small_and_an_item_is_found_where_it_was_put(tmp_path: Path) -> None:
    with parts_in(tmp_path / "parts") as parts:
        places = [parts.add({"text": "x" * size}) for size in (10, 600_000, 600_000, 5_000_000, 10)]
    assert places == [(0, 0), (0, 1), (1, 0), (2, 0), (3, 0)]
    assert len(list((tmp_path / "parts").iterdir())) == 4
    with parts_in(tmp_path / "parts") as parts:
        assert [parts.add({}) for _ in range(65)][-1] == (1, 0)
    assert len(list((tmp_path / "parts").iterdir())) == 2, "those of an earlier page are gone"
    assert Parts().inlined == []


def test_a_file_of_data_that_was_left_behind_is_named_and_looked_for_again(tmp_path: Path, browser: Browser) -> None:
    page = hostile_page(tmp_path, tmp_path / "parts")
    kept = (tmp_path / "parts" / "00000.js").rename(tmp_path / "elsewhere.js")
    browser.open(page)
    browser.click(".entries a")
    browser.wait("document.querySelector('.detail [role=alert]')")
    assert "parts/00000.js is missing: copy it with the page" in browser.text(".detail")
    kept.rename(tmp_path / "parts" / "00000.js")
    browser.js("history.back()")
    browser.wait("!location.hash.includes('id=')")
    browser.click(".entries a")
    browser.wait("document.querySelector('.detail h2')")


def test_the_texts_of_published_problems_are_shown_to_the_letter(tmp_path: Path, browser: Browser) -> None:
    """MathVision's questions: formulas, tags of pictures, many lines."""
    questions = [str(text) for text in pq.read_table(sample("mathvision"))["question"].to_pylist()]
    rows = []
    with parts_in(tmp_path / "parts") as kept:
        for number, text in enumerate(questions):
            part, at = kept.add(item(text) | {"id": f"q{number}", "images": []})
            rows.append(row(text) | {"id": f"q{number}", "part": part, "at": at})
    look = Look("MathVision", ("steps.js", "browse.js", "trees.js"))
    write_page(tmp_path / "page.html", look, {"rows": rows, "scored_by": None, "truth": False}, kept)
    browser.open(tmp_path / "page.html")
    shown = []
    for number in range(len(questions)):
        browser.js(f"location.hash = 'id=q{number}'")
        browser.wait(f"document.querySelector('.detail h2')?.textContent === 'q{number}'")
        shown.append(browser.js("document.querySelector('.question').textContent"))
    assert shown == questions and len(questions) > 50
    assert browser.said == []
