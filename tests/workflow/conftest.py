"""Folders in which the workflow has not run, or has run to its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from snake import Workflow


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    """A folder in which nothing has run."""
    return Workflow(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A folder in which every job has run, as far as Snakemake knows: all tests only look at it (dry runs)."""
    workflow = Workflow(tmp_path_factory.mktemp("finished"))
    workflow.finish()
    return workflow
