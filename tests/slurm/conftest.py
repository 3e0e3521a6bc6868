"""A SLURM cluster of six nodes on this machine, for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cluster
import pytest


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """The folder of a running cluster, which it outlives no failure of."""
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("SLURM on one host needs root on Linux: its daemons start jobs for users")
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get: tests/slurm/cluster.py takes SLURM from Debian's packages")
    try:
        cluster.install()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"SLURM's packages cannot be had: {error}")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # a short path: a socket's may have but 108 characters
    try:
        cluster.up(folder, nodes=6)
        yield folder
    except FileExistsError:
        pytest.skip(f"this machine has a SLURM already, or another run of these tests has: {cluster.STANDARD}")
    finally:
        cluster.down(folder)
        shutil.rmtree(folder)
