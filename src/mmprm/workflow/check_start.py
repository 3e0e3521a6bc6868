"""The check of a run before its first job. In: the configuration, and Snakemake's workflow. Out: warnings."""

from typing import Any

from mmprm.config import Config
from mmprm.preflight.cluster import Asked, partition_findings
from mmprm.preflight.examine import STAGES, at_start


def check_start(config: Config, workflow: Any) -> list[str]:
    """Check the stages that have jobs to run; UserError lists what is missing or will not fit, unless only warned of.

    On a cluster what counts of the hardware is what the configuration names, and the jobs' partitions are looked up.
    """
    executor = workflow.executor_plugin.name
    if not workflow.is_main_process or executor == "touch":  # which runs no job
        return []
    jobs = {job.rule.name: job for job in workflow.dag.needrun_jobs()}  # one of each rule tells
    asked = []
    if executor == "slurm":
        for name, job in jobs.items():
            resources = job.resources
            asked.append(Asked(name, STAGES.get(name), resources.get("slurm_partition"), resources.get("runtime")))
    return at_start(config, jobs, here=executor == "local", more=partition_findings(asked))
