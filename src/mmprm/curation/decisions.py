"""Apply the rules in their order, the mix and the test split. In: a pool, settings. Out: a decision on each problem."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mmprm.config.derived import CuratedSource
from mmprm.curation import mix
from mmprm.curation.benchmarks import SIMPLE, BenchmarkMatch, BenchmarkMatcher
from mmprm.curation.duplicates import duplicates, groups
from mmprm.curation.funnel import COLUMNS, HELD_OUT, KEPT, ProblemDecision
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.similarity import PictureClusters, Rows

_MATCHED = {
    "picture": "a picture of it is one of",
    "near_picture": "a picture of it is nearly one of",
    "text": "it asks what is asked in",
    "reworded": "it asks, in other words, what is asked in",
}
_ASKED = {
    "proof": "it asks for a proof",
    "drawing": "it asks for a drawing",
    "open_question": "it is an open question",
    "several_questions": "it asks several questions",
}
ICON = 64  # pixels: a picture whose longer side is below this is an icon or a formula in the text, not a figure


class PoolDecisions:
    """The decisions on a pool: `by_row` and `groups` have an entry for each row of the first `n_tables` tables."""

    def __init__(self, pool: ProblemIndex, source: CuratedSource, n_tables: int, seed: int) -> None:
        self.pool, self.source = pool, source
        self.n_rows = int((pool.table < n_tables).sum())
        # Rows that are not kept: a rule or HELD_OUT, and why.
        self._ended, self._flagged = _refusals(pool, self.n_rows, source)
        self._matches: dict[int, BenchmarkMatch] = {}
        repeated = self._compare()
        left = self._left()
        self.groups = dict(zip(left.tolist(), groups(pool, self._pictures, left, repeated), strict=True))
        self._choose(seed)
        self.by_row = self._decisions()

    def _left(self) -> Rows:
        return np.array([row for row in range(self.n_rows) if row not in self._ended], dtype=np.int64)

    def _compare(self) -> dict[int, int]:
        """Apply the rules that compare problems; returns duplicate -> the row that it repeats."""
        pool, rules = self.pool, self.source.rules
        left, tested = self._left(), np.arange(self.n_rows, len(pool))
        used = np.zeros(len(pool.hashes), dtype=bool)
        for row in np.concatenate([left, tested]).tolist():
            used[pool.picture[row]] = True
        self._pictures = PictureClusters(pool, used, self.source.min_detail)
        if rules.in_benchmark:
            self._matches = BenchmarkMatcher(pool, self._pictures, left, tested).matches()
        for row, match in self._matches.items():
            self._ended[row] = ("in_benchmark", f"{_MATCHED[match.by]} {pool.ids[match.tested]}")
        repeated = duplicates(pool, self._pictures, self._left()) if rules.near_duplicate else {}
        self._ended |= {row: ("near_duplicate", f"it repeats {pool.ids[first]}") for row, first in repeated.items()}
        return repeated

    def _choose(self, seed: int) -> None:
        """Apply the target mix, then choose the test."""
        left, source = self._left().tolist(), self.source
        ids = [self.pool.ids[row] for row in left]
        if source.has_target:
            values = {str(column): [self.values(column)[row] for row in left] for column in source.mix}
            size = source.size + source.test_size if source.size else mix.largest_size(source.shares, values, len(left))
            taken = mix.take(ids, values, source.shares, size, seed)
            for index in set(range(len(left))) - taken:
                self._ended[left[index]] = ("over_mix", "there are enough of its kind")
            left = [left[index] for index in sorted(taken)]
            ids = [self.pool.ids[row] for row in left]
        for index in mix.choose_test(ids, [self.groups[row] for row in left], source.test_size, seed):
            self._ended[left[index]] = (HELD_OUT, "")

    def values(self, column: str) -> list[str]:
        """Return each row's value in a column of the mix."""
        return [value or "" for value in self.pool.column(COLUMNS.get(column, column))[: self.n_rows]]

    def _decisions(self) -> list[ProblemDecision]:
        pool = self.pool
        kinds, families, sources = (self.values(name) for name in ("answer_type", "family", "source"))
        decisions = []
        for row in range(self.n_rows):
            ended, detail = self._ended.get(row, (KEPT, ""))
            flags = self._flags(row, kinds[row]) if ended in (KEPT, HELD_OUT) else ()
            match = self._matches.get(row)
            matched = (pool.ids[match.tested], match.by) if match else ()
            shown = (pool.ids[row], sources[row], kinds[row], families[row])
            decisions.append(ProblemDecision(*shown, flags, ended, detail, *matched))
        return decisions

    def _flags(self, row: int, kind: str) -> tuple[str, ...]:
        detail = self.pool.detail[row]
        flags = {
            "several_blanks": kind == "several",
            "answer_in_words": kind == "text",
            "simple_picture": bool(len(detail)) and max(detail) < SIMPLE,
            "in_a_group": bool(self.groups[row]),
        }
        return (*(flag for flag, is_set in flags.items() if is_set), *self._flagged.get(row, ()))


def _refusals(
    pool: ProblemIndex, n_rows: int, settings: CuratedSource
) -> tuple[dict[int, tuple[str, str]], dict[int, list[str]]]:
    """Apply the rules for single problems.

    Returns refused row -> the first enabled rule that refuses it, and why; row -> the rules that would, if switched on.
    """
    refused: dict[int, tuple[str, str]] = {}
    flagged: dict[int, list[str]] = {}
    for row, rule, detail in broken_rules(pool, n_rows, settings):
        if getattr(settings.rules, rule):
            refused.setdefault(row, (rule, detail))
        elif rule not in flagged.setdefault(row, []):
            flagged[row].append(rule)
    return refused, flagged


def broken_rules(pool: ProblemIndex, n_rows: int, settings: CuratedSource) -> Iterator[tuple[int, str, str]]:
    """Yield (row, rule, a sentence for a person) for each rule for single problems that a row breaks, on or off."""
    columns = {name: pool.column(name) for name in ("named", "figure", "fault", *_ASKED)}
    for row in range(n_rows):
        values = {name: column[row] for name, column in columns.items()}
        for rule, detail in _faults(pool, row, values, settings):
            yield row, rule, detail


def _longest(pool: ProblemIndex, row: int) -> int:
    """Return the longer side of a row's largest picture, in pixels."""
    longer = pool.side[row] * np.maximum(pool.aspect[row], 1 / pool.aspect[row])
    return int(np.rint(longer.max()))


def _faults(pool: ProblemIndex, row: int, values: dict[str, Any], settings: CuratedSource) -> Iterator[tuple[str, str]]:
    """Yield each rule that the row breaks, with a sentence for a person."""
    sides, details = pool.side[row], pool.detail[row]
    if not len(sides):
        yield "image_missing", "it has no picture"
    elif len(sides) < values["named"]:
        yield "image_missing", f"its text has links to {values['named']} pictures, and it has {len(sides)}"
    elif values["figure"] and (longest := _longest(pool, row)) < ICON:
        # An icon or a formula of the text's is what is left where a publication has lost the figure itself.
        yield "image_missing", f"{values['figure']!r}, and its largest picture is {longest} pixels long"
    if len(sides) and max(sides) < settings.min_side:
        yield "image_tiny", f"the shorter side of its largest picture has {max(sides)} pixels"
    if len(sides) and max(details) < settings.min_detail:
        yield "image_blank", f"{max(details):.2%} of its picture is no background"
    for rule, sentence in _ASKED.items():
        if values[rule]:
            shown = values[rule] if rule == "several_questions" else repr(values[rule])
            yield rule, f"{sentence}: {shown}"
    if values["fault"]:
        yield "unverifiable", values["fault"]
