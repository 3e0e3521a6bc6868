"""A critic beside PRMs: what its verdicts give as scores, what it costs, and what a kill or more samples ask again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from first_error_server import KEY, JudgeServer, boxed, started
from hypothesis import given
from hypothesis import strategies as st
from training_fixtures import config_of

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.mini.problems import generate
from mmprm.preflight.inventory import missing
from mmprm.prm.critic import probabilities
from mmprm.prm.external import take_prm
from mmprm.prm.score_candidates import open_scorer, score_candidates
from mmprm.runtime.errors import UserError
from mmprm.workflow.devices import Devices

PICTURE = generate("sft", 1, ["bars"], seed=0)[0].images
ASKED = [Problem(f"pool/{n}", "pool", f"What is {n} + 1 + 1?", str(n + 2), images=PICTURE) for n in range(4)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    server = started(monkeypatch)
    yield server
    server.close()


class Criticised:
    """Candidates of four problems (right, wrong in the second sum, wrong in the answer, unreadable) and a critic."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rows = []
        for number, problem in enumerate(ASKED):
            for candidate, (second, answer) in enumerate([(2, number + 2), (9, number + 9), (2, 77), (None, None)]):
                steps = [f"{number} + 1 = {number + 1}", f"{number + 1} + 1 = {number + (second or 0)}"]
                row = {"problem_id": problem.problem_id, "candidate": candidate, "text": "", "n_tokens": 1}
                row |= {"finish_reason": "stop", "method": "", "verdict": "unparsed", "status": "malformed"}
                row |= {"steps": [], "answer": None}
                if second:
                    row |= {"status": "ok", "steps": steps, "answer": str(answer), "verdict": "incorrect"}
                rows.append(row)
        write_problems(folder / "problems.parquet", ASKED)
        tables.write(folder / "candidates.parquet", rows, schemas.CANDIDATES)

    def config(self, **critic: Any) -> Config:
        model = {"model": "judge", "samples": 2, "tries": 2, "max_concurrent": 4} | critic
        variants = {"soft": {}, "critic": {"external": {"kind": "critic", "critic": model}}}
        return config_of(Path("models/mini-base"), variants=variants)

    def score(self, **critic: Any) -> list[list[float]]:
        config, prm = self.config(**critic), self.folder / "prm/critic"
        take_prm(config, "critic", prm)
        tables_of = (self.folder / f"{name}.parquet" for name in ("problems", "candidates", "scores"))
        score_candidates(config, prm, *tables_of)
        return [row["probabilities"] for row in tables.read_rows(self.folder / "scores.parquet", schemas.SCORES)]

    @property
    def usage(self) -> dict[str, Any]:
        return dict(json.loads(tables.usage_path(self.folder / "scores.parquet").read_text()))


def test_each_step_has_the_share_of_the_verdicts_that_find_no_error_up_to_it(
    server: JudgeServer, tmp_path: Path
) -> None:
    asked = Criticised(tmp_path)
    assert asked.score(url=server.url) == [[1.0] * 3, [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], []] * 4
    assert asked.usage["requests"] == 4 * 3 * 2 and asked.usage["generated_tokens"] == 4 * 3 * 2 * 7
    assert server.keys == {f"Bearer {KEY}"} and len({body["seed"] for body in server.bodies}) == 24
    assert all(len(body["messages"][0]["content"]) == 2 for body in server.bodies), "the picture, then the text"
    # Verdicts that differ: of three the first finds the first step wrong.
    seen: Counter[str] = Counter()

    def torn(parts: list[str], body: dict[str, Any]) -> str:
        seen[str(parts)] += 1
        return boxed(1 if seen[str(parts)] == 1 else -1)

    server.reply = torn
    assert asked.score(url=server.url, temperature=1.0, samples=3)[0] == [2 / 3] * 3


def test_what_was_asked_once_is_not_asked_again(server: JudgeServer, tmp_path: Path) -> None:
    asked = Criticised(tmp_path)
    first = asked.score(url=server.url)
    (tmp_path / "scores.parquet").unlink()  # as after a kill before the table was written
    assert asked.score(url=server.url) == first and len(server.bodies) == 24
    asked.score(url=server.url, samples=3)
    assert len(server.bodies) == 24 + 12, "two samples of each are there"


def test_replies_that_cannot_be_read_are_asked_again_and_too_many_end_the_stage(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.reply = lambda parts, body: "I cannot say." if parts[-1] == "Final answer: 77" else boxed(-1)
    asked = Criticised(tmp_path)
    with pytest.raises(UserError, match=r"8 of 24 verdicts cannot be read, .*0\.2; the last such reply: 'I cannot say"):
        asked.score(url=server.url)
    assert asked.score(url=server.url, max_unreadable_share=0.5) == [[1.0] * 3, [1.0] * 3, [], []] * 4


@given(st.integers(1, 9), st.data())
def test_probabilities_are_shares_that_never_rise(markers: int, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.sampled_from([-1, *range(1, markers + 1)]), min_size=1))
    found = probabilities(positions, markers)
    assert len(found) == markers and found == sorted(found, reverse=True)
    ends = (1 - positions.count(1) / len(positions), positions.count(-1) / len(positions))
    assert (found[0], found[-1]) == pytest.approx(ends)


def test_a_critic_takes_no_gpu_and_guides_nothing(tmp_path: Path) -> None:
    config = Criticised(tmp_path).config(url="http://127.0.0.1:9/v1")
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert "prm.variants.critic.external.critic.url" in [finding.key for finding in missing(config)]
    devices = Devices(config)
    assert [devices.scoring(SimpleNamespace(variant=name)) for name in ("soft", "critic")] == [1, 0]
    take_prm(config, "critic", tmp_path / "critic")
    with pytest.raises(UserError, match="guides no search"):
        open_scorer(config, tmp_path / "critic")
    for wrong in ({"kind": "critic"}, {"kind": "value_head", "separator": "\n"}):
        with pytest.raises(UserError, match=r"critic: kind critic|path: all kinds"):
            config_of(Path("models/mini-base"), variants={"soft": {}, "critic": {"external": wrong}})
