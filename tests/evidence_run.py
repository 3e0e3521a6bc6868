"""The configuration that the published figures are of, merged from its files as Snakemake merges them."""

from pathlib import Path

import yaml
from snakemake.utils import update_config

from mmprm.config import Config, load

ROOT = Path(__file__).parents[1]


def evidence_run(*overlays: str) -> Config:
    """Return the default run with configs/overlays/evidence.yaml over it, and then further overlays by their names."""
    values = yaml.safe_load((ROOT / "workflow_config.yaml").read_text())
    for name in ("evidence", *overlays):
        update_config(values, yaml.safe_load((ROOT / f"configs/overlays/{name}.yaml").read_text()))
    return load(values)
