"""What slurm/config.yaml says of rules, and that what it says of several nodes gives a rule these nodes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cluster
import pytest
import yaml

ROOT = Path(__file__).parents[2]

SNAKEFILE = """\
rule train_policy:
    output:
        "nodes",
    threads: 8
    resources:
        mem_mb=16000,
        gpu=1,
    shell:
        "{python} -c '"
        "import os; from mmprm.training import nodes; where = nodes.allocation(os.environ); "
        "print(*where.hosts, where.cpus, os.environ[\\"CUDA_VISIBLE_DEVICES\\"])' > {{output}}"
"""


# What the head of the profile has as examples, and what there is on the cluster of these tests.
PLACE = {"slurm_partition: gpu": "urgent", "slurm_account: my-account": "main", "constraint: h100": "large"}


@pytest.mark.slow
@pytest.mark.heavy
def test_the_profile_gives_a_training_several_nodes_where_its_head_says(slurm: Path, tmp_path: Path) -> None:
    before, rule, after = (ROOT / "slurm/config.yaml").read_text().partition("  train_policy:\n")
    lead, block = after.split("    # nodes: 2\n")
    several, following, rest = block.partition("  tag:\n")
    several = "    # nodes: 2\n" + several
    for example, value in PLACE.items():
        assert before.count(f"  # {example}\n") == 1
        before = before.replace(f"# {example}", f"{example.split()[0]} {value}")
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm/config.yaml").write_text(
        before + rule + lead + several.replace("    # ", "    ") + following + rest
    )
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(python=sys.executable))
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm"]
    command += ["--slurm-init-seconds-before-status-checks", "3", "--seconds-between-status-checks", "3"]
    variables = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=cluster.environment(slurm) | variables,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    columns = ("sacct", "-X", "-n", "-P", "-o", "Comment,Partition,Account,Constraints,Timelimit,ReqMem")
    rows = [line.split("|") for line in cluster.command(slurm, *columns).splitlines()]
    assert ["rule_train_policy", *PLACE.values(), "2-00:00:00", "250G"] in rows  # of both nodes
    # Inside its job Snakemake cuts threads to the cores that it may use: here one.
    assert (tmp_path / "nodes").read_text().split() == ["n1", "n2", "1", "0,1,2,3,4,5,6,7"]


def test_every_rule_that_needs_a_gpu_has_time_and_memory_of_its_own_in_the_profile() -> None:
    text = "".join(path.read_text() for path in sorted((ROOT / "rules").rglob("*.smk")))
    bodies = dict(re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", text, re.M))
    need = {name for name, body in bodies.items() if re.search(r"^        gpu=", body, re.M)}
    own = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())["set-resources"]
    assert need <= set(own) <= set(bodies)
    assert all("attempt" in str(value) for rule in own.values() for value in rule.values())
