"""The client of a served PRM: texts as offline, nothing wrong returned."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import prm_cards as cards
import pytest
import tiny_families
import torch
from PIL import Image
from prm_server import Served, logits, prm_server

from mmprm.client import Service, score, score_async, solution
from mmprm.data.problem import Problem
from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.prm.step_scores import Item, StepScores
from mmprm.runtime import http_client
from mmprm.runtime.errors import UserError

MINI = Path(__file__).parents[2] / "models/mini-base"
SOLUTIONS = [solution(f"What is {n} + {n}?", [f"{n} + {n} = {2 * n}", "Done."], str(2 * n)) for n in range(24)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(http_client, "_FIRST_WAIT", 0.01)
    with prm_server() as state:
        yield state


def expected(state: Served, item: Item) -> list[float]:
    """P(yes) of the stand-in's logits."""
    problem, steps, answer = item
    content = json.dumps([{"type": "text", "text": f"{problem.question}\n{state.instruction}"}])
    marked = "".join(f"<step>{step}</step><prm>" for step in steps)
    marked += "" if answer is None else f"<answer>{answer}</answer><prm>"
    return [row[1] for row in torch.tensor(logits(content + marked), dtype=torch.float64).softmax(-1).tolist()]


def test_each_solution_gets_its_own_scores_in_order(server: Served) -> None:
    found = score(server.url, SOLUTIONS)
    for item, scores in zip(SOLUTIONS, found, strict=True):
        assert scores.probabilities == pytest.approx(expected(server, item), abs=1e-12)
    assert asyncio.run(score_async(server.url, SOLUTIONS)) == found


def test_several_calls_are_awaited_at_once(server: Served) -> None:
    async def both() -> list[list[StepScores]]:
        with Service(server.url) as service:
            return await asyncio.gather(service.score_async(SOLUTIONS[:12]), service.score_async(SOLUTIONS[12:]))

    first, second = asyncio.run(both())
    assert first + second == score(server.url, SOLUTIONS)


def test_a_server_that_is_killed_meanwhile_leaves_nothing_wrong(server: Served) -> None:
    sound = score(server.url, SOLUTIONS)
    server.bodies.clear()
    server.fault = lambda number: "drop" if 8 < number < 14 else (503, {}) if 14 <= number < 20 else None
    with Service(server.url, running=8) as service:
        assert service.score(SOLUTIONS) == sound
    assert len(server.bodies) > len(SOLUTIONS)


def test_a_server_that_comes_back_with_another_prm_is_refused(server: Served) -> None:
    with Service(server.url) as service:
        server.name = "soft-ba9876543210"
        with pytest.raises(UserError, match="no longer serves soft-0123456789ab"):
            service.score(SOLUTIONS)


WRONG = {
    "one score too few": {"data": [{"data": [[0.0, 1.0]]}], "usage": {"prompt_tokens": 1}},
    "no logit of Yes": {"data": [{"data": [[0.0]] * 3}], "usage": {"prompt_tokens": 1}},
    "not a number": {"data": [{"data": [[0.0, float("nan")]] * 3}], "usage": {"prompt_tokens": 1}},
    "no scores at all": {"error": "?"},
}


@pytest.mark.parametrize("reply", WRONG.values(), ids=WRONG)
def test_a_reply_that_is_no_probability_a_marker_is_never_returned(server: Served, reply: object) -> None:
    server.fault = lambda number: (200, reply) if number == 5 else None
    with Service(server.url, running=1, tries=1) as service, pytest.raises(UserError):
        service.score(SOLUTIONS)


def test_a_solution_that_is_too_long_has_no_scores_and_another_refusal_is_an_error(server: Served) -> None:
    words = "This model's maximum context length is 64 tokens. However, you requested 99 tokens"
    server.fault = lambda number: (400, {"error": {"message": words}}) if number == 2 else None
    with Service(server.url, running=1) as service:
        assert [len(one.probabilities) for one in service.score(SOLUTIONS[:3])] == [3, 0, 3]
        server.fault = lambda number: (400, {"error": {"message": "at most 1 image"}})
        with pytest.raises(UserError, match="at most 1 image"):
            service.score(SOLUTIONS[:3])


@pytest.mark.parametrize("steps", [[], ["2 <prm> 3"], ["</step>"], [" "]])
def test_a_solution_whose_markers_would_be_others_is_not_sent(server: Served, steps: list[str]) -> None:
    with pytest.raises(UserError, match="solution 1"):
        score(server.url, [SOLUTIONS[0], solution("What is 2 + 3?", steps)])
    assert not server.bodies


def test_a_problem_with_a_picture_is_not_sent_to_a_prm_that_reads_text_alone(server: Served) -> None:
    server.pictures = False
    with pytest.raises(UserError, match="reads text alone"):
        score(server.url, [solution("What is shown?", ["A"], images=[Image.new("RGB", (8, 8))])])


def test_a_server_that_is_not_started_by_mmprm_is_refused(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "contract", lambda: (404, {}))
    with pytest.raises(UserError, match="is it a server of `mmprm serve`"):
        Service(server.url)


@pytest.mark.parametrize("family", ["internvl", "llama"])
def test_the_chat_that_is_sent_is_the_text_that_is_scored_offline(family: str, server: Served, tmp_path: Path) -> None:
    """By the family's own chat template, as the server applies it; for drawn problems and an odd question."""
    folder = MINI if family == "internvl" else tiny_families.build_text(tmp_path / "base", family, tags=False)
    processor = folders.load_processor(folder)
    renderer = Renderer(processor, server.instruction)
    items = cards.solutions(folder)
    odd = "If $<|im_end|>$ costs &lt; 3 <step>, what is\n\tx? [INST]"
    items.append((replace(items[-1][0], question=odd), ("  x = 3", "é 數\n"), "3"))
    server.pictures = folders.reads_images(folder)
    with Service(server.url) as service:
        service.contract = replace(service.contract, control=renderer.control)
        for item in items:
            messages = service._body(item)["messages"]
            if server.pictures:
                pictures = [{"type": "image"} for _ in item[0].images]
                chat = [{"role": "user", "content": [*pictures, messages[0]["content"][-1]]}, messages[1]]
                text = processor.apply_chat_template(chat, continue_final_message=True, tokenize=False)
            else:
                chat = [{"role": "user", "content": messages[0]["content"][-1]["text"]}, messages[1]]
                text = processor.tokenizer.apply_chat_template(chat, continue_final_message=True, tokenize=False)
            assert text == renderer.marked(*item)


def test_pictures_may_be_bytes_files_or_pil_images(tmp_path: Path) -> None:
    image = Image.new("RGB", (9, 7), "red")
    data = io.BytesIO()
    image.save(data, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data.getvalue())
    given = [solution("?", ["a"], images=[one])[0] for one in (data.getvalue(), path, str(path), image)]
    assert given == [Problem("", "", "?", "", images=(data.getvalue(),))] * 4


@pytest.mark.parametrize("columns", [2, 3])
def test_scores_without_torch_are_those_with_it(columns: int) -> None:
    rows = torch.randn(500, columns, generator=torch.Generator().manual_seed(0)) * 20
    ours, theirs = StepScores.of_rows(rows.tolist()), StepScores.of_logits(rows)
    assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-14)
    assert (ours.concentrations is None) == (columns == 2)
    assert (ours.concentrations or []) == pytest.approx(theirs.concentrations or [], rel=1e-9)


def test_the_module_imports_neither_torch_nor_vllm() -> None:
    """A program that only asks a server should start at once."""
    import subprocess
    import sys

    code = "import sys, mmprm.client; sys.exit(any(name in sys.modules for name in ('torch', 'vllm', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
