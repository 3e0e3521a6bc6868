#!/usr/bin/env bash
# Make .venv from a lock. In: cpu or gpu, and a Python. Out: .venv with mmprm in it, and the stamp that make looks at.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1 python=$2
unset PYTHONDONTWRITEBYTECODE  # pip leaves bytecode out where it is set: each process would compile what it imports
pins=envs/lock-$lock.txt log=.venv/setup.log

"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || {
    cat >&2 <<END
set-up: $python is not Python 3.11, for which the locks were made. Install it and name it:
    Debian 12, Ubuntu 22.04:   apt install python3.11 python3.11-venv
    macOS:                     brew install python@3.11
    others, or without root:   uv python install 3.11     (https://docs.astral.sh/uv)
then, where it is not on the PATH as python3.11:
    make setup PYTHON=/path/to/python3.11
END
    exit 1
}
[ -f "$pins" ] || { echo "set-up: there is no lock '$lock'; LOCK is cpu or gpu" >&2; exit 1; }
"$python" -m venv .venv || {
    echo "set-up: $python cannot make a virtual environment (on Debian: apt install python3.11-venv)" >&2
    exit 1
}

echo "set-up: installing $(grep -c == "$pins") packages of $pins into .venv: several GB, some minutes" >&2
{
    scripts/install_lock.sh "$lock" .venv/bin/python &&
        .venv/bin/pip install --no-deps --no-build-isolation -e . &&
        .venv/bin/python -m mmprm.model.torchvision_import
} >"$log" 2>&1 || {
    grep -v "^WARNING: Location" "$log" | tail -n 30 >&2
    echo "set-up: pip failed; the whole of what it said is in $log" >&2
    exit 1
}
rm -f .venv/.stamp-*
touch ".venv/.stamp-$lock"
