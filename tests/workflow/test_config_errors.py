"""A wrong configuration or target ends the run before any job, and says what is wrong and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snake import Workflow, changed


def refused(workflow: Workflow, changes: Mapping[str, Any], *targets: str) -> str:
    """The message of a run that must not start."""
    done = workflow.run(*targets, config=changed(changes))
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "Traceback (most recent" not in said, said
    assert not (workflow.folder / "results").exists()
    return said


def test_every_wrong_key_type_and_value_is_told_at_once(workflow: Workflow) -> None:
    said = refused(
        workflow,
        {
            "prm.training.learning_rat": 1,
            "bench.n": "many",
            "labels.dev_share": 2,
            "bench.primary": "best",
            "sources.sft.families": ["circles"],
        },
    )
    assert "prm.training.learning_rat" in said and "learning_rate" in said  # what is allowed instead
    assert "bench.n" in said and "integer" in said and "'many'" in said
    assert "labels.dev_share" in said and "less than or equal to 1" in said and "got 2" in said
    assert "bench.primary" in said and "'mean_odds'" in said and "'best'" in said
    assert "families" in said and "circles" in said and "bars" in said


def test_a_benchmark_of_no_source_is_told_with_the_sources_there_are(workflow: Workflow) -> None:
    said = refused(workflow, {"benchmarks.test.source": "tset"})
    assert "benchmarks.test.source" in said and "'tset'" in said and "['curated', 'ood', 'pool', 'sft', 'test']" in said


def test_targets_of_a_variant_or_benchmark_that_is_not_configured_are_refused(workflow: Workflow) -> None:
    said = refused(workflow, {}, "results/small/prm/nope/manifest.json")
    assert "prm.variants" in said and "'nope'" in said and "['slow', 'soft']" in said
    said = refused(workflow, {}, "results/small/bench/nope/candidates.parquet")
    assert "benchmarks" in said and "'nope'" in said and "['ood', 'test']" in said


def test_a_missing_base_model_is_explained(workflow: Workflow) -> None:
    said = refused(workflow, {"policy.base": "models/none"})
    assert "policy.base" in said and "models/none" in said
    (workflow.folder / "models/mini-base/config.json").unlink()
    assert "snakemake mini_base" in refused(workflow, {})
