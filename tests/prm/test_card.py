"""The PRM's card: its snippets, run as they stand by plain libraries, say what we say; and what the hub reads of it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import prm_cards as cards
import pytest
import yaml
from prm_cards import FAMILIES, LIMITS, Reader, largest
from training_fixtures import config_of

from mmprm.config.publish import Publish
from mmprm.hub.front_matter import model_front_matter
from mmprm.model import folders

HEAVY = pytest.mark.heavy


@pytest.fixture(scope="module")
def prm(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a PRM of a family, once."""

    @functools.cache
    def build(family: str, dtype: str = "float32", label: str = "soft") -> Path:
        return cards.build(tmp_path_factory.mktemp(family) / "prm", family, dtype, label)

    return build


@pytest.fixture(scope="module")
def transformers() -> Iterator[Reader]:
    with Reader("transformers") as reader:
        yield reader


@pytest.fixture(scope="module")
def vllm() -> Iterator[Reader]:
    with Reader("vllm") as reader:
        yield reader


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=HEAVY)])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_snippet_for_transformers_says_what_we_say(
    family: str, dtype: str, prm: Any, transformers: Reader, tmp_path: Path
) -> None:
    ours = cards.expected(prm(family, dtype), dtype)
    found = transformers.score(prm(family, dtype), "transformers", tmp_path)
    assert largest(found, ours) <= LIMITS[dtype]
    assert len({round(value, 3) for row in ours for value in row}) > 5, "the model does not say one thing only"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=HEAVY)])
@pytest.mark.parametrize("family", ["internvl", *(pytest.param(name, marks=HEAVY) for name in list(FAMILIES)[1:])])
def test_the_snippet_for_vllm_says_what_we_say(family: str, dtype: str, prm: Any, vllm: Reader, tmp_path: Path) -> None:
    """With no option that names the head: config.json does. Before, vLLM's head was random."""
    ours = cards.expected(prm(family, dtype), dtype)
    assert largest(vllm.score(prm(family, dtype), "vllm", tmp_path), ours) <= LIMITS[dtype]


@pytest.mark.slow
@HEAVY
def test_the_snippet_for_vllm_reads_a_prm_of_counts(prm: Any, vllm: Reader, tmp_path: Path) -> None:
    folder = prm("internvl", label="counts")
    assert largest(vllm.score(folder, "vllm", tmp_path), cards.expected(folder)) <= LIMITS["float32"]


@pytest.mark.slow
@HEAVY
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_server_of_the_cards_line_tells_the_cards_client_what_we_say(
    family: str, dtype: str, prm: Any, tmp_path: Path
) -> None:
    folder = prm(family, dtype)
    with cards.served(folder, tmp_path / "server") as url, Reader("json") as client:
        found = client.score(folder, "client", tmp_path / "client", url)
    assert largest(found, cards.expected(folder, dtype)) <= LIMITS[dtype]


@pytest.mark.slow
@HEAVY
def test_vllm_refuses_a_prm_whose_output_layer_it_does_not_find(prm: Any) -> None:
    """It would read random rows, whatever its options."""
    from mmprm.engine.vllm_engine import set_environment

    set_environment("cpu")
    from vllm.engine.arg_utils import EngineArgs

    folder = prm("idefics3")
    assert "Not possible: vLLM does not find the output layer of idefics3" in (folder / "README.md").read_text()
    assert set(cards.blocks(folder)) == {"transformers"}
    with pytest.raises(Exception, match="use_transformers not supported"):
        EngineArgs(str(folder), runner="pooling", convert="classify", enforce_eager=True).create_engine_config()


def test_config_json_names_the_head_and_loads_as_before(prm: Any) -> None:
    folder = prm("qwen2_5_vl")
    named = json.loads((folder / "config.json").read_text())["text_config"]
    assert (named["method"], named["classifier_from_token"]) == ("no_post_processing", ["No", "Yes"])
    assert folders.ties_embeddings(folder) == folders.ties_embeddings(folder.with_name("prm-base"))
    counts = json.loads((prm("internvl", label="counts") / "config.json").read_text())["text_config"]
    assert counts["classifier_from_token"] == ["No", "Yes", "<prm>"]


def front(config: Any, kind: Any = "prm") -> dict[str, Any]:
    """The front matter of a model's card, parsed."""
    found: dict[str, Any] = yaml.safe_load(model_front_matter(config, kind, True).strip("-\n"))
    return found


def test_the_front_matter_says_what_the_hub_asks(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--OpenGVLab--InternVL3-2B-hf/snapshots/0a1b"
    snapshot.mkdir(parents=True)
    (snapshot / "README.md").write_text("---\nlicense: apache-2.0\n---\n# InternVL3\n")
    config = config_of(snapshot)
    table = {"kind": "table", "repo": "AI4Math/MathVista", "revision": "0" * 40, "licence": "cc-by-sa-4.0"}
    config = type(config).model_validate(
        config.model_dump(mode="json") | {"sources": config.model_dump(mode="json")["sources"] | {"mini": table}}
    )
    found = front(config)
    assert (found["base_model"], found["base_model_relation"]) == ("OpenGVLab/InternVL3-2B-hf", "finetune")
    assert found["datasets"] == ["AI4Math/MathVista"] and found["language"] == ["en"]
    assert found["license"] == ["apache-2.0", "cc-by-sa-4.0"]
    assert (found["library_name"], found["pipeline_tag"]) == ("transformers", "image-text-to-text")
    assert {"process-reward-model", "reward-model"} <= set(found["tags"])
    assert "process-reward-model" not in front(config, "policy")["tags"]


def test_a_base_of_unknown_licence_makes_the_models_licence_unknown(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert front(config)["license"] == "unknown" and "base_model" not in front(config)
    (tmp_path / "README.md").write_text("---\nlicense: [not: closed\n---\n")
    assert front(config)["license"] == "unknown"
    said = config.model_copy(update={"publish": Publish(base_model="someone/model", base_licence="mit")})
    assert front(said)["base_model"] == "someone/model"
    assert front(said)["license_name"] == "drawn-here-mit"
