"""What is asked before vLLM forks its engine, on a machine that claims to have a GPU: nothing that CUDA's runtime sees.

In a process of its own, with a torch that says it was built for CUDA, and a vLLM of which only the start is left.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_OPENED = """
import json, os, sys, types
from pathlib import Path

import torch
from mmprm.model import folders

processor = folders.load_processor(Path(sys.argv[2]))  # its imports need a torch that is what it says
folders.load_processor = lambda folder: processor
os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
asked = []

def runtime():
    asked.append("the runtime")
    return 1

torch._C._cuda_getDeviceCount = runtime  # torch calls a build that has it one for CUDA
torch.cuda._device_count_nvml = lambda: 1

class Started(Exception):
    pass

class LLMEngine:
    @staticmethod
    def from_engine_args(arguments, usage_context="the context of a server"):
        print(json.dumps({"asked": asked, "context": usage_context, "device": folders.device()}))
        raise Started

def module(name, **contents):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(contents)

module("vllm", EngineArgs=dict)
module("vllm.config", PoolerConfig=dict)
for name in ("vllm.v1", "vllm.v1.engine", "vllm.usage"):
    module(name)
module("vllm.v1.engine.llm_engine", LLMEngine=LLMEngine)
module("vllm.usage.usage_lib", UsageContext=types.SimpleNamespace(LLM_CLASS="LLM_CLASS"))

from mmprm.config.offline import OfflineSettings
from mmprm.engine.vllm_engine import VllmEngine
from mmprm.prm.vllm_scorer import VllmScorer

try:
    {"engine": VllmEngine, "scorer": VllmScorer}[sys.argv[1]](OfflineSettings(), Path(sys.argv[2]))
except Started:
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("opened", ["engine", pytest.param("scorer", marks=pytest.mark.heavy)])
def test_the_cuda_runtime_is_not_asked_before_vllm_starts(opened: str, mini_policy_folder: Path) -> None:
    """vllm#15951, vllm#12754: the engine's process, which is forked, could not use CUDA."""
    command = [sys.executable, "-c", _OPENED, opened, str(mini_policy_folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found == {"asked": [], "context": "LLM_CLASS", "device": "cuda"}
