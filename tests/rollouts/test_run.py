"""What a sampling stage says of itself while it works."""

from __future__ import annotations

import pytest

from mmprm.engine.base import EngineStats
from mmprm.rollouts.run import rates
from mmprm.runtime import progress
from mmprm.runtime.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_rates_leave_out_what_was_replayed_and_the_time_left_counts_it_as_done(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    report = Progress("annotation", 4, "problems")
    clock[0] = 20.0
    stats = EngineStats(generated_tokens=6000, steps=100, prompt_tokens=1000, cached_prompt_tokens=750)
    report.update(1, rates(report.seconds, 400, 100, 6000, 200, stats))
    assert capsys.readouterr().err == (
        "mmprm: annotation: 1 of 4 problems, 5 rollouts/s, 300 tokens/s, mean batch 60, 75% of prompt tokens cached, "
        "at most 20 s left\n"
    )


def test_what_an_engine_cannot_count_is_left_out(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    report = Progress("seeds", 4, "problems")
    clock[0] = 10.0
    report.update(0, rates(report.seconds, 4 * 32, 0, 0, 0, EngineStats()))
    assert capsys.readouterr().err == "mmprm: seeds: 0 of 4 problems, 0 rollouts/s, 0 tokens/s\n"
