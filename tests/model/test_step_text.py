"""The text contract: what is parsed, what is rendered, and what control strings can and cannot do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.data.problem import Problem
from mmprm.model import folders, step_text
from mmprm.model.step_text import (
    MARKER,
    TAGS,
    Parsed,
    Renderer,
    Status,
    neutralise,
    parse,
    render_solution,
    render_steps,
)
from mmprm.runtime.errors import UserError

CONTROL_STRINGS = (*TAGS, "<image>", "<IMG_CONTEXT>", "<img>", "</img>", "<|im_start|>", "<|im_end|>", "[IMG]")
plain = st.text(min_size=1, max_size=40).map(str.strip).filter(lambda text: text and not step_text.has_control(text))
# Texts that are full of the tags and of pieces of them, where plain random text would hardly ever have one.
tangled = st.lists(
    st.one_of(st.sampled_from([*CONTROL_STRINGS, "<", ">", "|", "<|", "|>", "step", "/", " "]), st.text(max_size=3)),
    max_size=12,
).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<step>a</step><answer>3</answer>", Parsed(Status.OK, ("a",), "3")),
        (" <step> a </step>\n\n<step>b\nc</step>\n<answer> 3 </answer>\n", Parsed(Status.OK, ("a", "b\nc"), "3")),
        ("<step>1 < 2 and 3 > 2</step><answer>x<y</answer>", Parsed(Status.OK, ("1 < 2 and 3 > 2",), "x<y")),
        ("", Parsed(Status.EMPTY)),
        (" \n", Parsed(Status.EMPTY)),
        ("<step>a</step>", Parsed(Status.NO_ANSWER)),
        ("<answer>3</answer>", Parsed(Status.MALFORMED)),  # no steps at all
        ("<step>a</step>3<answer>3</answer>", Parsed(Status.MALFORMED)),
        ("so <step>a</step><answer>3</answer>", Parsed(Status.MALFORMED)),
        ("<step>a</step><answer>3</answer> done", Parsed(Status.MALFORMED)),
        ("<step>a</step><answer>3</answer><step>b</step>", Parsed(Status.MALFORMED)),
        ("<step>a</step><answer>3</answer><answer>4</answer>", Parsed(Status.MALFORMED)),
        ("<step>a</step><answer>3", Parsed(Status.MALFORMED)),
        ("<step>a<answer>3</answer>", Parsed(Status.MALFORMED)),
        ("<step></step><answer>3</answer>", Parsed(Status.MALFORMED)),
        ("<step>a</step><answer> </answer>", Parsed(Status.MALFORMED)),
        ("<step>a<prm></step><answer>3</answer>", Parsed(Status.CONTROL)),
        ("<step>a<step>b</step><answer>3</answer>", Parsed(Status.CONTROL)),
        ("<step>a</step><answer>3<IMG_CONTEXT></answer>", Parsed(Status.CONTROL)),
        ("<step>a<|im_start|></step><answer>3</answer>", Parsed(Status.CONTROL)),
    ],
)
def test_a_text_has_one_status_and_only_ok_has_steps(text: str, expected: Parsed) -> None:
    assert parse(text) == expected


def test_a_text_that_met_the_length_limit_is_truncated_even_where_it_looks_whole() -> None:
    assert parse("<step>a</step><answer>3</answer>", finish_reason="length") == Parsed(Status.TRUNCATED)


def test_after_a_prefix_the_answer_may_come_at_once() -> None:
    assert parse("<answer>3</answer>", prefix_steps=2) == Parsed(Status.OK, (), "3")


@given(st.one_of(st.text(), tangled), st.sampled_from(["stop", "length"]), st.integers(0, 2))
def test_no_text_makes_parse_raise_and_what_is_not_ok_is_empty(text: str, finish: str, prefix_steps: int) -> None:
    parsed = parse(text, finish, prefix_steps)
    if parsed.status is Status.OK:
        assert parsed.answer and prefix_steps + len(parsed.steps) > 0 and all(parsed.steps)
        assert not any(step_text.has_control(part) for part in (*parsed.steps, parsed.answer))
    else:
        assert parsed == Parsed(parsed.status)


@given(st.lists(plain, min_size=1, max_size=6), plain)
def test_what_is_rendered_parses_back(steps: list[str], answer: str) -> None:
    assert parse(render_solution(steps, answer)) == Parsed(Status.OK, tuple(steps), answer)


@given(st.lists(plain, min_size=1, max_size=6), plain, st.data())
def test_a_prefix_and_what_continues_it_are_the_whole_solution(
    steps: list[str], answer: str, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(steps)))
    continued = render_solution(steps[cut:], answer)
    assert render_steps(steps[:cut]) + continued == render_solution(steps, answer)
    assert parse(continued, prefix_steps=cut) == Parsed(Status.OK, tuple(steps[cut:]), answer)


@given(tangled)
def test_neutralising_leaves_nothing_to_neutralise(text: str) -> None:
    extra = ("<s>", "EOS", "[PAD]", "<image_soft>")
    once = neutralise(text + "EOS<<s>s>", extra)
    assert not step_text.has_control(once)
    assert not any(token in once for token in extra)
    assert neutralise(once, extra) == once


@given(plain)
def test_neutralising_changes_no_plain_text(text: str) -> None:
    assert neutralise(text) == text


def test_placeholders_and_comparisons_of_real_problems_are_no_control_strings() -> None:
    for text in ("<image1>", "a < b > c", "1<step<3", "|x|>|y|", "List<int>", "[1, 2]", "<p>"):
        assert not step_text.has_control(text), text
    for text in CONTROL_STRINGS:
        assert step_text.has_control(f"a{text}b"), text


def test_the_question_choices_and_instruction_stand_in_this_order() -> None:
    problem = Problem("p", "s", "How many <step> are there?", "A", choices=("3", "<prm>4"))
    assert step_text.question_text(problem, "Think.") == "How many ‹step› are there?\n(A) 3\n(B) ‹prm›4\nThink."


@pytest.fixture(scope="module")
def renderer(mini_policy_folder: Path) -> Renderer:
    return Renderer(folders.load_processor(mini_policy_folder), "Solve it.")


def test_the_texts_of_sampling_training_and_scoring_agree_to_the_letter(
    renderer: Renderer, mini_problems: list[Problem]
) -> None:
    problem, steps, answer = mini_problems[0], ("2 + 3 = 5", "5 * 2 = 10"), "10"
    prompt = renderer.prompt(problem)
    assert problem.question in prompt and prompt.count("Solve it.") == 1
    assert renderer.continuation(problem, ()) == prompt
    assert renderer.continuation(problem, steps[:1]) == prompt + "<step>2 + 3 = 5</step>"
    body = "<step>2 + 3 = 5</step><step>5 * 2 = 10</step><answer>10</answer>"
    assert renderer.supervised(problem, steps, answer) == (prompt, body + renderer.tokenizer.eos_token)
    marked = renderer.marked(problem, steps, answer)
    assert marked == prompt + ("<step>2 + 3 = 5</step><prm><step>5 * 2 = 10</step><prm><answer>10</answer><prm>")
    assert marked.replace(MARKER, "") == prompt + body
    assert renderer.marked(problem, steps, None) == marked.removesuffix("<answer>10</answer><prm>")


def test_defect_5_a_separator_is_never_tokenised_apart(renderer: Renderer, mini_problems: list[Problem]) -> None:
    """The marked text has the tokens of the solution that the policy wrote, and one marker after each block."""
    problem, steps = mini_problems[0], ("2 + 3 = 5", "so x > 4.")
    tokenizer, marker = renderer.tokenizer, renderer.tokenizer.convert_tokens_to_ids(MARKER)
    prompt, body = renderer.supervised(problem, steps, "10")
    written = tokenizer.encode(prompt + body.removesuffix(tokenizer.eos_token), add_special_tokens=False)
    marked = tokenizer.encode(renderer.marked(problem, steps, "10"), add_special_tokens=False)
    assert [token for token in marked if token != marker] == written
    assert marked.count(marker) == 3 and marked[-1] == marker


@given(question=tangled, choice=tangled)
def test_defect_8_a_question_with_control_strings_shifts_no_label(
    renderer: Renderer, question: str, choice: str
) -> None:
    tokenizer = renderer.tokenizer
    special = [*TAGS, "<IMG_CONTEXT>", "<img>", "<|im_start|>", "<|im_end|>"]
    ids = tokenizer.convert_tokens_to_ids(special)

    def counts(problem: Problem) -> list[int]:
        encoded = tokenizer.encode(renderer.marked(problem, ("a", "b"), "3"), add_special_tokens=False)
        return [encoded.count(token) for token in ids]

    harmless = Problem("p", "s", "What?", "3", images=(b"",), choices=("no",))
    assert counts(replace(harmless, question=question, choices=(choice,))) == counts(harmless)


def test_defect_7_yes_and_no_must_be_single_known_tokens(renderer: Renderer) -> None:
    ids = step_text.control_ids(renderer.tokenizer)
    assert set(ids) == {*TAGS, "Yes", "No"} and len(set(ids.values())) == len(ids)

    class Split:
        name_or_path, unk_token_id = "other/model", 0

        def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
            return self.table.get(text, [ord(text[1])])

        def __init__(self, **table: list[int]) -> None:
            self.table = {"<step>": [1], "</step>": [2], "<answer>": [3], "</answer>": [4], "<prm>": [5], **table}

    def message(tokenizer: Any) -> str:
        with pytest.raises(UserError) as raised:
            step_text.control_ids(tokenizer)
        return str(raised.value)

    assert "'Yes'" in message(Split(Yes=[7, 8], No=[9])) and "other/model" in message(Split(Yes=[7, 8], No=[9]))
    assert "'No'" in message(Split(Yes=[7], No=[0]))  # the unknown token
    assert "same id" in message(Split(Yes=[7], No=[7]))
