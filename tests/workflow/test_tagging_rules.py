"""Tagged sources in the workflow: made from others' tables, read by the policy, and remade when they must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from snake import Workflow, changed

RESULTS = "results/small"
MODEL = {"url": "http://127.0.0.1:9/v1", "model": "rewriter"}


def with_tagged(**tagged: Any) -> dict[str, Any]:
    """The small run, with its policy trained on a tagged source."""
    source = {"kind": "tagged", "sources": ["sft"], "by": "model", "model": MODEL} | tagged
    return changed({"sources.tagged": source, "policy.sources": ["tagged"]})


def job(text: str) -> str:
    """What a dry run says of the tagging."""
    return text.split("rule tag:")[1].split("\n\n", maxsplit=1)[0]


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A folder in which the policy of `with_tagged` is trained, as far as Snakemake knows."""
    workflow = Workflow(tmp_path_factory.mktemp("tagged"))
    plan = workflow.finish("policy", config=with_tagged())
    assert plan.rules == {"intake", "tag", "train_policy"}
    return workflow


def test_the_policy_reads_what_was_tagged_of_its_parents_tables(workflow: Workflow) -> None:
    plan = workflow.plan("policy", config=with_tagged())
    (tag,) = [" ".join(line.split()) for line in plan.text.splitlines() if "mmprm tag " in line]
    assert f"--source tagged --problems {RESULTS}/problems/sft.parquet --work {RESULTS}/work/tagging" in tag
    assert any("mmprm train-policy" in line and "problems/tagged.parquet" in line for line in plan.text.splitlines())
    assert f"{RESULTS}/problems/tagged.tagging.json" in plan.outputs
    assert "gpu=0" in job(plan.text)


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        ({"model": MODEL | {"url": "http://elsewhere:8000/v1", "max_concurrent": 3}}, set()),
        ({"model": MODEL | {"model": "another"}}, {"tag", "train_policy"}),
        ({"by": "rules"}, {"tag", "train_policy"}),
        ({"max_steps": 9}, {"tag", "train_policy"}),
    ],
)
def test_a_changed_tagging_trains_the_policy_anew_and_where_it_runs_changes_nothing(
    tagged: Workflow, change: dict[str, Any], runs: set[str]
) -> None:
    assert tagged.plan("policy", config=with_tagged(**change)).rules == runs


def test_a_local_model_takes_a_device(workflow: Workflow, tmp_path: Path) -> None:
    local = with_tagged(model={"kind": "vllm", "model": str(tmp_path)})
    assert "gpu=1" in job(workflow.plan("policy", config=local).text)


def test_solutions_are_tagged_for_real_by_their_own_target(workflow: Workflow) -> None:
    row = {"question": "What is 3 + 1?", "answer": "4"}
    raw = "<step>There are 3.</step><step>One more makes 4.</step><answer>{}</answer>"
    rows = [row | {"id": name, "solution": raw.format(said)} for name, said in (("right", 4), ("wrong", 5))]
    (workflow.folder / "raw.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    columns = {"solution": "solution", "image": ""}
    config = changed(
        {
            "sources.raw": {"kind": "table", "path": "raw.jsonl", "columns": columns},
            "sources.tagged": {"kind": "tagged", "sources": ["raw"]},
        }
    )
    done = workflow.run(f"{RESULTS}/problems/tagged.parquet", config=config)
    assert done.returncode == 0, done.stderr
    counts = json.loads((workflow.folder / RESULTS / "problems/tagged.tagging.json").read_text())
    assert counts["kept_by_method"] == {"tagged": 1} and counts["refused_by_reason"] == {"answer_differs": 1}
    assert "1 kept, 1 refused (1 answer_differs)" in (workflow.folder / RESULTS / "logs/tag/tagged.log").read_text()
