"""perf/gpu.sh on the CPU: each part runs at a small size, what is done is not done again, what hangs is ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from perf.gpu import __main__ as gpu
from perf.gpu import correct

ROOT = Path(__file__).parents[2]
# What a machine with torch and transformers alone lacks: see the head of perf/gpu.sh.
ABSENT = ("vllm", "deepspeed", "math_verify", "latex2sympy2_extended", "pebble", "tenacity", "datasketch", "imagehash")
ABSENT += ("altair", "snakemake", "snakemake_interface_common", "datasets")
HIDE = """
import importlib.machinery as machinery
real = machinery.PathFinder.find_spec
def visible(name, path=None, target=None):
    return None if name.partition(".")[0] in {absent} else real(name, path, target)
machinery.PathFinder.find_spec = staticmethod(visible)
"""


def run(work: Path, *options: str, path: Path | None = None) -> list[dict[str, Any]]:
    """Call the script at a small size; the rows that it prints."""
    command = [ROOT / "perf/gpu.sh", "--device", "cpu", "--small", "--keep", "--work", work, *options]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(work)}
    environment |= {"PYTHONPATH": str(path)} if path else {}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_a_part_that_is_done_is_not_done_again_and_one_that_failed_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: dict[str, list[str | None]] = {"losses": [None], "trees": ["it broke", None], "scores": [None]}
    seen = []

    def attempt(name: str, limit: float, *_: object) -> dict[str, Any]:
        seen.append((name, limit))
        return {"part": name, "device": "cpu", "error": ended[name].pop(0), "seconds": 1.0}

    monkeypatch.setattr(gpu, "attempt", attempt)
    command = ["--device", "cpu", "--work", str(tmp_path), "--only", "losses", "trees", "scores"]
    with pytest.raises(SystemExit, match="1"):
        gpu.main(command)
    with pytest.raises(SystemExit, match="0"):
        gpu.main(command)
    assert [name for name, _ in seen] == ["losses", "trees", "scores", "trees"]
    assert seen[0][1] == gpu.PARTS["losses"].limit
    rows = [json.loads(line) for line in (tmp_path / "parts.jsonl").read_text().splitlines()]
    assert [row["error"] for row in rows] == [None, "it broke", None, None]
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert gpu.done(tmp_path / "parts.jsonl", "cuda") == set()


def test_a_part_that_runs_past_its_limit_is_ended_and_says_so(tmp_path: Path) -> None:
    row = gpu.attempt("trees", 0.05, True, tmp_path, "cpu")
    assert row["error"] == "it ran past its 0 seconds" and row["part"] == "trees"


def test_a_model_that_is_gone_is_made_again_only_for_parts_that_are_left(tmp_path: Path) -> None:
    parts, tiny = gpu.SMALL, gpu.SMALL["model-tiny"]
    assert gpu._lacks(tiny, parts, {"model-tiny", "losses"}, tmp_path)
    assert not gpu._lacks(tiny, parts, set(parts), tmp_path)


def test_losses_are_compared_with_the_cpu_s_and_a_wrong_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = correct.losses(tmp_path, small=True)
    assert set(found) == {f"{name}_{what}" for name in ("tokens", "markers", "counts") for what in ("loss", "gradient")}
    with pytest.raises(correct.WrongError, match="exceed"):
        correct._require(found | {"tokens_loss": float("nan")}, {"tokens_loss": 1e-5})


@pytest.mark.heavy
@pytest.mark.slow
def test_prefix_trees_by_flex_attention_are_the_paths_in_probabilities_loss_and_gradients(tmp_path: Path) -> None:
    found = correct.trees(tmp_path, small=True)
    assert found.pop("kernel") == "not compiled: no CUDA"
    assert {name.partition("_")[0] for name in found} == {"paths", "packed", "trees", "flex"}
    assert {name.split("_")[1] for name in found} == {"float32", "autocast", "bfloat16"}
    assert max(value for name, value in found.items() if "float32" in name) < 1e-4
    # Of three layouts (FlexAttention has none on the CPU) in three precisions, with and without grouped heads.
    assert sum("gradient" in name for name in found) == 3 * 3 * 2


@pytest.mark.slow
@pytest.mark.heavy
def test_every_part_runs_without_the_packages_that_a_machine_with_torch_alone_lacks(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(HIDE.format(absent=set(ABSENT)))
    told = subprocess.run(
        [sys.executable, "-c", "import vllm"], env={"PYTHONPATH": str(blocked)}, capture_output=True, check=False
    )
    assert b"No module named 'vllm'" in told.stderr
    rows = run(tmp_path / "work", "--seconds", "3000", path=blocked)
    assert {row["part"]: row["error"] for row in rows} == dict.fromkeys(gpu.SMALL)
    by_name = {row["part"]: row for row in rows}
    for name in ("sft-tiny-paths", "sft-tiny-packed", "prm-tiny-paths", "prm-tiny-trees"):
        assert by_name[name]["updates_per_second"] > 0 and by_name[name]["calculated_gib"] > 0
    assert by_name["score-tiny"]["largest_difference"] < 1e-4
    assert by_name["score-tiny"]["trees_tokens_read"] < by_name["score-tiny"]["one_by_one_tokens_read"]
    assert by_name["sample-tiny"]["new_tokens"] > 4
    assert run(tmp_path / "work", path=blocked) == []  # all is done
