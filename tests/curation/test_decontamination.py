"""Which problems are a benchmark's: by picture and by words; and what is none though it looks alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from curating import Curated, encoded, figure, problem, run
from PIL import Image, ImageDraw

from mmprm.data.problem import Problem
from mmprm.problems.image_checks import pixel_hash

ASKED = (
    "As shown in the figure, a water tank near the river is filled by {} pipes and emptied by {} striped valves. "
    "One pipe alone needs {} minutes for a basin. How many minutes pass before the tank is full?"
)
SAID = (
    "{} pipes fill a water tank near the river, which {} striped valves empty. For a basin one pipe alone takes {} "
    "minutes. After how many minutes is the tank full?"
)


def benchmark_problem(
    question: str = ASKED.format(6, 2, 45), answer: str = "30", image: int | Image.Image | None = 1
) -> Problem:
    return problem("x", question, answer, image, problem_id="bench/1", source="bench")


def hit(folder: Path, *pool: Problem, bench: Problem | None = None) -> Curated:
    clean = problem("clean", "The pentagon has a perimeter of ___.", "99", 77)
    return run(folder, [clean, *pool], [bench or benchmark_problem()])


def test_a_benchmarks_problem_is_found_by_picture_by_words_and_in_other_words(tmp_path: Path) -> None:
    smaller = figure(1).resize((180, 135), Image.Resampling.LANCZOS)
    pool = [
        problem("same", ASKED.format(6, 2, 45), "30", 1),
        problem("picture", "What is the length of the longest side?", "17", 1),
        problem("near", "What is the length of the shortest side?", "18", smaller),
        problem("words", "Read carefully. " + ASKED.format(6, 2, 45) + " Round it.", "30", 8),
        problem("reworded", SAID.format(6, 2, 45), "30", 9),
    ]
    found = hit(tmp_path, *pool)
    assert found.reasons == {one.problem_id.partition("/")[2]: "in_benchmark" for one in pool}
    listed = {row["problem_id"].partition("/")[2]: row for row in found.funnel["decontamination"]["listed"]}
    ways = {"same": "picture", "picture": "picture", "near": "near_picture", "words": "text", "reworded": "reworded"}
    assert {name: row["by"] for name, row in listed.items()} == ways
    assert {row["tested"] for row in listed.values()} == {"bench/1"}
    assert found.funnel["decontamination"]["hits"] == 5


def test_templates_other_numbers_and_short_questions_are_no_hits(tmp_path: Path) -> None:
    pool = [
        problem("other_numbers", ASKED.format(7, 3, 50), "30", 8),
        problem("one_other", ASKED.format(6, 2, 46), "30", 9),
        problem(
            "other_words", "Lena buys 6 tickets, 2 maps and 45 stamps at the market. What is left of 100?", "30", 10
        ),
    ]
    assert hit(tmp_path, *pool).reasons == {}
    short = benchmark_problem("Find the area of the shaded part.", "12", 1)
    found = hit(tmp_path / "short", problem("a", "Find the area of the shaded part.", "12", 2), bench=short)
    assert found.reasons == {}


def test_one_question_with_several_answers_is_a_template(tmp_path: Path) -> None:
    """Its data are in the picture: the same words beside another picture ask something else."""
    pool = [problem(str(at), ASKED.format(6, 2, 45), str(50 + at), 20 + at) for at in range(2)]
    assert hit(tmp_path, *pool).reasons == {}
    assert hit(tmp_path / "same", *pool, problem("c", ASKED.format(6, 2, 45), "30", 30)).reasons == {
        "c": "in_benchmark"
    }


def test_a_nearly_empty_picture_alone_is_no_hit(tmp_path: Path) -> None:
    icon = Image.new("RGB", (240, 180), "white")
    ImageDraw.Draw(icon).line([(80, 90), (160, 90)], fill="black", width=3)
    bench = benchmark_problem(image=icon)
    found = hit(tmp_path, problem("a", "How long is the segment if one square is 4 cm?", "8", icon), bench=bench)
    assert found.reasons == {}


def test_a_picture_beside_many_questions_is_an_icon(tmp_path: Path) -> None:
    kinds = ("red", "tall", "old", "broken", "new")
    many = [problem(f"q{at}", f"How many {kind} windows are there?", str(40 + at), 1) for at, kind in enumerate(kinds)]
    assert hit(tmp_path, *many).reasons == {}
    assert hit(tmp_path / "few", *many[:2]).reasons == {"q0": "in_benchmark", "q1": "in_benchmark"}


@pytest.mark.parametrize("on", [True, False])
def test_the_rule_can_be_off(tmp_path: Path, on: bool) -> None:
    copy = problem("a", ASKED.format(6, 2, 45), "30", 1)
    found = run(
        tmp_path, [copy, problem("b", "The side is ___.", "4", 3)], [benchmark_problem()], rules={"in_benchmark": on}
    )
    assert found.reasons == ({"a": "in_benchmark"} if on else {})
    (row,) = (row for row in found.funnel["rules"] if row["rule"] == "in_benchmark")
    assert (row["on"], row["in"], row["out"]) == (on, 2, 1 if on else 2)


def test_chinese_questions_are_compared_by_characters(tmp_path: Path) -> None:
    asked = "某校组织{}名学生乘坐{}辆大客车去郊外参观植物园,每辆车坐满后还剩{}人没有座位,问每辆车有多少个座位"
    bench = benchmark_problem(asked.format(325, 7, 10), "45", 1)
    same, other = (
        problem(name, "小明读到:" + asked.format(*n), "45", 5) for name, n in (("a", (325, 7, 10)), ("b", (326, 7, 11)))
    )
    assert hit(tmp_path, same, other, bench=bench).reasons == {"a": "in_benchmark"}


def _transparent(shape: str) -> Image.Image:
    """A black drawing on a transparent ground: all its pixels are black, and only the alpha channel shows the shape."""
    alpha = Image.new("L", (200, 160), 0)
    pen = ImageDraw.Draw(alpha)
    if shape == "circle":
        pen.ellipse((30, 20, 150, 140), outline=255, width=4)
    else:
        pen.polygon([(20, 140), (180, 140), (90, 15)], outline=255, width=4)
    image = Image.new("RGBA", alpha.size, "black")
    image.putalpha(alpha)
    return image


def test_transparent_pictures_are_compared_as_models_see_them(tmp_path: Path) -> None:
    circle = _transparent("circle")
    on_white = Image.alpha_composite(Image.new("RGBA", circle.size, "white"), circle).convert("RGB")
    pool = [
        problem("triangle", "How large is the angle at the top of this one?", "40", _transparent("triangle")),
        problem("flattened", "What is the radius of the figure that is drawn here?", "6", on_white),
    ]
    found = run(tmp_path, pool, [problem("tested", "How wide is it?", "12", circle)])
    assert found.reasons == {"flattened": "in_benchmark"}
    assert pixel_hash(encoded(circle)) == pixel_hash(encoded(on_white)) != pixel_hash(encoded(_transparent("triangle")))
