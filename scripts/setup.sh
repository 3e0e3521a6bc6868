#!/usr/bin/env bash
# Make .venv from a lock. In: cpu or gpu, and a Python. Out: .venv with mmprm in it, and the stamp that make looks at.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1 python=$2
unset PYTHONDONTWRITEBYTECODE  # pip leaves bytecode out where it is set: each process would compile what it imports
pins=envs/lock-$lock.txt log=.venv/setup.log

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "set-up: $python is not Python 3.11 or later. Install Python 3.11, or say where it is: make PYTHON=/path/to/python3.11" >&2
    exit 1
}
[ -f "$pins" ] || { echo "set-up: there is no lock '$lock'; LOCK is cpu or gpu" >&2; exit 1; }
"$python" -m venv .venv || {
    echo "set-up: $python cannot make a virtual environment (on Debian: apt install python3.11-venv)" >&2
    exit 1
}

# Asked of the index alone, before anything is downloaded. PyPI has only torch's CUDA build.
if [ "$lock" = cpu ]; then
    torch=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' "$pins")
    found=$(.venv/bin/pip index versions torch 2>/dev/null || true)
    grep -qF "$torch" <<<"$found" || {
        cat >&2 <<END
set-up: pip finds no torch $torch, the CPU build. PyTorch keeps it in an index of its own:
    PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make setup
or, on a machine with an NVIDIA GPU:
    make setup LOCK=gpu
Nothing was downloaded.
END
        exit 1
    }
fi

echo "set-up: installing $(grep -c == "$pins") packages of $pins into .venv: several GB, some minutes" >&2
# --no-deps: the lock is complete, and pip cannot know its overrides (see scripts/lock.sh).
{
    .venv/bin/pip install --no-deps -r "$pins" &&
        .venv/bin/pip install --no-deps --no-build-isolation -e .
} >"$log" 2>&1 || {
    grep -v "^WARNING: Location" "$log" | tail -n 30 >&2
    echo "set-up: pip failed; the whole of what it said is in $log" >&2
    exit 1
}
rm -f .venv/.stamp-*
touch ".venv/.stamp-$lock"
