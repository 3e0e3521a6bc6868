"""Params hold the settings that change a result, and nothing else; no Snakemake runs here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snake import changed

from mmprm.config import load
from mmprm.config.section import NO_RESULT, Section
from mmprm.runtime.errors import UserError
from mmprm.workflow.settings import Settings, chosen, flat


def settings(**changes: Any) -> Settings:
    return Settings(load(changed({key.replace("__", "."): value for key, value in changes.items()})))


def test_affects_names_the_version_and_every_leaf_below_the_keys() -> None:
    params = settings().affects("seed", "sampling", version=3)
    assert params == [
        *("version=3", "seed=0", "sampling.temperature=0.7", "sampling.top_p=1.0", "sampling.top_k=0"),
        "sampling.max_new_tokens=192",
    ]


def test_a_section_that_is_null_adds_no_param() -> None:
    assert settings().affects("grading.judge.identity", version=1) == ["version=1"]
    judge = {"url": "http://host/v1", "model": "judge"}
    assert settings(grading__judge=judge).affects("grading.judge.identity", version=1) == [
        "version=1",
        'grading.judge.identity="judge, prompt 1"',
    ]


def test_braces_of_a_value_are_doubled_since_snakemake_fills_in_wildcards() -> None:
    params = settings(prompt__instruction="Put it in {}.").affects("prompt", version=1)
    assert params[1] == 'prompt.instruction="Put it in {{}}."'


def test_fields_that_change_speed_alone_are_no_params() -> None:
    params = settings().affects("policy.training", version=1)
    free = {
        "micro_batch_size",
        "gradient_checkpointing",
        "save_every",
        "deepspeed",
        "gpus",
        "threads",
        "report_to",
        "loader_workers",
    }
    assert not any(param.split("=")[0].split(".")[-1] in free for param in params)
    assert "policy.training.learning_rate=0.002" in params


def test_dense_solutions_are_a_param_where_there_are_any_and_add_none_to_a_run_of_before() -> None:
    plain, dense = settings().config.annotation, settings(annotation__dense_solutions=2).config.annotation
    assert plain.dense == []
    assert dense.dense == ["annotation.dense_solutions=2"]
    rules = (Path(__file__).parents[2] / "rules" / "annotation.smk").read_text()
    assert rules.count("*CONFIG.annotation.dense,") == 2, "of the plan and of the annotation"


def test_only_known_fields_are_marked_as_no_result() -> None:
    """What is marked repeats nothing when it changes: a marked field that decides a result would leave stale tables."""

    def sections(cls: type[Section]) -> set[type[Section]]:
        return {cls}.union(*(sections(sub) for sub in cls.__subclasses__()))

    marked = {name for section in sections(Section) for name in section.no_results()}
    assert marked == {
        *("micro_batch_size", "gradient_checkpointing", "save_every", "deepspeed", "gpus", "report_to"),  # speed
        *("threads", "loader_workers"),  # speed
        *("licence", "judge_after"),  # a card; when a bad source stops
        *("weight", "consensus", "sets"),  # params of other rules
        "dense_solutions",  # a param of its own, see below
    }
    assert NO_RESULT == {"result": False}


def test_a_variants_recipe_is_the_training_with_its_overrides() -> None:
    run = settings(prm__variants__slow={"label": "hard", "weight_decay": 0, "max_paths_per_problem": 3})
    slow, soft = (run.variant(SimpleNamespace(variant=name)).split("; ") for name in ("slow", "soft"))
    assert set(slow) - set(soft) == {
        "training.weight_decay=0.0",
        'training.label="hard"',
        "training.max_paths_per_problem=3",
    }
    assert run.training(SimpleNamespace(variant="slow")).endswith('; prm.packing="paths"')


def test_credibility_is_a_param_only_of_a_variant_of_counts() -> None:
    run = settings(guided__less={"kind": "adaptive"}, prm__variants__slow={"label": "counts"})
    plain, counts = (run.strategy(SimpleNamespace(strategy="less", variant=name)) for name in ("soft", "slow"))
    assert "credibility" not in plain and "guided.less.credibility=0.9" in counts


def test_an_unknown_entry_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"prm\.variants: there is no 'nope' .* allowed: \['slow', 'soft'\]"):
        settings().variant(SimpleNamespace(variant="nope"))
    assert chosen(settings().config, "benchmarks", "test").source == "test"


def test_without_a_judge_the_consensus_has_no_settings() -> None:
    with pytest.raises(UserError, match=r"labels\.consensus: no judging model is configured"):
        settings().judge(SimpleNamespace())


def test_a_local_judge_is_known_by_its_folder_and_a_server_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    local = settings(labels__consensus={"kind": "vllm", "model": str(tmp_path)})
    before = local.judge(SimpleNamespace())
    (tmp_path / "config.json").write_text('{"other": 1}')
    assert "; weights=" in before and local.judge(SimpleNamespace()) != before
    server = settings(labels__consensus={"url": "http://host/v1", "model": "judge"})
    assert "weights" not in server.judge(SimpleNamespace()) and "host" not in server.judge(SimpleNamespace())


def test_values_are_written_as_json() -> None:
    assert list(flat("key", ["é", None, Path("a")])) == ['key=["é", null, "a"]']
