"""One browser for all tests of pages, and a small whole run to make them from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browser as chromium
import pytest
import report_example


@pytest.fixture(scope="session")
def any_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    """Chromium, started once."""
    if chromium.CHROMIUM is None:
        pytest.skip(chromium.ABSENT)
    with chromium.Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def browser(any_browser: chromium.Browser) -> chromium.Browser:
    """The same, with a window of the usual size."""
    any_browser.look()
    return any_browser


@pytest.fixture(scope="session")
def example_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small whole run, made once: results/example, with its configuration."""
    folder = report_example.build(tmp_path_factory.mktemp("results") / "example")
    text = report_example.settings().model_dump_json(indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    return folder
