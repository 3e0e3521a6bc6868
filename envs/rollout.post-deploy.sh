#!/usr/bin/env bash
# Run by Snakemake in the new environment, from the folder that holds the workflow.
set -euo pipefail
bash scripts/install.sh gpu python
