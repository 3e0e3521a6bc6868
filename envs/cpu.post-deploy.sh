#!/usr/bin/env bash
# Run by Snakemake in the new environment, from the folder that holds the workflow.
set -euo pipefail
bash scripts/install_lock.sh cpu python
python -m pip install --no-deps --no-build-isolation -e .
python -m mmprm.model.torchvision_import
