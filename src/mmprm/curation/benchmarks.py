"""Which problems are those that we test on? In: a pool, and which of its rows are benchmarks'. Out: hits.

By a picture: the same pixels, or near; but not where the picture is nearly empty or stands beside many questions of the
pool (an icon, an empty grid): then the words must be alike too. By words: where the benchmark's question is specific
(it tells enough, and its numbers are all there), and most of its n-grams or its telling words are in the problem's
question; less of them will do where the answers are the same. A question that stands in the data with several
answers is a template: of such a problem the answer must be the same too. problems/overlap.py looks for whole questions
and equal pictures alone, where steps are taken from elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmprm.curation import texts
from mmprm.curation.duplicates import numbers_key
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.similarity import Pairs, Pictures, Rows, mixed, text_keys, together

SIMPLE = 0.03  # detail below which a picture alone says nothing
COMMON = 4  # answers that stand beside one picture and make it an icon
SPECIFIC_WORDS, SPECIFIC_NUMBERS = 8, 2  # telling words and numbers that make a question its problem's own; or
SPECIFIC_ALONE = 16  # so many telling words
MOSTLY, PARTLY = 0.8, 0.4  # shares of words or n-grams; the lower one where the answers are the same


@dataclass(frozen=True)
class Hit:
    """`tested`: the benchmark's row; by: picture, near_picture, text, reworded."""

    tested: int
    by: str


class BenchmarkMatcher:
    """The benchmarks' rows of a pool, to be found among the others."""

    def __init__(self, pool: ProblemIndex, pictures: Pictures, rows: Rows, tested: Rows) -> None:
        """rows: problems that are still in; tested: the benchmarks'."""
        self._pool, self._pictures = pool, pictures
        self._rows, self._tested = rows, tested
        self._shown: dict[int, list[int]] = defaultdict(list)  # a cluster of pictures -> benchmark pictures' rows
        for row in tested.tolist():
            for picture in pool.picture[row]:
                self._shown[int(pictures.cluster[picture])].append(row)
        answers: dict[int, set[int]] = defaultdict(set)
        for row in rows.tolist():
            for picture in pool.picture[row]:
                if int(pictures.cluster[picture]) in self._shown:
                    answers[int(pictures.cluster[picture])].add(int(pool.gold[row]))
        self._common = {cluster for cluster, golds in answers.items() if len(golds) >= COMMON}
        by_text: dict[int, set[int]] = defaultdict(set)
        for row in np.concatenate([rows, tested]).tolist():
            by_text[int(pool.text[row])].add(int(pool.gold[row]))
        self._templates = {text for text, golds in by_text.items() if len(golds) > 1}

    def hits(self) -> dict[int, Hit]:
        """Of each row that is a benchmark's problem: which one, the first of them, and by what."""
        found = self._by_picture()
        for row, hit in self._by_words().items():
            found.setdefault(row, hit)
        return found

    def _by_picture(self) -> dict[int, Hit]:
        found: dict[int, Hit] = {}
        for row in self._rows.tolist():
            for picture in self._pool.picture[row].tolist():
                hit = self._same_picture(row, picture)
                if hit is not None:
                    found.setdefault(row, hit)
        return found

    def _same_picture(self, row: int, picture: int) -> Hit | None:
        cluster = int(self._pictures.cluster[picture])
        near: Hit | None = None
        for other in self._shown.get(cluster, ()):
            for theirs in self._pool.picture[other].tolist():
                if not self._pictures.near(picture, theirs):
                    continue
                says_nothing = cluster in self._common or self._pool.detail.values[picture] < SIMPLE
                if says_nothing and self._alike(row, other) < PARTLY:
                    continue
                if self._pictures.same[picture] == self._pictures.same[theirs]:
                    return Hit(other, "picture")
                near = near or Hit(other, "near_picture")
        return near

    def _alike(self, row: int, other: int) -> float:
        same_numbers = self._pool.numbers[row] == self._pool.numbers[other]
        return texts.jaccard(self._pool.words[row], self._pool.words[other]) if same_numbers else 0.0

    def _by_words(self) -> dict[int, Hit]:
        found: dict[int, Hit] = {}
        for row, other in self._candidates():
            if row not in found and (by := self._same_words(row, other)):
                found[row] = Hit(other, by)
        return found

    def _same_words(self, row: int, other: int) -> str | None:
        pool = self._pool
        if not texts.includes(pool.numbers[row], pool.numbers[other]):
            return None
        same_answer = pool.gold[row] == pool.gold[other]
        if int(pool.text[other]) in self._templates and not same_answer:
            return None
        enough = PARTLY if same_answer else MOSTLY
        if texts.contained(pool.grams[other], pool.grams[row]) >= enough:
            return "text"
        same_numbers = pool.numbers[row] == pool.numbers[other]
        if same_numbers and texts.jaccard(pool.words[row], pool.words[other]) >= enough:
            return "reworded"
        return None

    def _specific(self, row: int) -> bool:
        telling, numbers = len(self._pool.words[row]), len(self._pool.numbers[row])
        return telling >= SPECIFIC_ALONE or (telling >= SPECIFIC_WORDS and numbers >= SPECIFIC_NUMBERS)

    def _candidates(self) -> Pairs:
        """(row, benchmark's row) that share an n-gram, numbers and answer, or numbers and many words."""
        pool = self._pool
        specific = np.array([row for row in self._tested.tolist() if self._specific(row)], dtype=np.int64)
        found = Pairs(len(pool))
        self._share_a_gram(specific, found)
        rows = np.concatenate([self._rows, specific])
        is_tested = np.arange(len(rows)) >= len(self._rows)
        numbers = numbers_key(pool, rows)
        for keys in (mixed(numbers, pool.gold[rows]), *(mixed(key, numbers) for key in text_keys(pool, rows))):
            for one, other in together(keys):
                mine = ~is_tested[one] & is_tested[other]
                found.add(rows[one[mine]], rows[other[mine]])
        return found

    def _share_a_gram(self, specific: Rows, found: Pairs) -> None:
        pool = self._pool
        if not len(specific):
            return
        grams = np.concatenate([pool.grams[row] for row in specific])
        whose = np.repeat(specific, [len(pool.grams[row]) for row in specific])
        order = np.argsort(grams, kind="stable")
        grams, whose = grams[order], whose[order]
        for row in self._rows.tolist():
            own = pool.grams[row]
            starts, ends = (np.searchsorted(grams, own, side) for side in ("left", "right"))
            others = _counted(whose, starts, ends)
            if len(others):
                found.add(np.full(len(others), row), others)


def _counted(whose: Rows, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Rows:
    """The benchmark rows that have any of the n-grams; the ranges are mostly empty."""
    hit = starts < ends
    if not hit.any():
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.concatenate([whose[s:e] for s, e in zip(starts[hit], ends[hit], strict=True)]))
