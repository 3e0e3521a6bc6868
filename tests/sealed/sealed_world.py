"""A small configuration with sealed tests, and a git repository in which claims are committed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from mmprm import config as configuration
from mmprm.config import Config

CLAIM: dict[str, Any] = {
    "variant": "soft",
    "trainings": 1,
    "primary": "mean_odds",
    "n": 4,
    "problems": 8,
    "bars": [{"metric": "bon_minus_majority/mean_odds", "above": 0.0}],
}


def values(**changes: Any) -> dict[str, Any]:
    """The values of a configuration with a drawn sealed test, and one that is a part of a table."""
    mini = {"kind": "mini", "size": 8, "families": ["bars", "table"]}
    return {
        "run": "small",
        "sources": {
            "sft": {**mini, "split": "sft"},
            "test": {**mini, "split": "test"},
            "sealed": {**mini, "split": "sealed"},
            "reserve": {"kind": "table", "path": "reserve.jsonl"},
            "part": {"kind": "sample", "of": "reserve", "size": 8},
        },
        "policy": {"base": "models/mini", "sources": ["sft"]},
        "seeds": {"sources": ["sft"]},
        "benchmarks": {"test": {"source": "test"}},
        "sealed": {"sealed": {"source": "sealed"}, "part": {"source": "part", "domain": "out_of_domain"}},
        "bench": {"n": 4, "resamples": 200},
        **changes,
    }


def loaded(**changes: Any) -> Config:
    return configuration.load(values(**changes))


def git(*arguments: str) -> str:
    """Run git in the working directory, as somebody."""
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    return subprocess.run(["git", *who, *arguments], text=True, capture_output=True, check=True).stdout


def register(tests: Any, commit: bool = True) -> Path:
    """Write a registration into the working directory, a git repository from now on, and commit it."""
    path = Path("evidence/registration.yaml")
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"tests": tests}))
    if not Path(".git").exists():
        git("init", "-q")
    if commit:
        git("add", str(path))
        git("commit", "-q", "-m", "claims")
    return path
