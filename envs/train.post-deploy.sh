#!/usr/bin/env bash
# Run by Snakemake in the new environment, from the folder that holds the workflow.
set -euo pipefail
pip install --quiet --no-deps -r envs/lock-gpu.txt
pip install --quiet --no-deps --no-build-isolation -e .
