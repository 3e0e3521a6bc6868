"""Who repeats whom: text, numbers and pictures together; and which pictures are near."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from curating import encoded, figure, problem, run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmprm.curation import similarity
from mmprm.curation.pictures import FLIPS, flips, picture_signature
from mmprm.curation.pictures import near as near_copies

SAID = "As shown in the figure, the fence around the garden of Tom has {} posts of {} cm. How long is the fence?"
OTHER = (
    "In the picture, Tom fenced his garden with {} posts that are {} cm each. Find the length of the fence around it."
)


def near_pictures(one: bytes, other: bytes) -> bool:
    first, second = picture_signature(one), picture_signature(other)
    bits = flips(*(np.frombuffer(picture.hash, dtype=np.uint8) for picture in (first, second)))
    return bool(bits <= FLIPS) and near_copies(first.copy, second.copy)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("scale", [0.75, 0.9, 1, 1.25])
def test_a_picture_is_near_itself_however_it_was_scaled_and_compressed(form: str, scale: float) -> None:
    for seed in range(6):
        image = figure(seed)
        size = (round(image.width * scale), round(image.height * scale))
        again = image.resize(size, Image.Resampling.LANCZOS)
        assert near_pictures(encoded(image), encoded(again, form, quality=75)), seed


def test_a_figure_with_another_drawn_digit_is_not_near_though_the_hash_may_be() -> None:
    blind = 0
    for seed in range(12):
        one, other = (picture_signature(encoded(figure(seed, label))) for label in ("38", "33"))
        assert not near_copies(one.copy, other.copy)
        blind += bool(flips(*(np.frombuffer(it.hash, dtype=np.uint8) for it in (one, other))) <= FLIPS)
    assert blind > 0  # else the fine view would not be needed


def test_a_blank_picture_has_no_detail_and_a_drawing_has() -> None:
    assert picture_signature(encoded(Image.new("RGB", (200, 100), "black"))).detail == 0
    assert picture_signature(encoded(figure(0))).detail > 0.03
    on_nothing = Image.new("RGBA", (200, 100), (0, 0, 0, 0))
    assert picture_signature(encoded(on_nothing)).detail == 0
    on_nothing.paste(Image.new("RGBA", (80, 3), (0, 0, 0, 255)), (60, 50))
    assert (
        picture_signature(encoded(on_nothing)).detail > 0.004
    )  # black lines on a transparent ground are seen on white


def test_reworded_problems_with_near_pictures_and_the_same_numbers_are_one_group(tmp_path: Path) -> None:
    small = figure(3).resize((180, 135), Image.Resampling.LANCZOS)
    pool = [
        problem("a", SAID.format(14, 250), "3500", 3),
        problem("b", OTHER.format(14, 250), "3500", small),
        problem("c", SAID.format(14, 250), "3500", 3),
    ]
    found = run(tmp_path, pool)
    assert found.reasons == {"c": "near_duplicate"}
    assert {one.group for one in found.kept} == {"pool/a"}  # b may ask for something else: it stays, in one group
    assert {row["detail"] for row in found.refused.values()} == {"it repeats pool/a"}


def test_what_only_looks_like_a_duplicate_is_kept(tmp_path: Path) -> None:
    pool = [
        problem("a", SAID.format(14, 250), "3500", 3),
        problem("other_numbers", SAID.format(15, 260), "3900", 3),
        problem("other_picture", SAID.format(14, 250), "3500", 4),
        problem("other_digit", SAID.format(14, 250), "3600", figure(3, "17")),
        problem("other_question", "As shown in the figure, Tom has 14 posts of 250 cm. What do they weigh?", "90", 3),
    ]
    found = run(tmp_path, pool)
    assert found.reasons == {}
    groups = {kept.problem_id.partition("/")[2]: kept.group for kept in found.kept}
    together = {"a", "other_numbers", "other_question"}  # they share a picture
    assert {name for name, group in groups.items() if group == "pool/a"} == together
    assert groups["other_digit"] == groups["other_picture"] == ""


def test_without_pictures_the_text_alone_counts(tmp_path: Path) -> None:
    pool = [
        problem("a", "A train of 12 cars passes the old bridge near Lyon in 40 seconds. Find its speed.", "3", None),
        problem("b", "A train of 12 cars passes the old bridge near Lyon in 40 seconds. Compute its speed.", "3", None),
        problem("c", "A train of 13 cars passes the old bridge near Lyon in 40 seconds. Find its speed.", "3", None),
    ]
    found = run(tmp_path, pool, rules={"image_missing": False})
    assert found.reasons == {"b": "near_duplicate"}


def test_what_was_refused_before_repeats_nobody_and_a_rule_can_be_off(tmp_path: Path) -> None:
    blank = Image.new("RGB", (240, 180), "white")
    pool = [problem("a", SAID.format(1, 2), "7", blank), problem("b", SAID.format(1, 2), "7", 5)]
    assert run(tmp_path / "one", pool).reasons == {"a": "image_blank"}
    twice = [problem("a", SAID.format(1, 2), "7", 5), problem("b", SAID.format(1, 2), "7", 5)]
    assert run(tmp_path / "two", twice).reasons == {"b": "near_duplicate"}
    assert run(tmp_path / "off", twice, rules={"near_duplicate": False}).reasons == {}


@given(st.integers(0, 2**32), st.integers(0, 14))
def test_hashes_that_differ_in_at_most_14_bits_share_two_of_16_bands(seed: int, count: int) -> None:
    """The pigeonhole that the search for near pictures rests on."""
    rng = random.Random(seed)
    one = np.frombuffer(rng.randbytes(32), dtype=np.uint8)
    other = one.copy()
    for bit in rng.sample(range(256), count):
        other[bit // 8] ^= 1 << (bit % 8)
    assert flips(one, other) == count
    assert (one.view(">u2") == other.view(">u2")).sum() >= 2


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_all_rows_with_one_key_come_together(values: list[int]) -> None:
    keys = np.array(values, dtype=np.uint64)
    found = {(int(i), int(j)) for one, other in similarity.pairs_by_key(keys) for i, j in zip(one, other, strict=True)}
    assert found == {(i, j) for i in range(len(values)) for j in range(i + 1, len(values)) if values[i] == values[j]}


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20), max_size=6),
    st.sampled_from([1, 8]),
)
def test_pairs_come_out_once_each_and_in_order_however_they_were_added(
    added: list[list[tuple[int, int]]], at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity.Pairs, "_AT_ONCE", at_once)
        found = similarity.Pairs(10)
        for pairs in added:
            one, other = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
            found.add(one, other)
        expected = sorted({pair for pairs in added for pair in pairs})
        assert list(found) == list(found) == expected
