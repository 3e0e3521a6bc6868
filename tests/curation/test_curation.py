"""The stage as a whole: what is written, that nothing is paid twice, and that neither order nor processes matter."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from curating import Curated, again, encoded, figure, problem, run, settings
from PIL import Image
from real_data import real_samples
from typer.testing import CliRunner
from waiting import python_that_kills_itself

from mmprm.cli import app
from mmprm.config import load
from mmprm.config.derived import CurationRules
from mmprm.curation import signatures
from mmprm.curation.funnel import RULES
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems, row_of, write_problems
from mmprm.mini.problems import FAMILIES, generate
from mmprm.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
WORDS = ("lamp", "boat", "fence", "tower", "carpet", "bottle", "field", "shelf", "tent", "wheel", "bridge", "piano")


EVERY_RULE = dict.fromkeys(CurationRules.model_fields, True)  # some are off by default


def varied(count: int) -> list[Problem]:
    """Problems that nothing is wrong with, the last two thirds in pairs of one picture."""
    found = []
    for at in range(count):
        one, other = WORDS[at % 12], WORDS[at // 12 % 12]
        question = (
            f"A {one} costs {at + 2} yuan more than the {other} of row {at * 7}. What do {at % 9 + 3} of them cost?"
        )
        shown = at if at < count // 3 else 1000 + at // 2
        found.append(problem(f"{at:04d}", question, str(100 + at), shown, family="shop" if at % 2 else "market"))
    return found


def mixed() -> list[Problem]:
    """The same, and one for each rule that looks at a problem alone."""
    faults = {
        "no_picture": problem("no_picture", "The side is ___.", "4", None),
        "too_few": problem("too_few", "Table 1: [Image](a1f) Table 2: [Image](b2e) What is the sum?", "4", 2001),
        "icon": problem("icon", "As shown in the figure, AB = 4. How long is BC?", "4", figure(2008).resize((55, 39))),
        "tiny": problem("tiny", "The height is ___.", "4", figure(2002).resize((12, 9))),
        "blank": problem("blank", "The width is ___.", "4", Image.new("RGB", (300, 200), "#fefefe")),
        "proof": problem("proof", "Prove that AB = CD.", "4", 2003),
        "drawing": problem("drawing", "Sketch the graph of the function.", "4", 2004),
        "open": problem("open", "Explain how the chart misleads.", "4", 2005),
        "several": problem("several", "(1) Find AB. (2) How long is the line CD?", "4", 2006),
        "sentence": problem("sentence", "What follows?", "The two lines will never meet again", 2007),
    }
    return [*varied(30), *faults.values()]


@pytest.mark.parametrize(
    ("question", "size", "refused"),
    [
        ("The diagram below shows a road. How long is it?", (60, 60), True),
        ("如图,AB=4,求BC的长", (20, 63), True),
        ("The diagram below shows a road. How long is it?", (64, 30), False),
        ("The slope of the line is half of <image1>. What is it?", (30, 22), False),  # a formula, where it belongs
        ("How many figures of a number are even?", (30, 22), False),
    ],
)
def test_an_icon_is_no_figure_that_the_text_sends_to(
    question: str, size: tuple[int, int], refused: bool, tmp_path: Path
) -> None:
    found = run(tmp_path, [*varied(3), problem("one", question, "4", figure(1).resize(size))])
    assert found.reasons == ({"one": "image_missing"} if refused else {})


def test_each_rule_refuses_what_it_is_for_and_the_funnel_counts_it(tmp_path: Path) -> None:
    found = run(tmp_path, mixed(), rules=EVERY_RULE)
    assert found.reasons == {
        "no_picture": "image_missing",
        "too_few": "image_missing",
        "icon": "image_missing",
        "tiny": "image_tiny",
        "blank": "image_blank",
        "proof": "proof",
        "drawing": "drawing",
        "open": "open_question",
        "several": "several_questions",
        "sentence": "unverifiable",
    }
    assert all(row["detail"] and row["source"] == "pool" and row["row"] is None for row in found.refused.values())
    funnel = found.funnel
    assert [row["rule"] for row in funnel["rules"]] == list(RULES)
    assert funnel["rules"][0] == {"rule": "image_missing", "on": True, "in": 40, "out": 37, "refused": 3}
    assert all(row["in"] - row["refused"] == row["out"] for row in funnel["rules"])
    assert funnel["rules"][-1]["out"] == funnel["kept"] == len(found.kept) == 30
    assert funnel["rows"] == funnel["kept"] + funnel["set_aside"] + funnel["refused"] == 40
    assert funnel["families"]["shop"] == {"in": 15, "kept": 15, "set_aside": 0}
    assert funnel["sources"]["pool"] | {"about": ""} == {
        "kind": "mini", "about": "", "licence": None, "in": 40, "kept": 30, "set_aside": 0,
    }  # fmt: skip
    assert funnel["examples"]["proof"] == [{"problem_id": "pool/proof", "detail": "it asks for a proof: 'prove'"}]


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in ("in_benchmark", "near_duplicate", "over_mix")])
def test_a_rule_that_is_off_refuses_nothing(tmp_path: Path, rule: str) -> None:
    found = run(tmp_path, mixed(), rules=EVERY_RULE | {rule: False})
    assert rule not in found.reasons.values()
    assert {row["rule"]: row["on"] for row in found.funnel["rules"]}[rule] is False


def test_neither_the_order_of_rows_nor_processes_nor_row_groups_change_a_byte(tmp_path: Path) -> None:
    pool = mixed()
    straight = run(tmp_path / "one", pool, varied(3))
    inputs = tmp_path / "two/in"
    shuffled = [row_of(one) for one in random.Random(0).sample(pool, len(pool))]
    tables.write(inputs / "pool.parquet", shuffled, schemas.PROBLEMS, group=3)
    write_problems(inputs / "bench.parquet", varied(3))
    assert again(tmp_path / "two", inputs, workers=2).files == straight.files


def test_what_is_kept_is_the_row_as_it_was_but_for_its_group(tmp_path: Path) -> None:
    pool = [replace(one, choices=("1", "2"), precision=2, tolerance=(0.5,), unit="m") for one in varied(9)]
    found = run(tmp_path, pool, rules={"unverifiable": False})
    assert [replace(one, group="") for one in found.kept] == pool
    assert Counter(one.group for one in found.kept)["pool/0004"] == 2  # 4 and 5 share a picture


def test_the_test_has_whole_groups_and_shares_no_picture_with_what_is_kept(tmp_path: Path) -> None:
    found = run(tmp_path, varied(60), test_size=15)
    assert len(found.held_out) == 15 and len(found.kept) == 45
    kept, held_out = ({image for one in problems for image in one.images} for problems in (found.kept, found.held_out))
    assert not kept & held_out
    assert not {one.group for one in found.kept if one.group} & {one.group for one in found.held_out}
    assert any(one.group for one in found.held_out)
    other = run(tmp_path / "other", varied(60), seed=1, test_size=15)
    assert {one.problem_id for one in other.held_out} != {one.problem_id for one in found.held_out}


def test_the_pool_is_balanced_to_a_target(tmp_path: Path) -> None:
    mix = {"family": {"shop": 0.75, "market": 0.25}}
    found = run(tmp_path, varied(60), size=20, mix=mix)
    assert Counter(one.family for one in found.kept) == {"shop": 15, "market": 5}
    assert found.funnel["mix"]["family"]["shop"] == {"share": 0.75, "wanted": 15, "kept": 15}
    assert Counter(found.reasons.values()) == {"over_mix": 40}
    most = run(tmp_path / "most", varied(60), mix=mix)
    assert Counter(one.family for one in most.kept) == {"shop": 30, "market": 10}


def test_drawn_problems_are_all_fit_though_figures_differ_by_numbers_alone(tmp_path: Path) -> None:
    pool = [replace(one, problem_id=f"pool/{one.problem_id}") for one in generate("seeds", 120, list(FAMILIES), 0)]
    found = run(tmp_path, pool, generate("test", 60, list(FAMILIES), 0))
    assert found.refused == {} and len(found.kept) == 120
    assert {one.group for one in found.kept} == {""}


def test_signatures_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(tmp_path, mixed(), rules=EVERY_RULE)
    made: list[Path] = []
    monkeypatch.setattr(signatures, "sign_group", lambda path, group, words: made.append(path))
    assert again(tmp_path, tmp_path / "in", rules=EVERY_RULE).files == found.files
    off = again(tmp_path, tmp_path / "in", rules=EVERY_RULE | {"proof": False}, min_side=9)
    assert off.reasons.keys() == found.reasons.keys() - {"proof", "tiny"}  # settings need no new look
    assert made == []


def test_a_damaged_or_outdated_signature_is_made_anew(tmp_path: Path) -> None:
    found = run(tmp_path, mixed())
    (kept,) = (path for path in (tmp_path / "work").glob("*/*.parquet") if path.stat().st_size > 20_000)
    kept.write_bytes(kept.read_bytes()[:500])
    assert again(tmp_path, tmp_path / "in").files == found.files
    assert kept.stat().st_size > 20_000
    changed = run(tmp_path, [*varied(29), problem("drawing", "Sketch the graph of x.", "4", 2003)])
    assert changed.reasons == {"drawing": "drawing"}
    assert not kept.exists()  # of a table that is no more


def _groups(work: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in work.glob("*/*.parquet")}


@pytest.mark.heavy
def test_a_killed_curation_goes_on_where_it_was(tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    tables.write(inputs / "pool.parquet", map(row_of, varied(240)), schemas.PROBLEMS, group=8)
    tables.write(inputs / "bench.parquet", [], schemas.PROBLEMS)
    config = tmp_path / "config.json"
    config.write_text(settings({}).model_dump_json())
    places = {"out": "out.parquet", "refused": "refused.parquet", "funnel": "funnel.json", "test": "test.parquet"}
    flags = [part for name, file in places.items() for part in (f"--{name}", str(tmp_path / "out" / file))]
    groups = f"len(list(Path({str(tmp_path / 'work')!r}).glob('*/*.parquet')))"
    options = ["curate", "--config", str(config), *flags]
    options += [
        "--source",
        "fit",
        "--problems",
        str(inputs / "pool.parquet"),
        "--tested",
        str(inputs / "bench.parquet"),
        "--work",
        str(tmp_path / "work"),
    ]
    killed = [*python_that_kills_itself(f"{groups} >= 5", "from mmprm.cli import app; app()"), *options]
    assert subprocess.run(killed, stderr=subprocess.DEVNULL, check=False).returncode == -signal.SIGKILL
    before = _groups(tmp_path / "work")
    assert 5 <= len(before) < 30, "it was killed midway"
    assert not (tmp_path / "out").exists()
    command = [sys.executable, "-c", "from mmprm.cli import app; app()", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = _groups(tmp_path / "work")
    assert len(after) == 30 and before.items() <= after.items()
    assert Curated(tmp_path / "out").files == run(tmp_path / "whole", varied(240)).files


def test_an_id_that_occurs_twice_and_an_empty_result_are_told(tmp_path: Path) -> None:
    write_problems(tmp_path / "in/pool.parquet", [*varied(3), varied(3)[0]])
    write_problems(tmp_path / "in/bench.parquet", [])
    with pytest.raises(UserError, match="'pool/0000' occurs twice"):
        again(tmp_path, tmp_path / "in")
    with pytest.raises(UserError, match="of 2 problems none is kept; most, 2, are refused by drawing"):
        run(tmp_path / "none", [problem(name, "Sketch the graph of x.", "4", 3) for name in "ab"])


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"problem_id": ["a"]}), tmp_path / "pool.parquet")
    with pytest.raises(UserError, match=r"pool\.parquet: columns \['source'"):
        again(tmp_path, tmp_path)


def test_what_is_set_aside_becomes_a_source(tmp_path: Path) -> None:
    found = run(tmp_path, varied(30), test_size=6)
    flags = {"test": tmp_path / "test.parquet", "out": tmp_path / "p.parquet", "refused": tmp_path / "r.parquet"}
    arguments = ["set-aside", *(part for name, path in flags.items() for part in (f"--{name}", str(path)))]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert read_problems(tmp_path / "p.parquet") == found.held_out
    assert tables.read_rows(tmp_path / "r.parquet", schemas.REFUSED) == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"mix": {"family": {"bars": 0.7, "table": 0.6}}}, "at most 1 in total"),
        ({"mix": {"colour": {"red": 1}}}, "answer_type"),
        ({"rules": {"image_blnk": False}}, "image_blnk"),
        ({"test_size": -1}, "test_size"),
    ],
)
def test_wrong_settings_are_told_before_anything_runs(source: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        settings(source)


def test_a_set_aside_needs_a_test_size() -> None:
    values = settings({}).model_dump(mode="json")
    values["sources"]["held"] = {"kind": "set_aside", "of": "fit"}
    with pytest.raises(UserError, match="not of kind curated with a test_size"):
        load(values)
    values["sources"]["fit"]["test_size"] = 5
    values["benchmarks"]["held"] = {"source": "held"}
    assert load(values).benchmarks["held"].source == "held"


@pytest.mark.heavy
def test_the_real_sample_is_curated_and_each_refusal_is_known(tmp_path: Path) -> None:
    """125 problems of MM-K12 as they were published: see tests/curation/real_labels.csv."""
    from mmprm.problems.intake import make_source

    config = load(real_samples())
    for name, as_name in (("mm_k12", "pool"), ("mathvision", "bench")):
        make_source(config, name, tmp_path / f"in/{as_name}.parquet", tmp_path / f"{name}.refused.parquet")
    found = again(tmp_path, tmp_path / "in")
    why = {name[:8]: row["reason"] for name, row in found.refused.items()}
    assert why == {
        "ba291fc5": "image_missing",  # two tables in the text, one of them there
        "9cccb4c9": "image_missing",  # "as shown in the figure", which is lost behind an icon
        "aa39bab1": "drawing",
        "555caf3e": "open_question",  # one condition of several
        "7a04061e": "open_question",
        "f7e2e04e": "open_question",  # another path
        "6cb5524d": "unverifiable",  # a proof in place of an answer
        "a768b222": "unverifiable",  # one of its blanks is a sentence
        "eb9fba46": "unverifiable",  # a sentence in place of an answer
    }
    blanks = {"57ac1aef": 2, "d3579257": 5, "01b79c1f": 2}
    kept = {one.problem_id.partition("/")[2][:8]: one for one in found.kept}
    assert len(kept) == 116 and blanks.keys() <= kept.keys()
    assert found.funnel["flags"]["several_blanks"] >= 3 and found.funnel["flags"]["image_tiny"] == 1  # off: it flags
    assert_graded_blank_by_blank(kept["d3579257"])


def assert_graded_blank_by_blank(time_of_day: Problem) -> None:
    from mmprm.grading import Verdict, grade

    assert time_of_day.answer.split("\n") == ["7", "25", "acute", "8", "5"]
    for said in ("7\n25\nacute\n8\n5", "7; 25; acute; 8; 5", "(1) 7 (2) 25 (3) acute (4) 8 (5) 5"):
        assert grade(said, time_of_day).verdict is Verdict.CORRECT, said
    for said in ("7\n25\nobtuse\n8\n5", "25\n7\nacute\n8\n5", "7\n25\nacute\n8", "7"):
        assert grade(said, time_of_day).verdict is not Verdict.CORRECT, said


def test_pictures_of_several_are_compared_one_by_one(tmp_path: Path) -> None:
    two = tuple(encoded(figure(seed)) for seed in (1, 2))
    pool = [
        problem("a", "How many of the 7 lines meet?", "3", 1, images=two),
        problem("b", "How many of the 7 lines meet?", "3", 1, images=two),
        problem("c", "How many of the 7 lines meet?", "3", 1, images=two[::-1]),
        problem("d", "How many of the 7 lines meet?", "3", 1, images=two[:1]),
    ]
    found = run(tmp_path, pool)
    assert found.reasons == {"b": "near_duplicate"}
    assert {one.group for one in found.kept} == {"pool/a"}


def test_a_rule_that_is_off_still_flags(tmp_path: Path) -> None:
    found = run(tmp_path, [*varied(9), problem("proof", "Prove that AB = CD.", "4", 2003)])
    assert not found.reasons and found.funnel["flags"]["proof"] == 1
