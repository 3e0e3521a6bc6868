"""Published PRMs in the workflow: what they add to a finished run."""

from __future__ import annotations

import re
from typing import Any

from snake import Workflow, changed

THEIRS: dict[str, Any] = {"external": {"kind": "value_head", "path": "models/theirs", "separator": "\n"}}
CRITIC = {"external": {"kind": "critic", "critic": {"url": "http://127.0.0.1:9/v1", "model": "judge"}}}
SCORES = {"external": {"kind": "scores_file", "path": "models/scores.parquet"}}


def test_published_prms_are_ranked_beside_ours_and_nothing_is_trained_again(finished: Workflow) -> None:
    (finished.folder / "models/theirs").mkdir(exist_ok=True)
    (finished.folder / "models/theirs/config.json").write_text("{}")
    (finished.folder / "models/scores.parquet").write_text("")
    config = changed(
        {
            "prm.variants.theirs": THEIRS,
            "prm.variants.table": SCORES,
            "preflight": "warn",
            "prm.variants.critic": CRITIC,
        }
    )
    plan = finished.plan(config=config)
    assert plan.rules == {"take_prm", "score_candidates", "measure", "summarise", "write_report"}
    assert (plan.count("take_prm"), plan.count("score_candidates"), plan.count("measure")) == (3, 3 * 2, 3 * 2)
    (command,) = re.findall(r"mmprm take-prm .*--variant theirs .*", plan.text)
    assert "--out results/small/prm/theirs/manifest.json" in command
    assert "results/small/prm/theirs.heldout.json" not in plan.outputs
    critic = plan.text.partition("--prm results/small/prm/critic/manifest.json")[0].rpartition("rule score_candidates")[
        2
    ]
    assert "gpu=0" in critic  # it is on a server


def test_a_published_prm_that_is_not_there_stops_the_run_at_its_start(workflow: Workflow) -> None:
    absent = {"external": {**THEIRS["external"], "path": "models/absent"}}
    done = workflow.run("-n", config=changed({"prm.variants.theirs": absent}))
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "prm.variants.theirs.external.path" in said and "models/absent/config.json: no such file" in said
