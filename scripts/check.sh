#!/usr/bin/env bash
# Every check, from the cheapest on. Run by `make test` and `make test-all`, which set up first. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
# Some hundred processes start below: without bytecode, each would compile anew whatever it imports.
unset PYTHONDONTWRITEBYTECODE

check() {
    echo "check: $*" >&2
    "$@"
}

check ruff check .
check ruff format --check .
check snakefmt --check --line-length 120 Snakefile rules
check hadolint containers/Dockerfile
check snakemake --lint --configfile workflow_config.yaml
for config in workflow_config.yaml configs/*.yaml; do
    check mmprm config "$config" >/dev/null
done
for overlay in configs/overlays/*.yaml; do
    check snakemake --lint --configfile workflow_config.yaml "$overlay"
done
check sphinx-build -q -W --keep-going -n docs docs/_build  # a link that leads nowhere is an error
check mypy
# Three files at a time: much of what they wait for is not the processor. Threads of one that spin while they wait for each
# other take the processor from the other: a training beside another was three times as slow for it.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=PASSIVE KMP_BLOCKTIME=0
# Lines that the tests' own processes reach, not those that they start. By slipcover: coverage.py's tracer takes two thirds
# as long again as the tests do.
covered=$(mktemp)
trap 'rm -f "$covered"' EXIT
# Not of what torch compiles, which cannot read slipcover's marks.
check python -m slipcover --source src/mmprm --omit 'src/mmprm/prefix_trees/attention.py' --out "$covered" \
    -m pytest -n "${TEST_PROCESSES:-3}" --dist loadfile --no-loadscope-reorder "$@"
echo "Lines covered, in percent: the five least covered modules, and all"
awk '/^src/ {print $4, $1}' "$covered" | sort -n | sed -n 1,5p  # head would end the pipe early, and with it all checks
awk '/^\(summary\)/ {print $4, "all"}' "$covered"
