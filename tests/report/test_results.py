"""The JSON files of a run are read whole, or named with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmprm.report.results import read_json
from mmprm.runtime.errors import UserError


@pytest.mark.parametrize(("text", "says"), [("{", "not JSON"), ("[]", "a list, not what"), ("3", "a int, not what")])
def test_a_damaged_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "manifest.json"
    file.write_text(text)
    with pytest.raises(UserError, match=f"manifest.json: {says}.*delete it and run again"):
        read_json(file)


def test_a_whole_file_is_read_and_a_missing_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('[{"a": 1}]')
    assert read_json(tmp_path / "summary.json", list) == [{"a": 1}]
    assert read_json(tmp_path / "none.json") is None
