"""The house rules of rules, and that each calls a verb of `mmprm` with options that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
import yaml
from snake import ROOT, Workflow, changed

from mmprm.cli import app

STAGES = ["problems", "policy", "seeds", "annotation", "labels", "prm", "bench", "report"]
TEXTS = {path: path.read_text() for path in [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]}
RULES = {
    match[1]: match[2]
    for text in TEXTS.values()
    for match in re.finditer(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", text, re.M)
}
JOBS = {name: body for name, body in RULES.items() if "    shell:" in body}


def test_there_is_a_file_of_rules_for_each_stage() -> None:
    assert {path.stem for path in TEXTS} == {"Snakefile", "common", *STAGES}
    assert len(TEXTS[ROOT / "Snakefile"].splitlines()) <= 45


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_rule_is_short_has_a_log_a_benchmark_and_an_environment_and_calls_one_command(name: str) -> None:
    body = JOBS[name]
    assert len([line for line in body.splitlines() if line.strip()]) <= 26
    for directive in ("log", "benchmark", "conda", "params", "resources", "shell"):
        assert re.search(rf"^    {directive}:", body, re.M), directive
    assert "version=" in body
    assert len(re.findall(r'"mmprm ', body)) == 1
    # The plan's text is for who asked for it, and goes to the terminal.
    assert body.rstrip().endswith('{output} 2> {log}"' if name == "plan" else '> {log} 2>&1"')


@pytest.mark.parametrize("path", sorted(TEXTS), ids=lambda path: path.name)
def test_rules_hold_no_lambda_and_no_run_block(path: Path) -> None:
    assert not re.search(r"\blambda\b|^    run:", TEXTS[path], re.M)


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_rule_gives_its_verb_every_option_that_it_needs_and_none_that_it_lacks(name: str) -> None:
    command = "".join(re.findall(r'^        "(.*)"$', JOBS[name].split("    shell:")[1], re.M))
    verb = typer.main.get_command(app).commands[re.match(r"mmprm ([a-z-]+)", command)[1]]
    options = {flag: parameter.required for parameter in verb.params for flag in parameter.opts}
    given = set(re.findall(r"--[a-z]+", command))
    assert given <= set(options)
    assert {flag for flag, required in options.items() if required} <= given


def test_rules_name_environments_that_exist_and_install_a_lock() -> None:
    named = set(re.findall(r'"\.\./envs/(.*)\.yaml"', "".join(TEXTS.values())))
    assert named == {"cpu", "rollout", "train"}
    for name in named:
        assert yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"]
        lock = re.search(r"-r (envs/lock-\w+\.txt)", (ROOT / f"envs/{name}.post-deploy.sh").read_text())
        assert lock is not None and (ROOT / lock[1]).exists()


def test_every_stage_is_a_target(workflow: Workflow) -> None:
    plan = workflow.plan(*STAGES, "mini_base")
    assert {"write_report", "summarise", "train_prm", "annotate", "mini_base"} <= plan.rules
    assert not {"mini_base", "plan"} & workflow.plan().rules  # only when they are asked for


def test_the_cost_can_be_planned_before_it_is_spent(workflow: Workflow) -> None:
    plan = workflow.plan("plan")
    assert "results/small/plan.json" in plan.outputs
    assert not {"annotate", "sample_candidates", "train_prm"} & plan.rules
    # What the plan samples is in the journal of the annotation.
    annotation = workflow.plan("annotation")
    (work,) = set(re.findall(r"mmprm annotate .* --work (\S+)", annotation.text))
    assert re.findall(r"mmprm plan .* --work (\S+)", plan.text) == [work]


def test_a_dry_run_tells_each_jobs_reason_and_command(workflow: Workflow) -> None:
    plan = workflow.plan("policy")
    assert "reason: Missing output files: results/small/policy/manifest.json" in plan.text
    assert "mmprm train-policy --config results/small/config.json" in plan.text


def test_shards_make_jobs_and_a_shard_is_index_of_count(workflow: Workflow) -> None:
    plan = workflow.plan(config=changed({"shards.seeds": 3, "shards.bench": 2}))
    assert (plan.count("sample_seeds"), plan.count("annotate"), plan.count("sample_candidates")) == (3, 2, 4)
    assert "results/small/seeds/2-of-3/rollouts.parquet" in plan.outputs


@pytest.mark.parametrize(
    "file", ["workflow_config.yaml", *sorted(f"configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml"))]
)
def test_the_configurations_that_are_kept_can_be_planned(file: str, workflow: Workflow) -> None:
    config = yaml.safe_load((ROOT / file).read_text())
    for source in config["sources"].values():
        if "path" in source:
            (workflow.folder / source["path"]).parent.mkdir(parents=True, exist_ok=True)
            (workflow.folder / source["path"]).touch()
    base = workflow.folder / config["policy"]["base"]
    base.mkdir(parents=True, exist_ok=True)
    (base / "config.json").touch()
    plan = workflow.plan(config=config)
    # A file given with --configfile is the whole configuration: nothing of the default run is mixed in.
    assert plan.count("intake") == len(config["sources"])
    assert plan.count("train_prm") == len(config["prm"]["variants"])
    assert f"results/{config['run']}/report.html" in plan.outputs
