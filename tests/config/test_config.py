"""A wrong configuration ends before anything runs, and says the key, the value and what is allowed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmprm import config
from mmprm.config import training
from mmprm.config.section import Section
from mmprm.runtime.errors import UserError

GOOD: dict[str, Any] = {
    "run": "test",
    "sources": {
        "drawn": {"kind": "mini", "split": "sft", "size": 10, "families": ["bars"]},
        "k12": {"kind": "table", "path": "k12.json", "columns": {"image": "image_path"}},
    },
    "policy": {"base": "models/mini", "sources": ["drawn"]},
    "seeds": {"sources": ["drawn"]},
    "benchmarks": {"k12": {"source": "k12"}},
}


def changed(key: str, value: Any) -> dict[str, Any]:
    """GOOD with the value at a dotted key replaced."""
    values = copy.deepcopy(GOOD)
    section = values
    *path, last = key.split(".")
    for part in path:
        section = section.setdefault(part, {})
    section[last] = value
    return values


def message(values: Any) -> str:
    with pytest.raises(UserError) as raised:
        config.load(values)
    return str(raised.value)


def test_defaults_are_the_values_of_the_paper() -> None:
    loaded = config.load(GOOD)
    assert (loaded.annotation.k, loaded.annotation.max_searches, loaded.annotation.max_rollouts) == (16, 200, 1000)
    assert (loaded.annotation.alpha, loaded.annotation.beta, loaded.annotation.length_scale) == (0.5, 0.9, 2000)
    assert (loaded.sampling.temperature, loaded.sampling.top_p, loaded.sampling.top_k) == (1.0, 0.9, 50)
    assert (loaded.policy.training.learning_rate, loaded.policy.training.batch_size) == (4e-5, 128)
    assert (loaded.prm.training.learning_rate, loaded.prm.training.batch_size) == (4e-6, 512)
    assert (loaded.bench.n, loaded.bench.primary) == (16, "mean_odds")


def test_a_preset_sets_what_is_not_given_beside_it_and_is_resolved_once() -> None:
    loaded = config.load(changed("annotation", {"preset": "omegaprm", "max_rollouts": 500, "k": 4}))
    found = loaded.annotation
    assert (found.k, found.max_searches, found.max_rollouts, found.length_scale) == (4, 100, 500, 500)
    assert config.load(json.loads(loaded.model_dump_json())).annotation.length_scale == 500


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("annotation.preset", "other", "'mm_prm' or 'omegaprm'"),
        ("annotation.k", 0, "greater than or equal to 1"),
        ("annotation.k", "many", "a valid integer"),
        ("annotation.k", None, "a valid integer"),
        ("annotation.alpha", 1.5, "less than or equal to 1"),
        ("sampling.top_p", 0, "greater than 0"),
        ("bench.primary", "mean", "'mean_odds'"),
        ("engine.kind", "sglang", "'vllm' or 'transformers'"),
        ("prm.variants.soft.label", "fuzzy", "'soft', 'hard', 'counts' or 'outcome'"),
        ("run", "../elsewhere", "[A-Za-z0-9]"),
        ("sources.drawn.split", "train", "'test'"),
        ("sources.k12.kind", "hub", "'mini', 'table'"),
        ("sources.k12.columns.imgae", "imgae", "'image'"),
        ("sources.drawn.families", ["pies"], "'bars'"),
        ("policy.sources", ["elsewhere"], "['drawn', 'k12']"),
        ("benchmarks.k12.source", "elsewhere", "['drawn', 'k12']"),
        ("policy.training.learning_rate", float("inf"), "a finite number"),
        ("intake.max_image_pixels", 10**9, "less than or equal to"),
        ("annotation.kk", 3, "'max_searches'"),
        ("sources.k12.pth", "x", "'path'"),
        ("prm.variants.soft.labels", "soft", "'learning_rate'"),
        ("policy.training.learning_rates", 1, "'learning_rate'"),
        ("anotation", {"k": 3}, "'annotation'"),
        ("seeds.min_pass_rate", 1.5, "less than or equal to 1"),
        ("seeds.stop_confidence", 1, "less than 1"),
        ("seeds.blank_image", "keep", "'flag' or 'drop'"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(key: str, value: Any, allowed: str) -> None:
    said = message(changed(key, value))
    assert key in said
    shown = value[0] if isinstance(value, list) else value
    assert repr(shown) in said or str(shown) in said
    assert allowed in said


@pytest.mark.parametrize("source", ["drawn", "other", "same_file"])
@pytest.mark.parametrize("key", ["policy.sources", "seeds.sources"])
def test_a_benchmark_whose_problems_are_trained_on_is_refused(key: str, source: str) -> None:
    values = changed("benchmarks.bad.source", source)
    values["sources"]["other"] = {"kind": "mini", "split": "sft", "size": 2, "families": ["bars", "grid"]}
    values["sources"]["same_file"] = {"kind": "table", "path": "../data/pool.json", "limit": 3}
    values["sources"]["pool"] = {"kind": "table", "path": "../data/../data/pool.json"}
    section, name = key.split(".")
    values[section][name] = ["pool", "drawn"]
    assert f"benchmarks.bad.source: {source!r} shares problems with" in message(values)


def test_a_benchmark_that_is_curated_against_itself_is_refused_before_all_of_it_is() -> None:
    values = changed("sources.fit", {"kind": "curated", "sources": ["k12"]})
    values["sources"]["other"] = {"kind": "mini", "split": "test", "size": 2, "families": ["bars"]}
    values["benchmarks"] = {"k12": {"source": "k12"}, "other": {"source": "other"}}
    said = message(values)
    assert "sources.fit: it is made from 'k12', which is benchmark 'k12' too" in said
    assert "`against: ['other']`" in said
    values["sources"]["fit"]["against"] = ["other"]
    assert config.load(values).sources["fit"].against == ["other"]
    values["sources"]["fit"] |= {"against": None, "rules": {"in_benchmark": False}}
    config.load(values)


@pytest.mark.parametrize("url", ["ftp://host/v1", "http://me:hidden@host/v1", "https://host/v1?key=hidden"])
def test_an_address_with_a_secret_is_refused_without_quoting_it(url: str) -> None:
    said = message(changed("grading.judge", {"url": url, "model": "m"}))
    assert "grading.judge.url: not an address such as" in said and "hidden" not in said


def test_a_key_in_the_configuration_is_refused_without_quoting_it() -> None:
    said = message(
        changed("grading.judge", {"url": "http://host/v1", "model": "m", "tries": 0, "api_key": "sk-hidden"})
    )
    assert "grading.judge.api_key: there is no such key; allowed: ['max_concurrent', 'model'" in said
    assert "grading.judge.tries: Input should be greater than or equal to 1 (got 0)" in said
    assert "hidden" not in said


def test_there_is_no_judge_unless_one_is_named() -> None:
    assert config.load(GOOD).grading.judge is None


def test_labels_have_no_judge_unless_one_is_named_and_a_wrong_one_is_refused_without_quoting_a_key() -> None:
    assert config.load(GOOD).labels.consensus is None
    said = message(changed("labels.consensus", {"url": "http://host/v1", "model": "m", "api_key": "sk-hidden"}))
    assert "labels.consensus.api_key: there is no such key; allowed: ['images', 'kind'" in said and "hidden" not in said
    assert "labels.consensus: url: kind server needs the address" in message(
        changed("labels.consensus", {"model": "m"})
    )
    local = changed("labels.consensus", {"kind": "vllm", "model": "models/judge"})
    assert (
        config.load(local).labels.consensus
        == config.load(json.loads(config.load(local).model_dump_json())).labels.consensus
    )


def test_a_label_set_says_what_differs_from_the_runs_own_labels_also_when_it_is_read_back() -> None:
    values = changed("labels", {"max_positive_ratio": None, "min_rollouts": 3, "sets": {"half": {"keep_ratio": 0.5}}})
    values["prm"] = {"variants": {"soft": {}, "less": {"label_set": "half"}}}
    first = config.load(values)
    for found in (first.labels, config.load(json.loads(first.model_dump_json())).labels):
        assert found.of(None) is found and found.changed("half") == {"keep_ratio": 0.5}
        half = found.of("half")
        assert (half.max_positive_ratio, half.min_rollouts, half.keep_ratio) == (None, 3, 0.5)
    values["prm"]["variants"]["less"]["label_set"] = "hlaf"
    assert "prm.variants.less.label_set: there is no 'hlaf'; allowed: ['half']" in message(values)
    assert "labels.sets.half.dev_share: there is no such key" in message(
        changed("labels", {"sets": {"half": {"dev_share": 0.5}}})
    )


def test_every_key_has_a_description() -> None:
    """But `kind`, which chooses a class that has one, and those of sections for verbs without a run."""

    def sections(cls: type[Section]) -> list[type[Section]]:
        return [cls] + [found for sub in cls.__subclasses__() for found in sections(sub)]

    bare = {
        f"{section.__name__}.{name}"
        for section in sections(Section)
        for name, field in section.model_fields.items()
        if section.__module__ != "mmprm.config.offline" and name != "kind" and not field.description
    }
    assert not bare


def test_every_wrong_key_is_named_at_once() -> None:
    values = changed("annotation.k", 0) | {"seed": -1}
    said = message(values)
    assert "annotation.k" in said and "seed" in said and len(said.splitlines()) == 3


def test_a_variant_says_what_differs_from_the_training_and_null_switches_adapters_off() -> None:
    values = changed("prm.training", {"learning_rate": 1e-5, "epochs": 3, "lora": {"rank": 8}})
    values["prm"]["packing"] = "trees"
    values["prm"]["variants"] = {
        "soft": {},
        "whole": {"lora": None, "epochs": 1},
        "thin": {"lora": {"rank": 2}, "packing": "paths", "learning_rate": 1e-3},
    }
    first = config.load(values)
    again = config.load(json.loads(first.model_dump_json()))
    for prm in (first.prm, again.prm):  # what is not given is not given in the resolved file either
        soft, whole, thin = (prm.training_of(name) for name in ("soft", "whole", "thin"))
        assert soft == prm.training and soft.lora is not None and soft.lora.rank == 8
        assert (whole.lora, whole.epochs, whole.learning_rate) == (None, 1, 1e-5)
        assert thin.lora is not None and (thin.lora.rank, thin.epochs, thin.learning_rate) == (2, 3, 1e-3)
        assert [prm.packing_of(name) for name in prm.variants] == ["trees", "trees", "paths"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_size", 8),
        ("batch_labels", None),
        ("max_steps", None),
        ("weight_decay", 0),
        ("warmup_share", 0.2),
        ("freeze_vision", False),
        ("precision", "fp32"),
        ("keep_best", True),
        ("micro_batch_size", 1),
        ("deepspeed", "zero1"),
    ],
)
def test_a_variant_may_override_any_key_of_the_training_and_is_written_with_it_alone(key: str, value: Any) -> None:
    values = changed("prm.training", {"learning_rate": 1e-5, "batch_labels": 64, "max_steps": 9})
    values["prm"]["variants"] = {"soft": {}, "other": {key: value}}
    first = config.load(values)
    written = json.loads(first.model_dump_json())
    as_before = ("label", "learning_rate", "epochs", "max_paths_per_problem", "packing", "label_set")
    assert tuple(written["prm"]["variants"]["soft"]) == as_before
    assert tuple(written["prm"]["variants"]["other"]) == (*as_before, key)
    for prm in (first.prm, config.load(written).prm):
        assert prm.training_of("soft") == prm.training
        assert dict(prm.training_of("other")) == dict(prm.training) | {key: value}


def test_replicates_are_further_trainings_of_each_variant_with_seeds_of_their_own() -> None:
    values = changed("prm", {"variants": {"soft": {"epochs": 3}, "hard": {"label": "hard"}}, "replicates": 3})
    for prm in (config.load(values).prm, config.load(json.loads(config.load(values).model_dump_json())).prm):
        assert prm.models == ["soft", "soft@1", "soft@2", "hard", "hard@1", "hard@2"]
        assert list(prm.variants) == ["soft", "hard"], "what users name"
        assert prm.training_of("soft@2") == prm.training_of("soft") and prm.training_of("soft@2").epochs == 3
        assert prm.recipe_of("hard@1").label == "hard" and prm.packing_of("hard@1") == "paths"
    assert config.load(GOOD).prm.models == ["soft"], "one by default"
    assert (training.split_model("soft"), training.split_model("soft@12")) == (("soft", 0), ("soft", 12))
    seeds = {training.training_seed(seed, number) for seed in range(30) for number in range(30)}
    assert training.training_seed(7, 0) == 7 and len(seeds) == 900 and max(seeds) < 2**32
    assert training.training_seed(0, 1) == 2432666440, "that of a finished run: never another"


@pytest.mark.parametrize("name", ["soft@1", "soft@", "@1"])
def test_no_variant_has_the_name_of_a_replicate(name: str) -> None:
    assert f"prm.variants.{name}" in message(changed("prm.variants", {name: {}}))
    assert "prm.replicates: Input should be greater than or equal to 1" in message(changed("prm.replicates", 0))


def test_a_variant_may_not_set_to_null_what_has_no_null() -> None:
    assert "prm.variants.soft.weight_decay: Input should be a valid number" in message(
        changed("prm.variants.soft.weight_decay", None)
    )


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("policy.training", {"learning_rate": 1, "keep_best": True}, "policy: training.keep_best: the policy has no"),
        ("policy.training", {"learning_rate": 1, "lora": {}, "freeze_vision": False}, "lora: adapters are in the"),
        ("policy.training", {"learning_rate": 1, "lora": {}, "deepspeed": "zero3"}, "set deepspeed to zero2 or zero1"),
        (
            "prm",
            {"training": {"learning_rate": 1, "deepspeed": "zero3"}, "variants": {"thin": {"lora": {}}}},
            "prm: variants.thin: lora: adapters cannot be merged",
        ),
        ("prm.variants.soft.lora", {"rnk": 1}, "prm.variants.soft.lora.rnk: there is no such key; allowed: ['alpha'"),
    ],
)
def test_settings_that_would_be_ignored_or_do_not_go_together_are_refused(key: str, value: Any, said: str) -> None:
    assert said in message(changed(key, value))


def test_bounds_between_which_no_pass_rate_lies_are_refused() -> None:
    bounds = {"sources": ["drawn"], "rollouts": 4, "min_pass_rate": 0.3, "max_pass_rate": 0.4}
    assert "seeds: min_pass_rate: no number of right rollouts of 4, except none and all, is a share from 0.3 to" in (
        message(changed("seeds", bounds))
    )
    assert config.load(changed("seeds", bounds | {"rollouts": 3})).seeds.min_pass_rate == 0.3


def test_off_switches_the_blank_picture_off_as_yaml_reads_it() -> None:
    for written in ("off", "'off'", "null"):
        values = yaml.safe_load(f"{{sources: [drawn], blank_image: {written}}}")
        assert config.load(changed("seeds", values)).seeds.blank_image is None


def test_yes_is_not_read_as_the_number_one() -> None:
    assert "k is True" in message(changed("annotation.k", True))
    assert config.load(changed("policy.training", {"learning_rate": 1, "freeze_vision": False})).policy


def test_a_float_that_yaml_reads_as_a_text_is_a_number() -> None:
    values = yaml.safe_load("learning_rate: 4e-5")
    assert values == {"learning_rate": "4e-5"}
    assert config.load(changed("policy.training", values)).policy.training.learning_rate == 4e-5


@pytest.mark.parametrize("key", ["run", "sources", "policy", "seeds", "benchmarks"])
def test_a_key_without_a_default_is_asked_for(key: str) -> None:
    said = message({name: value for name, value in GOOD.items() if name != key})
    assert f"{key}: this key is needed" in said


@pytest.mark.parametrize("values", [None, [], "run: x"])
def test_what_is_no_mapping_is_refused_in_words(values: Any) -> None:
    assert "dictionary" in message(values)


def test_the_resolved_configuration_reads_back_as_itself(tmp_path: Path) -> None:
    loaded = config.load(GOOD)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(loaded.model_dump(mode="json")))
    assert config.read(path) == loaded


def test_a_missing_or_torn_resolved_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        config.read(tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"run": ')
    with pytest.raises(UserError, match=r"config\.json: not JSON"):
        config.read(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("engine.api_key", "correct-horse"),
        ("engine.API-Token", "correct-horse"),
        ("engine.server", {"address": "here", "Password": "correct-horse"}),
        ("engine.servers", [{"auth": {"user": "correct-horse"}}]),
        ("engine.address", "https://me:correct-horse@host/v1"),
        ("judge", "sk-correct-horse"),
        ("grading.judging", {"model": "correct4horse4battery4staple"}),
    ],
)
def test_a_secret_under_whatever_key_is_not_printed(key: str, value: Any) -> None:
    said = message(changed(key, value))
    assert key.partition(".")[0] in said
    assert "correct" not in said
