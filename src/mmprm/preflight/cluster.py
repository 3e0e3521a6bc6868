"""Partitions of a SLURM cluster. In: what jobs ask for. Out: findings: one is not there, or ends jobs too early."""

import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass

from mmprm.preflight.findings import Finding, found


@dataclass(frozen=True)
class Asked:
    """What a rule's jobs ask for: partition (None: the cluster's default) and minutes."""

    rule: str
    stage: str | None
    partition: str | None
    minutes: float | None


def partition_findings(asked: Collection[Asked]) -> list[Finding]:
    """Compare what jobs ask for with what `sinfo` lists; nothing where it gives no answer."""
    limits = _limits() if asked else {}
    if not limits:
        return []
    findings = []
    for job in asked:
        name = job.partition or next((key for key in limits if key.endswith("*")), None)
        limit = limits.get(str(name), limits.get(f"{name}*", -1.0))
        stages = (job.stage,) if job.stage else ()
        known = ", ".join(key.rstrip("*") for key in limits)
        if name is not None and limit == -1.0:
            text = f"there is no partition {name!r}; the cluster has {known}"
            findings.append(found("default-resources.slurm_partition (slurm/config.yaml)", text, *stages))
        elif limit is not None and limit >= 0 and job.minutes and job.minutes > limit:
            text = (
                f"{job.minutes:.0f} minutes, but {str(name).rstrip('*')} ends jobs after {limit:.0f}; lower it: a job "
                "that is ended is tried again, and goes on from its checkpoint or journal"
            )
            findings.append(found(f"set-resources.{job.rule}.runtime (slurm/config.yaml)", text, *stages))
    return findings


def _limits() -> dict[str, float | None]:
    """Map partitions (the default one's name ends with *) to the minutes that a job may take; None: any."""
    try:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%P|%l"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    listed = [line.strip().split("|") for line in done.stdout.splitlines() if "|" in line]
    return {name.strip(): minutes_of(limit.strip()) for name, limit in listed}


def minutes_of(text: str) -> float | None:
    """Read SLURM's times: 30, 30:00, 2:00:00, 1-00:00:00; None for infinite and what is no time."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        return None
    days, first, second, third = (int(part) if part else None for part in match.groups())
    if days is not None or third is not None:  # hours first
        return (days or 0) * 1440 + (first or 0) * 60 + (second or 0) + (third or 0) / 60
    return (first or 0) + (second or 0) / 60
