"""How an update's micro-batches are summed under DeepSpeed in bfloat16, by DeepSpeed itself in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_SUM = """
import os, sys
import deepspeed, torch
from deepspeed.utils import safe_get_full_grad
from mmprm.config.training import Training
from mmprm.training.job import deepspeed_settings

parts = [1.0] + [0.003] * 63  # in bfloat16, 1 + 0.003 is 1
settings = deepspeed_settings(Training(learning_rate=1e-3, precision="bf16", deepspeed=sys.argv[1]))
settings |= {"train_batch_size": 64, "train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 64}
settings |= {"gradient_clipping": 0.0}
deepspeed.init_distributed(dist_backend="gloo")
model = torch.nn.Linear(4, 1, bias=False)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
for part in parts:
    engine.backward(engine(torch.full((1, 4), part, dtype=torch.bfloat16)).sum())
    if not engine.is_gradient_accumulation_boundary():
        engine.step()
(weight,) = engine.module.parameters()
print("gradient", 64 * float(safe_get_full_grad(weight).flatten()[0]))
"""


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("stage", ["zero1", "zero2", "zero3"])
def test_small_gradients_of_many_micro_batches_are_not_lost(stage: str) -> None:
    """63 of 0.003 beside one of 1: a sum in bfloat16 stays at 1."""
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    alone |= {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _SUM, stage]
    ended = subprocess.run(command, env=os.environ | alone, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("gradient")]
    assert float(line.split()[1]) == pytest.approx(1.189, rel=5e-3)  # each part is itself rounded to bfloat16
