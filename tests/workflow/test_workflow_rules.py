"""The house rules of rules, and that each calls a verb of `mmprm` with options that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
import yaml
from snake import ROOT, Workflow, changed

from mmprm.cli import app
from mmprm.config import load

OVERLAY = ROOT / "configs/overlays/ablations.yaml"
STAGES = ["problems", "policy", "seeds", "annotation", "labels", "prm", "bench", "report"]
TEXTS = {path: path.read_text() for path in [ROOT / "Snakefile", *sorted((ROOT / "rules").rglob("*.smk"))]}
RULES = {
    match[1]: match[2]
    for text in TEXTS.values()
    for match in re.finditer(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", text, re.M)
}
JOBS = {name: body for name, body in RULES.items() if "    shell:" in body}


def test_there_is_a_file_of_rules_for_each_stage() -> None:
    assert {path.stem for path in TEXTS} == {
        "Snakefile",
        "common",
        "ablations",
        "consensus",
        "curation",
        "guided",
        "pages",
        "remote",
        "sealed",
        "tagging",
        *STAGES,
    }
    assert len(TEXTS[ROOT / "Snakefile"].splitlines()) <= 45


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_rule_is_short_has_a_log_a_benchmark_and_an_environment_and_calls_one_command(name: str) -> None:
    docstring, body = JOBS[name].split("\n", 1)
    assert re.fullmatch(r'    """[A-Z].*\."""', docstring), "what `snakemake --list` prints"
    assert len([line for line in body.splitlines() if line.strip()]) <= 28
    for directive in ("log", "benchmark", "conda", "params", "resources", "shell"):
        assert re.search(rf"^    {directive}:", body, re.M), directive
    assert "version=" in body
    assert len(re.findall(r'"mmprm ', body)) == 1
    # The plan's text is for who asked for it, and goes to the terminal.
    assert body.rstrip().endswith('{output:q} 2> {log:q}"' if name == "plan" else '> {log:q} 2>&1"')


def test_targets_have_a_docstring_and_final_artefacts_are_in_the_report_of_snakemake() -> None:
    assert all(body.startswith('    """') for body in RULES.values())
    reported = {name for name, body in JOBS.items() if "report(" in body.split("    log:")[0]}
    assert reported == {"write_report", "write_data_card", "write_ablation", "write_sealed"}
    captions = set(re.findall(r'"(captions/.*?\.rst)"', "".join(TEXTS.values())))
    assert captions == {f"captions/{path.name}" for path in (ROOT / "rules/captions").iterdir()}


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
    named = set(re.findall(r'"(?:\.\./)+envs/(.*)\.yaml"', "".join(TEXTS.values())))
    assert named == {"cpu", "rollout", "train"}
    for name in named:
        assert yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"]
        lock = re.search(r"install_lock\.sh (\w+) python", (ROOT / f"envs/{name}.post-deploy.sh").read_text())
        assert lock is not None and (ROOT / f"envs/lock-{lock[1]}.txt").exists()


def test_every_stage_is_a_target(workflow: Workflow) -> None:
    plan = workflow.plan(*STAGES, "mini_base")
    assert {"write_report", "summarise", "train_prm", "annotate", "mini_base"} <= plan.rules
    assert not {"mini_base", "plan"} & workflow.plan().rules  # only when they are asked for


def test_ablations_train_their_variants_and_repeat_no_shared_stage(workflow: Workflow) -> None:
    """Policy, seeds, annotation, labels and candidates are made once, whatever the number of variants."""
    changes = {"prm.variants.hard": {"label": "hard"}, "ablations.labels": {"title": "x", "variants": ["soft", "hard"]}}
    plan = workflow.plan("ablations", config=changed(changes | {"ablations.labels.benchmarks": ["test"]}))
    assert "results/small/ablations/labels.html" in plan.outputs
    assert "results/small/ablations/labels.csv" in plan.outputs
    assert plan.count("train_prm") == plan.count("score_candidates") == plan.count("measure") == 2  # and not `slow`
    assert {plan.count(rule) for rule in ("train_policy", "select_seeds", "gather_labels", "sample_candidates")} == {1}
    assert not {"evaluate_prm", "write_report", "summarise"} & plan.rules


def test_pages_to_look_at_are_made_when_they_are_asked_for_and_of_one_variant(workflow: Workflow) -> None:
    plan = workflow.plan("trees", config=changed({"trees.variant": "slow"}))
    assert {"results/small/trees/trees.html", "results/small/trees/values/slow.parquet"} <= set(plan.outputs)
    assert plan.count("train_prm") == plan.count("score_trees") == 1 and "sample_candidates" not in plan.rules
    plan = workflow.plan("trees", config=changed({"trees.prm_values": False}))
    assert "write_trees" in plan.rules and not {"train_prm", "score_trees", "gather_labels"} & plan.rules
    plan = workflow.plan("candidates")
    assert plan.count("write_candidates") == 4, "two benchmarks and two variants"
    plan = workflow.plan("audit")
    assert "results/small/audit/audit.html" in plan.outputs and "train_prm" not in plan.rules


def test_without_ablations_the_target_says_how_to_have_some(workflow: Workflow) -> None:
    done = workflow.run("-n", "ablations")
    assert done.returncode != 0
    assert "ablations: the configuration names none" in done.stdout + done.stderr


def test_the_overlay_of_ablations_goes_over_the_default_run() -> None:
    """What it adds are variants, a development benchmark and comparisons: nothing that a finished run has changes."""
    overlay, default = (yaml.safe_load(path.read_text()) for path in (OVERLAY, ROOT / "workflow_config.yaml"))
    assert set(overlay) == {"labels", "prm", "benchmarks", "ablations"}
    assert set(overlay["prm"]) == {"variants"} and set(overlay["labels"]) == {"sets"}
    assert not set(overlay["prm"]["variants"]) & set(default["prm"]["variants"])
    default["prm"]["variants"] |= overlay["prm"]["variants"]
    default["benchmarks"] |= overlay["benchmarks"]
    default["labels"] |= overlay["labels"]
    config = load(default | {"ablations": overlay["ablations"]})
    assert {variant.label_set for variant in config.prm.variants.values()} == {None, *config.labels.sets}
    assert {name for one in config.ablations.values() for name in one.variants} == set(config.prm.variants)
    assert {bench for one in config.ablations.values() for bench in one.benchmarks or config.benchmarks} == {"dev"}


def test_label_quality_is_measured_where_problems_are_drawn(workflow: Workflow) -> None:
    assert "results/small/labels/quality.json" in workflow.plan("labels").outputs
    (workflow.folder / "data.jsonl").touch()
    source = {"kind": "table", "path": "data.jsonl"}
    assert "curate" in workflow.plan("labels").rules  # what is drawn is known behind a curated source too
    assert "measure_labels" not in workflow.plan("labels", config=changed({"sources.pool": source})).rules


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
    made = [
        source["kind"] for source in config["sources"].values() if source["kind"] in ("curated", "set_aside", "tagged")
    ]
    assert plan.count("intake") == len(config["sources"]) - len(made)
    assert plan.count("train_prm") == len(config["prm"]["variants"])
    assert f"results/{config['run']}/report.html" in plan.outputs
