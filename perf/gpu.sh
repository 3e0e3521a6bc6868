#!/usr/bin/env bash
# What only a GPU can show, in ten minutes on one H100 or H200: is it right there (losses, scores, prefix trees under the
# compiled FlexAttention), how fast and in how much memory it trains, scores and samples. One JSON line a part, in
# results/gpu/parts.jsonl; a second call goes on with what is missing or failed. Options: perf/gpu.sh --help
#   perf/gpu.sh                         # needs no vLLM, no DeepSpeed and no network
#   perf/gpu.sh --device cpu --small    # on any machine, in some minutes: does the script run?
# In .venv (LOCK=gpu) everything is there. Elsewhere it takes PYTHON (python3), version 3.11 or later, with torch 2.11 or
# later, transformers 5, accelerate, peft, triton, pyarrow, pandas, pillow, filelock, rich, typer, pyyaml. What is missing
# there is carried in as wheels in .wheels/ (git ignores it; below 3 MB together), fetched where there is a network by
#   pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
#       --platform manylinux_2_17_x86_64 -d .wheels pydantic==2.14.3 pydantic-core==2.50.4 annotated-types typing-inspection
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
export PYTHONPATH="$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
if compgen -G ".wheels/*.whl" >/dev/null; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" .wheels/*.whl
    PYTHONPATH="$site:$PYTHONPATH"
fi
"$python" -m perf.gpu "$@"
