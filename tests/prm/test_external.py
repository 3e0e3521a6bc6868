"""Published PRMs as variants: each kind's scores are those of a straightforward forward pass of its class."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import tiny_qwen
import torch
from safetensors.torch import load_file, save_file
from training_fixtures import config_of

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, decode_image, write_problems
from mmprm.mini.problems import FAMILIES as DRAWN
from mmprm.mini.problems import generate
from mmprm.model.step_text import parse
from mmprm.prm.external import external_of, take_prm
from mmprm.prm.score_candidates import open_scorer, score_candidates
from mmprm.prm.step_scores import Item
from mmprm.report.sections.first_screen import first_screen
from mmprm.runtime.errors import UserError
from mmprm.workflow.terminal.watch import expected_jobs

SYSTEM = "Please reason step by step."
# As the cards of the published PRMs say, but for words that are tokens of the tiny tokenizers.
QWEN = {"kind": "two_class_head", "separator": "<extra_0>", "system": SYSTEM}
SHEPHERD = {"kind": "token_logits", "separator": " ки", "after": "\n", "positive": "Yes", "negative": "No"}
SHEPHERD |= {"step": "Step {number}: {step}", "answer": "Step: The answer is: {answer}"}
SKYWORK = {"kind": "value_head", "separator": "\n"}
VISUAL = {
    "kind": "token_logits",
    "separator": "<|im_end|>\n<|im_start|>assistant\n",
    "positive": "Yes",
    "negative": "No",
}
VISUAL |= {"after": "+<|im_end|>\n<|im_start|>user\n"}


def add_heads(folder: Path, heads: dict[str, torch.Tensor]) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(weights | heads, folder / "model.safetensors", metadata={"format": "pt"})


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.3


def qwen_math(folder: Path) -> Path:
    """As Qwen2.5-Math-PRM: Qwen2 with a head of two layers and a token that separates steps."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny_families.build_text(folder, "qwen2", tags=False)
    words, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    words.add_special_tokens({"additional_special_tokens": ["<extra_0>"]})
    model.resize_token_embeddings(len(words), mean_resizing=False)
    words.save_pretrained(folder)
    model.save_pretrained(folder)
    heads = {"score.0.weight": random(64, 64), "score.0.bias": random(64), "score.2.weight": random(2, 64, seed=2)}
    add_heads(folder, heads | {"score.2.bias": random(2)})
    return folder


def shepherd(folder: Path) -> Path:
    """As Math-Shepherd: a language model of the Llama family, without a chat template."""
    tiny_families.build_text(folder, "llama", tags=False)
    for file in folder.glob("*.jinja"):
        file.unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def skywork(folder: Path) -> Path:
    """As Skywork-o1-Open-PRM: Qwen2 with a head of one value."""
    tiny_families.build_text(folder, "qwen2", tags=False)
    add_heads(folder, {"v_head.summary.weight": random(1, 64), "v_head.summary.bias": random(1)})
    return folder


def visual(folder: Path) -> Path:
    """As VisualPRM: a model that reads pictures, asked turn by turn."""
    return tiny_qwen.build(folder, "qwen2_5_vl", tags=False)


KINDS = {"qwen": (qwen_math, QWEN), "shepherd": (shepherd, SHEPHERD), "skywork": (skywork, SKYWORK)}
KINDS |= {"visual": (visual, VISUAL)}


def problems(pictures: bool) -> list[Problem]:
    drawn = generate("sft", 3, list(DRAWN), seed=0)
    odd = [replace(drawn[0], problem_id="odd", question="What is {x} + é 數?", solution="<step>{x} is 5</step>")]
    return [one if pictures else replace(one, images=()) for one in drawn] + [replace(odd[0], images=())]


def items(pictures: bool) -> list[Item]:
    solved = [(one, parse(f"{one.solution}").steps or ("{x} is 5", "é = 7")) for one in problems(pictures)]
    return [(one, steps, answer) for one, steps in solved for answer in ("5", None)]


def written(kind: str, processor: Any, item: Item) -> list[str]:
    """What is read for each of its values: written out by hand, each its own text that ends at the separator."""
    problem, steps, answer = item
    question = "\n".join([problem.question, *(f"({chr(65 + i)}) {text}" for i, text in enumerate(problem.choices))])
    if kind == "shepherd":
        lines = [f"Step {number}: {step} ки" for number, step in enumerate(steps, 1)]
        lines += [] if answer is None else [f"Step: The answer is: {answer} ки"]
        return [f"{question}\n" + "\n".join(lines[:end]) for end in range(1, len(lines) + 1)]
    content: Any = question
    if kind == "visual":
        content = [*({"type": "image"} for _ in problem.images), {"type": "text", "text": question}]
    chat = [{"role": "system", "content": SYSTEM}] if kind == "qwen" else []
    chat.append({"role": "user", "content": content})
    prompt = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    parts = [*steps, *([] if answer is None else [answer])]
    if kind == "visual":
        asked = "<|im_end|>\n<|im_start|>assistant\n"
        told = f"{asked}+<|im_end|>\n<|im_start|>user\n"
        return [prompt + told.join(parts[:end]) + asked for end in range(1, len(parts) + 1)]
    end = "<extra_0>" if kind == "qwen" else "\n"
    return [prompt + "".join(part + end for part in parts[:number]) for number in range(1, len(parts) + 1)]


@torch.inference_mode()
def straightforward(kind: str, folder: Path, item: Item) -> list[float]:
    """Its values by plain transformers, a forward pass each: what stands at the last token."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

    if kind == "visual":
        processor = AutoProcessor.from_pretrained(folder)
        model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    else:
        processor = AutoTokenizer.from_pretrained(folder)
        family = AutoModelForCausalLM if kind == "shepherd" else AutoModel
        model = family.from_pretrained(folder).eval()
    heads = {name: weight.double() for name, weight in load_file(folder / "model.safetensors").items()}
    values = []
    for text in written(kind, processor, item):
        if kind == "visual":
            pictures = {"images": [[decode_image(one) for one in item[0].images]]} if item[0].images else {}
            inputs = processor(text=[text], **pictures, add_special_tokens=False, return_tensors="pt")
        else:
            inputs = processor(text, add_special_tokens=kind == "shepherd", return_tensors="pt")
        out = model(**inputs)
        if kind in ("shepherd", "visual"):
            words = getattr(processor, "tokenizer", processor)
            both = [words.encode(sign, add_special_tokens=False)[-1] for sign in ("Yes", "No")]
            values.append(out.logits[0, -1, both].double().softmax(-1)[0].item())
            continue
        last = out.last_hidden_state[0, -1].double()
        if kind == "skywork":
            values.append((heads["v_head.summary.weight"] @ last + heads["v_head.summary.bias"]).sigmoid().item())
        else:
            inner = (heads["score.0.weight"] @ last + heads["score.0.bias"]).relu()
            values.append((heads["score.2.weight"] @ inner + heads["score.2.bias"]).softmax(-1)[1].item())
    return values


def variant(path: Path, external: dict[str, Any], name: str = "theirs") -> Config:
    return config_of(
        Path("models/mini-base"), variants={"soft": {}, name: {"external": external | {"path": str(path)}}}
    )


@pytest.fixture
def taken(tmp_path: Path) -> Any:
    def take(path: Path, external: dict[str, Any]) -> tuple[Config, Path]:
        config = variant(path, external)
        take_prm(config, "theirs", tmp_path / "results/prm/theirs")
        return config, tmp_path / "results/prm/theirs"

    return take


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_a_straightforward_forward_pass(kind: str, taken: Any, tmp_path: Path) -> None:
    build, external = KINDS[kind]
    folder = build(tmp_path / "published")
    config, prm = taken(folder, external)
    scorer, asked = open_scorer(config, prm), items(kind == "visual")
    found = scorer.score(asked)
    for item, scores in zip(asked, found, strict=True):
        assert scores.probabilities == pytest.approx(straightforward(kind, folder, item), abs=2e-6)
    assert len({round(value, 4) for scores in found for value in scores.probabilities}) > 5
    assert scorer.prompt_tokens > 0


def test_one_that_reads_no_pictures_judges_the_text_and_says_so(
    taken: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scorer = open_scorer(*taken(skywork(tmp_path / "published"), SKYWORK))
    assert all(problem.images for problem, _, _ in items(pictures=True)[:6])
    assert scorer.score(items(pictures=True)) == scorer.score(items(pictures=False))
    scorer.close()
    assert (
        "published reads no pictures: of 3 problems with some it has judged the text alone" in capsys.readouterr().err
    )


def candidates(path: Path, asked: list[Problem]) -> Path:
    """Two candidates a problem, one of which cannot be read."""
    rows = []
    for problem in asked:
        steps = list(parse(problem.solution or "").steps) or ["a"]
        row = {"problem_id": problem.problem_id, "candidate": 0, "text": "", "steps": steps, "answer": "5"}
        row |= {"status": "ok", "verdict": "correct", "method": "", "n_tokens": 1, "finish_reason": "stop"}
        rows += [row, row | {"candidate": 1, "status": "malformed", "steps": [], "answer": None, "verdict": "unparsed"}]
    tables.write(path, rows, schemas.CANDIDATES)
    return path


def test_a_published_prm_fills_the_same_table_as_ours(taken: Any, tmp_path: Path) -> None:
    config, prm = taken(skywork(tmp_path / "published"), SKYWORK)
    asked = problems(pictures=False)
    write_problems(tmp_path / "problems.parquet", asked)
    given = candidates(tmp_path / "candidates.parquet", asked)
    score_candidates(config, prm, tmp_path / "problems.parquet", given, tmp_path / "scores.parquet")
    rows = tables.read_rows(tmp_path / "scores.parquet", schemas.SCORES)
    assert [len(row["probabilities"]) > 0 for row in rows] == [True, False] * len(asked)
    # A table of scores gives what it says, where it was made for these candidates.
    config, prm = taken(tmp_path / "scores.parquet", {"kind": "scores_file"})
    again = tmp_path / "again.parquet"
    score_candidates(config, prm, tmp_path / "problems.parquet", given, again)
    assert tables.read_rows(again, schemas.SCORES) == rows
    lines = tmp_path / "scores.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows if row["probabilities"]))
    config, prm = taken(lines, {"kind": "scores_file"})
    score_candidates(config, prm, tmp_path / "problems.parquet", given, again)
    assert tables.read_rows(again, schemas.SCORES) == rows


def test_a_table_of_other_candidates_or_with_gaps_is_refused(taken: Any, tmp_path: Path) -> None:
    asked = problems(pictures=False)
    write_problems(tmp_path / "problems.parquet", asked)
    given = candidates(tmp_path / "candidates.parquet", asked)
    rows = [{"problem_id": one.problem_id, "candidate": 0, "probabilities": [0.5]} for one in asked]
    path = tmp_path / "scores.parquet"
    for table, message in (
        (schemas.SCORES.with_metadata({"mmprm.candidates": "0" * 32}), "made for other candidates"),
        (schemas.SCORES, "1 probabilities for"),
    ):
        tables.write(path, rows, table)
        config, prm = taken(path, {"kind": "scores_file"})
        with pytest.raises(UserError, match=message):
            score_candidates(config, prm, tmp_path / "problems.parquet", given, tmp_path / "out.parquet")
    tables.write(path, rows[1:], schemas.SCORES)
    with pytest.raises(UserError, match="no scores of candidate 0"):
        score_candidates(config, prm, tmp_path / "problems.parquet", given, tmp_path / "out.parquet")
    path.write_text("{}")
    with pytest.raises(UserError, match="cannot be read"):
        taken(path, {"kind": "scores_file"})


MODELING = """
import os
open(os.environ["RAN"], "w").close()
import torch
from transformers import Qwen2Config, Qwen2Model, Qwen2PreTrainedModel


class Theirs(Qwen2PreTrainedModel):
    config_class = Qwen2Config

    def __init__(self, config):
        super().__init__(config)
        self.model = Qwen2Model(config)
        size = config.hidden_size
        self.score = torch.nn.Sequential(torch.nn.Linear(size, size), torch.nn.ReLU(), torch.nn.Linear(size, 2))
        self.post_init()

    def forward(self, input_ids, **_):
        return (self.score(self.model(input_ids).last_hidden_state),)
"""


def test_code_in_the_folder_is_run_only_where_it_is_asked_for(
    taken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = qwen_math(tmp_path / "published")
    (folder / "modeling_theirs.py").write_text(MODELING)
    settings = json.loads((folder / "config.json").read_text())
    settings["auto_map"] = {"AutoModel": "modeling_theirs.Theirs"}
    (folder / "config.json").write_text(json.dumps(settings))
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    asked = items(pictures=False)[:2]
    config, prm = taken(folder, QWEN)
    ours = open_scorer(config, prm).score(asked)
    assert not (tmp_path / "ran").exists()
    config, prm = taken(folder, QWEN | {"remote_code": True})
    theirs = open_scorer(config, prm).score(asked)
    assert (tmp_path / "ran").exists()
    for one, other in zip(ours, theirs, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=2e-6)


def test_what_is_no_prm_of_its_kind_is_refused(taken: Any, tmp_path: Path) -> None:
    folder = tiny_families.build_text(tmp_path / "published", "qwen2", tags=False)
    for external, message in (
        (QWEN, "needs weights score"),
        (SKYWORK | {"head": "lm_head"}, "needs weights lm_head"),
        (SHEPHERD | {"positive": "three words here"}, "are a token each"),
    ):
        config, prm = taken(folder, external)
        with pytest.raises(UserError, match=message):
            open_scorer(config, prm)
    config, prm = taken(skywork(tmp_path / "other"), SKYWORK | {"separator": "<|im_e", "after": "nd|>"})
    with pytest.raises(UserError, match="ends within a token"):
        open_scorer(config, prm).score(items(pictures=False)[:1])
    assert external_of(tmp_path / "other") is None


WRONG = {
    "no separator": {"kind": "value_head"},
    "no tokens": {"kind": "token_logits", "separator": "\n"},
    "tokens of another kind": {"kind": "value_head", "separator": "\n", "positive": "+", "negative": "-"},
    "no place for the step": SKYWORK | {"step": "Step {number}"},
}


@pytest.mark.parametrize("external", WRONG.values(), ids=WRONG)
def test_settings_that_do_not_go_together_are_refused(external: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError):
        variant(tmp_path, external)


def test_a_run_reads_its_own_configuration_of_an_external_variant_again(tmp_path: Path) -> None:
    config = variant(tmp_path / "theirs", SKYWORK)
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_an_external_variant_is_not_trained(tmp_path: Path) -> None:
    config = variant(tmp_path, SKYWORK)
    assert (config.prm.trained, config.prm.models) == (["soft"], ["soft", "theirs"])
    jobs = expected_jobs(config, tmp_path)
    assert (jobs["train_prm"], jobs["evaluate_prm"], jobs["score_candidates"]) == (1, 1, 2)
    facts = first_screen(config, tmp_path, [], [], [])["facts"]
    assert facts["PRM"] == "soft (soft labels), theirs (published)"
    file = {"external": {"kind": "scores_file", "path": "scores.parquet"}}
    several = config_of(tmp_path, variants={"soft": {}, "theirs": file}, replicates=2)
    assert several.prm.models == ["soft", "soft@1", "theirs"] and several.prm.step_models == ["soft", "soft@1"]
    with pytest.raises(UserError, match="a run trains at least one PRM"):
        config_of(tmp_path, variants={"theirs": file})
    with pytest.raises(UserError, match="an external PRM is not trained"):
        config_of(tmp_path, variants={"soft": {}, "theirs": file | {"batch_size": 8}})
    assert "external" not in config.prm.variants["soft"].model_dump()
