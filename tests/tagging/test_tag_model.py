"""Tagging by a model behind an OpenAI-compatible server: two passes, tries, reasons, and no call paid for twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import text_of
from tagging_server import KEY, ChatServer, Tagging, good, number_of, problem, rewritten, run_config, stage_of

from mmprm.data.problem import Problem
from mmprm.llm.tasks import ItemRefusedError
from mmprm.mini.problems import generate
from mmprm.model.step_text import parse
from mmprm.runtime import http_client
from mmprm.runtime.errors import UserError
from mmprm.tagging.tag_by_model import read_rewrite


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setattr(http_client, "_FIRST_WAIT", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MMPRM_TAGGING_API_KEY", KEY)
    server = ChatServer()
    yield server
    server.close()


def some(count: int) -> list[Problem]:
    return [problem(number) for number in range(count)]


def test_knowledge_points_come_first_and_are_in_the_prompt_of_the_rewrite(server: ChatServer, tmp_path: Path) -> None:
    drawn = generate("sft", 1, ["bars"], seed=0)[0].images
    found = Tagging(tmp_path, [problem(3, images=drawn)]).run(run_config({"url": server.url}))
    assert found.solutions == {
        "raw/0003": "<step>The first number is 3.</step><step>One more than 3 is 4.</step><answer>4</answer>"
    }
    first, second = server.bodies
    assert (stage_of(first), stage_of(second)) == ("knowledge", "rewrite")
    assert "3 and one more make 4." in text_of(first) and "- counting on" in text_of(second)
    assert all(len(body["messages"][0]["content"]) == 2 for body in server.bodies), "the image, then the text"
    assert all(body["model"] == "rewriter" and body["max_tokens"] == 4096 for body in server.bodies)
    assert server.keys == {f"Bearer {KEY}"}
    assert found.counts["kept_by_method"] == {"model": 1}
    assert found.counts["model"] == {
        "model": "rewriter",
        "calls": {"knowledge": 1, "rewrite": 1},
        "tokens": {"knowledge": 7, "rewrite": 7},
        "tries": {"1": 1},
    }


def test_a_model_that_reads_text_alone_is_shown_no_images(server: ChatServer, tmp_path: Path) -> None:
    drawn = generate("sft", 1, ["bars"], seed=0)[0].images
    Tagging(tmp_path, [problem(3, images=drawn)]).run(run_config({"url": server.url, "images": False}))
    assert all(isinstance(body["messages"][0]["content"], str) for body in server.bodies)


BAD = {
    "reply_malformed": "I cannot do that.",
    "answer_differs": rewritten("One.", "Two.", answer=99),
    "too_few_steps": rewritten("One.", answer=4),
    "step_too_long": rewritten("One.", "x" * 2001, answer=4),
    "no_reply": 400,
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_rewrite_is_tried_again_with_another_seed_and_then_refused_with_the_reason(
    server: ChatServer, tmp_path: Path, reason: str
) -> None:
    def reply(stage: str, number: int, body: dict[str, Any]) -> str | int:
        rewrites = [seen for seen in server.bodies if stage_of(seen) == "rewrite" and number_of(seen) == number]
        hopeless, first = number == 3, len(rewrites) == 1
        return BAD[reason] if stage == "rewrite" and (hopeless or first) else good(stage, number, body)

    server.reply = reply
    found = Tagging(tmp_path, [problem(3), problem(7)]).run(run_config({"url": server.url}))
    assert found.reasons == {"raw/0003": reason}
    assert parse(found.solutions["raw/0007"]).answer == "8"
    assert found.counts["model"]["tries"] == {"2": 1}
    calls = Counter((stage, number) for stage, number, _ in server.calls())
    assert calls == {("knowledge", 3): 1, ("knowledge", 7): 1, ("rewrite", 3): 2, ("rewrite", 7): 2}
    seeds = [seed for stage, number, seed in server.calls() if (stage, number) == ("rewrite", 3)]
    assert len(set(seeds)) == 2


def test_a_reply_that_is_cut_off_is_no_rewrite(server: ChatServer, tmp_path: Path) -> None:
    server.length = {"rewrite"}
    found = Tagging(tmp_path, [problem(3), problem(4, "<step>a b</step><step>c d</step><answer>5</answer>")]).run(
        run_config({"url": server.url})
    )
    assert found.reasons == {"raw/0003": "reply_truncated"}
    assert found.counts["kept_by_method"] == {"tagged": 1}, "what is tagged already costs no call"
    assert {number for _, number, _ in server.calls()} == {3}


@pytest.mark.parametrize("reply", ["", "<think>nothing comes to mind</think>  "])
def test_without_knowledge_points_there_is_no_rewrite(server: ChatServer, tmp_path: Path, reply: str) -> None:
    server.reply = lambda stage, number, body: reply if number == 3 else good(stage, number, body)
    found = Tagging(tmp_path, some(5)).run(run_config({"url": server.url}))
    assert found.reasons == {"raw/0003": "no_knowledge_points"}
    assert Counter(stage for stage, number, _ in server.calls() if number == 3) == {"knowledge": 2}


def test_many_calls_are_on_their_way_at_once_and_their_order_does_not_show(tmp_path: Path) -> None:
    bytes_ = []
    for name, most, together in (("one", 1, 1), ("many", 8, 5)):
        server = ChatServer(together=together)
        (tmp_path / name).mkdir()
        settings = run_config({"url": server.url, "max_concurrent": most})
        bytes_.append(Tagging(tmp_path / name, some(40)).run(settings).bytes)
        assert together <= server.most_running <= most
        server.close()
    assert bytes_[0] == bytes_[1]


def test_a_finished_call_is_never_paid_for_again_whatever_else_changes(server: ChatServer, tmp_path: Path) -> None:
    tagging = Tagging(tmp_path, some(12))
    tagging.run(run_config({"url": server.url}))
    before, paid = tagging.bytes, len(server.bodies)
    assert paid == 24
    tagging.run(run_config({"url": server.url}))
    tagging.run(run_config({"url": server.url, "max_concurrent": 3, "tries": 5}))
    assert tagging.bytes[:2] == before[:2] and len(server.bodies) == paid
    with pytest.raises(UserError, match="12 too_few_steps"):
        tagging.run(run_config({"url": server.url, "tries": 1}, min_steps=3))  # other rules, the same replies
    assert len(server.bodies) == paid
    server.close()  # all is in the journal: no server is needed
    tagging.run(run_config({"url": "http://127.0.0.1:9/v1"}, max_step_chars=500))
    assert tagging.bytes[:2] == before[:2]
    (tmp_path / "more").mkdir()
    more = Tagging(tmp_path / "more", some(12)[5:])  # in another table, by another job
    (tmp_path / "work").rename(tmp_path / "more" / "work")
    assert len(more.run(run_config({"url": "http://127.0.0.1:9/v1"})).solutions) == 7


@pytest.mark.parametrize("change", [{"model": "another"}, {"temperature": 0.1}, {"max_new_tokens": 99}])
def test_another_model_or_sampling_asks_anew(server: ChatServer, tmp_path: Path, change: dict[str, Any]) -> None:
    tagging = Tagging(tmp_path, some(3))
    tagging.run(run_config({"url": server.url}))
    tagging.run(run_config({"url": server.url} | change))
    assert len(server.bodies) == 12


def test_a_server_that_goes_down_ends_the_job_and_loses_nothing(server: ChatServer, tmp_path: Path) -> None:
    down = True
    server.reply = lambda stage, number, body: 503 if down and number > 20 else good(stage, number, body)
    tagging = Tagging(tmp_path, some(30))
    with pytest.raises(UserError, match=r"sources\.tagged\.model\.url .*: no server answers there") as error:
        tagging.run(run_config({"url": server.url}))
    assert KEY not in str(error.value) and "run again: what was sampled is kept" in str(error.value)
    assert not list(tmp_path.glob("out*"))
    answered = {call for call in server.calls() if call[1] <= 20}
    down = False
    before = len(server.bodies)
    assert len(tagging.run(run_config({"url": server.url})).solutions) == 30
    again = set(server.calls()[before:])
    assert len(answered & again) <= 8, "what had its answer on its way may be asked again, and no more"


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_model_ends_the_job_at_once(server: ChatServer, tmp_path: Path, status: int) -> None:
    server.reply = lambda stage, number, body: status
    with pytest.raises(UserError, match=f"says {status}.*MMPRM_TAGGING_API_KEY.*'rewriter'") as error:
        Tagging(tmp_path, some(100)).run(run_config({"url": server.url}))
    assert len(server.bodies) <= 32 and KEY not in str(error.value)


FORMS = [
    ("### Step 1\na\n\n### Step 2\nb\n\n### Answer\n4", ["a", "b"], "4"),
    ("Sure!\n\n**Step 1:** a\n**Step 2:** b Step 1 was\n**Answer:** 4", ["a", "b Step 1 was"], "4"),
    (
        "<think>### Step 9\nhm</think>Step 1. a\nStep 2 gives b\nStep 2: c\nFinal answer: $4$.",
        ["a\nStep 2 gives b", "c"],
        "$4$",
    ),
    ("Step 1:\na\nStep 2:\nb\nAnswer:\n**\\boxed{4}**", ["a", "b"], "4"),
    ("## Step 1:\nuse <prm>\n## Step 2:\nb\n## Final Answer\n4", ["use ‹prm›", "b"], "4"),
]


@pytest.mark.parametrize(("reply", "steps", "answer"), FORMS)
def test_replies_are_read_as_models_write_them(reply: str, steps: list[str], answer: str) -> None:
    assert read_rewrite(reply) == (steps, answer)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("4", "no steps"),
        ("### Step 1\na\n### Step 3\nb\n### Answer\n4", "numbered 1, 3"),
        ("### Step 1\na\n### Step 2\nb", "must be the answer"),
        ("### Answer\n4\n### Step 1\na", "must be the answer"),
        ("### Step 1\na\n### Answer\n4\n### Answer\n5", "must be the answer"),
        ("### Step 1\n\n### Step 2\nb\n### Answer\n4", "empty: 1"),
        ("### Step 1\na\n### Answer\n", "empty: answer"),
        ("### Answer\n4", "not at all"),
    ],
)
def test_a_reply_in_another_form_is_refused(reply: str, said: str) -> None:
    with pytest.raises(ItemRefusedError, match=said):
        read_rewrite(reply)
