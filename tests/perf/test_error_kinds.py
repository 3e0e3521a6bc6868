"""The script that sets a PRM's values against the truth of steps, on rows that are judged by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from perf import error_kinds

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.runtime.errors import UserError

# The figure of this problem has A = 10, B = 9 and C = 6.
SOLUTION = "<step>read A = 10</step><step>B is 9</step><step>C is 6</step><step>p = C * B = 6 * 9 = 54</step>"
RIGHT = ["read A = 10", "B is 9", "C is 6", "p = C * B = 6 * 9 = 54", "so answer = A + p = 10 + 54 = 64"]
CANDIDATES = [
    (RIGHT, "64", [0.9, 0.9, 0.3, 0.5, 0.9, 0.9]),
    (["read A = 10", "B is 8", *RIGHT[2:]], "64", [0.9, 0.4, 0.0, 0.0, 0.0, 0.8]),  # behind an error nothing counts
    ([*RIGHT[:3], "we get p = C * A = 6 * 10 = 60"], "70", [0.9, 0.9, 0.9, 0.1, 0.2]),
    ([*RIGHT[:3], "p = C * B = 6 * 9 = 56"], "66", [0.9, 0.9, 0.9, 0.7, 0.1]),
    (["hm", "B is 8"], "8", [0.9, 0.0, 0.3]),
]


def test_each_first_error_is_set_against_right_steps_of_its_sort(tmp_path: Path) -> None:
    answer = "<step>so answer = A + p = 10 + 54 = 64</step><answer>64</answer>"
    problem = Problem("d/1", "d", "Find A + B * C.", "64", solution=SOLUTION + answer, family="bars")
    with pytest.raises(UserError, match=r"problems/dev\.parquet is missing"):
        error_kinds.measure(tmp_path, "dev", "soft")
    write_problems(tmp_path / "problems/dev.parquet", [problem])
    rows, scores = [], []
    for number, (steps, said, probabilities) in enumerate(CANDIDATES):
        key = {"problem_id": "d/1", "candidate": number}
        row = {"text": "", "steps": steps, "answer": said, "status": "ok", "method": "m", "n_tokens": 1}
        row |= {"finish_reason": "stop", "verdict": "correct" if said == "64" else "incorrect"}
        rows.append(key | row)
        scores.append(key | {"probabilities": probabilities})
    tables.write(tmp_path / "bench/dev/candidates.parquet", rows, schemas.CANDIDATES)
    tables.write(tmp_path / "bench/dev/soft/scores.parquet", scores, schemas.SCORES)
    found = error_kinds.measure(tmp_path, "dev", "soft")
    assert found["cells"]["bars, reading"] == {"first_errors": 1, "auc": pytest.approx(9 / 10, abs=1e-3)}
    assert found["cells"]["bars, plan"] == {"first_errors": 1, "auc": 1.0}
    assert found["cells"]["bars, arithmetic"] == {"first_errors": 1, "auc": 0.5}  # between the two right operations
    assert found["cells"]["bars, unreadable"] == {"first_errors": 1, "auc": None}
    assert found["cells"]["all, plan"] == found["cells"]["bars, plan"]
    assert found["candidates"] == 5 and found["auc_answers"] == 1.0
