"""A plain script in our environment: transformers without any call of ours before it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PLAIN = """
from transformers import AutoProcessor
print(type(AutoProcessor.from_pretrained({folder!r})).__name__)
"""


def _run(code: str, **environment: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.slow
@pytest.mark.heavy
def test_what_set_up_leaves_lets_a_plain_script_load_a_processor(mini_model_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mmprm.model.torchvision_import", str(tmp_path)]
    subprocess.run(command, check=True)
    begun = f"import site; site.addsitedir({str(tmp_path)!r})"
    assert _run(begun + _PLAIN.format(folder=str(mini_model_folder))) == "InternVLProcessor"


def test_a_script_that_needs_no_torch_imports_none_for_it(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "mmprm.model.torchvision_import", str(tmp_path)], check=True)
    found = f"import site, sys; site.addsitedir({str(tmp_path)!r}); import importlib.util as find; "
    assert _run(found + "find.find_spec('torchvision'); print('torch' in sys.modules)") == "False"


@pytest.mark.slow
def test_this_environment_lets_a_plain_script_load_a_processor(mini_model_folder: Path) -> None:
    assert _run(_PLAIN.format(folder=str(mini_model_folder))) == "InternVLProcessor"
