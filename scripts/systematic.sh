#!/usr/bin/env bash
# Run the mini world at each share of wrong solutions, and draw what choosing and voting make of it (docs/systematic.md).
#   scripts/systematic.sh [BENCHMARK] [further configuration files, as overlays/replicates.yaml]
set -euo pipefail
cd "$(dirname "$0")/.."

benchmark=${1:-dev}
shift || true
runs=()
for share in 0 20 40 60; do
    snakemake --cores "${CORES:-all}" \
        --configfile workflow_config.yaml configs/overlays/{evidence,systematic}.yaml "$@" \
        --config "run=systematic_$share" "sources={sft: {wrong_routes: 0.$(printf %02d "$share")}}"
    runs+=("results/systematic_$share")
done
python docs/systematic_page.py --benchmark "$benchmark" "${runs[@]}"
