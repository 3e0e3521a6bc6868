"""The rules for single problems. In: a pool, settings. Out: the rule that refuses each row, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmprm.config.derived import Curation
from mmprm.curation.problem_index import ProblemIndex

_ASKED = {
    "proof": "it asks for a proof",
    "drawing": "it asks for a drawing",
    "open_question": "it is an open question",
    "several_questions": "it asks several questions",
}


@dataclass(frozen=True)
class Refusal:
    """`rule` is one of funnel.RULES; `detail` is a sentence for a person."""

    rule: str
    detail: str


def refusals(pool: ProblemIndex, n_rows: int, settings: Curation) -> dict[int, Refusal]:
    """Return the refused ones of the first `n_rows` rows, each with the first enabled rule that refuses it."""
    names = ("named", "fault", *_ASKED)
    columns: dict[str, list[Any]] = {name: pool.column(name) for name in names}
    refused: dict[int, Refusal] = {}
    for row in range(n_rows):
        values = {name: column[row] for name, column in columns.items()}
        for refusal in _of_row(pool, row, values, settings):
            if getattr(settings.rules, refusal.rule):
                refused[row] = refusal
                break
    return refused


def _of_row(pool: ProblemIndex, row: int, values: dict[str, Any], settings: Curation) -> Iterator[Refusal]:
    sides, details = pool.side[row], pool.detail[row]
    if not len(sides):
        yield Refusal("image_missing", "it has no picture")
    elif len(sides) < values["named"]:
        yield Refusal("image_missing", f"its text has places for {values['named']} pictures, and it has {len(sides)}")
    if len(sides) and max(sides) < settings.min_side:
        yield Refusal("image_tiny", f"the shorter side of its largest picture has {max(sides)} pixels")
    if len(sides) and max(details) < settings.min_detail:
        yield Refusal("image_blank", f"{max(details):.2%} of its picture is no background")
    for rule, sentence in _ASKED.items():
        if values[rule]:
            shown = values[rule] if rule == "several_questions" else repr(values[rule])
            yield Refusal(rule, f"{sentence}: {shown}")
    if values["fault"]:
        yield Refusal("unverifiable", values["fault"])
