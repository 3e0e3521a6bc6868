#!/usr/bin/env bash
# Install a lock into the environment of a Python.
#
#   scripts/install_lock.sh cpu .venv/bin/python
#
# PyPI has only the CUDA build of torch. Where the configured indexes and local wheels lack the CPU build that the lock
# names, it alone is taken from PyTorch's own index (TORCH_INDEX), by exact version and SHA-256; everything else comes
# from the configured index, which is PyPI by default. The lock holds the hash of every file, and pip refuses any other.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1 python=$2
pins=envs/lock-$lock.txt
TORCH_INDEX=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}

[ -f "$pins" ] || { echo "install: there is no lock '$lock'; it is cpu or gpu" >&2; exit 1; }
pip() { "$python" -m pip --disable-pip-version-check "$@"; }

# --no-deps: the lock is complete, and pip cannot know its overrides (see scripts/lock.sh).
install() { pip install --no-deps --require-hashes "$@"; }

torch=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' "$pins")
if [[ $torch == *+cpu ]] && ! grep -qF "$torch" <<<"$(pip index versions torch 2>/dev/null || true)"; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # The requirement and the lines that continue it, which hold its hashes.
    sed -n '/^torch==/,/[^\\]$/p' "$pins" >"$work/torch.txt"
    # Only here, and only for this package: another index beside PyPI could answer for any name.
    echo "install: taking torch $torch from $TORCH_INDEX" >&2
    PIP_EXTRA_INDEX_URL='' PIP_INDEX_URL='' install --index-url "$TORCH_INDEX" -r "$work/torch.txt"
fi
install -r "$pins"
