"""A configuration for engine tests: short contexts, a small cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmprm.config import Config, load


@pytest.fixture(scope="session")
def engine_config() -> Callable[..., Config]:
    """A function: engine.kind and further engine options -> configuration."""

    def make(kind: str, **engine: Any) -> Config:
        mini = {"kind": "mini", "size": 1, "families": ["bars"]}
        engine = {"kind": kind, "max_model_len": 256, "kv_cache_gib": 1, "max_running": 64} | engine
        return load(
            {
                "run": "test",
                "sources": {"mini": {**mini, "split": "sft"}, "test": {**mini, "split": "test"}},
                "policy": {"base": "base", "sources": ["mini"]},
                "seeds": {"sources": ["mini"]},
                "benchmarks": {"mini": {"source": "test"}},
                "engine": engine,
            }
        )

    return make
