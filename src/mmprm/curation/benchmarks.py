"""Decontamination: which problems are of a benchmark? In: a pool, and which of its rows are benchmarks'. Out: matches.

By picture: equal pixels, or near; where the picture is nearly empty or appears with many questions of the pool (an
icon, an empty grid), the words must be similar too. By words: where the benchmark's question is specific (it has
enough telling words, and its numbers all occur), and most of its n-grams or telling words are in the problem's
question; fewer suffice where the answers are equal. A template (a question with several answers) needs equal answers.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from mmprm.curation import texts
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.similarity import Pairs, PictureClusters, Rows, combined_key, numbers_key, pairs_by_key, text_keys

SIMPLE = 0.03  # detail below which a picture alone identifies no problem
COMMON = 4  # answers that occur with one picture and make it an icon
SPECIFIC_WORDS, SPECIFIC_NUMBERS = 8, 2  # telling words and numbers that make a question specific, or
SPECIFIC_ALONE = 16  # this many telling words
MOSTLY, PARTLY = 0.8, 0.4  # shares of words or n-grams; the lower one where the answers are equal


@dataclass(frozen=True)
class BenchmarkMatch:
    """`tested`: the benchmark's row; by: picture, near_picture, text, reworded."""

    tested: int
    by: str


class BenchmarkMatcher:
    """Finds the problems of benchmarks among the other rows of a pool."""

    def __init__(self, pool: ProblemIndex, pictures: PictureClusters, rows: Rows, tested: Rows) -> None:
        """Index the pool; rows: problems that no rule has refused; tested: the benchmarks' rows."""
        self._pool, self._pictures, self._rows, self._tested = pool, pictures, rows, tested
        self._shown: dict[int, list[int]] = defaultdict(list)  # a cluster of pictures -> benchmark pictures' rows
        for row in tested.tolist():
            for cluster in pictures.cluster[pool.picture[row]].tolist():
                self._shown[cluster].append(row)
        answers: dict[int, set[int]] = defaultdict(set)
        for row in rows.tolist():
            for cluster in self._shown.keys() & set(pictures.cluster[pool.picture[row]].tolist()):
                answers[cluster].add(int(pool.gold[row]))
        self._common = {cluster for cluster, golds in answers.items() if len(golds) >= COMMON}
        by_text: dict[int, set[int]] = defaultdict(set)
        for row in np.concatenate([rows, tested]).tolist():
            by_text[int(pool.text[row])].add(int(pool.gold[row]))
        self._templates = {text for text, golds in by_text.items() if len(golds) > 1}

    def matches(self) -> dict[int, BenchmarkMatch]:
        """Map each row that is a benchmark's problem to its first match; pictures go before words."""
        return self._by_words() | self._by_picture()

    def _by_picture(self) -> dict[int, BenchmarkMatch]:
        matches: dict[int, BenchmarkMatch] = {}
        for row in self._rows.tolist():
            for picture in self._pool.picture[row].tolist():
                if match := self._same_picture(row, picture):
                    matches.setdefault(row, match)
        return matches

    def _same_picture(self, row: int, picture: int) -> BenchmarkMatch | None:
        cluster = int(self._pictures.cluster[picture])
        near: BenchmarkMatch | None = None
        for other in self._shown.get(cluster, ()):
            for tested in self._pool.picture[other].tolist():
                if not self._pictures.near(picture, tested):
                    continue
                unspecific = cluster in self._common or self._pool.detail.values[picture] < SIMPLE
                if unspecific and self._alike(row, other) < PARTLY:
                    continue
                if self._pictures.same[picture] == self._pictures.same[tested]:
                    return BenchmarkMatch(other, "picture")
                near = near or BenchmarkMatch(other, "near_picture")
        return near

    def _alike(self, row: int, other: int) -> float:
        same_numbers = self._pool.numbers[row] == self._pool.numbers[other]
        return texts.jaccard(self._pool.words[row], self._pool.words[other]) if same_numbers else 0.0

    def _by_words(self) -> dict[int, BenchmarkMatch]:
        matches: dict[int, BenchmarkMatch] = {}
        for row, other in self._candidates():
            if row not in matches and (by := self._same_words(row, other)):
                matches[row] = BenchmarkMatch(other, by)
        return matches

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
        """Find pairs (row, benchmark's row) that share an n-gram, numbers and answer, or numbers and many words."""
        pool = self._pool
        specific = np.array([row for row in self._tested.tolist() if self._specific(row)], dtype=np.int64)
        candidates = Pairs(len(pool))
        self._add_sharing_ngram(specific, candidates)
        rows = np.concatenate([self._rows, specific])
        is_tested = np.arange(len(rows)) >= len(self._rows)
        numbers = numbers_key(pool, rows)
        same_answer = combined_key(numbers, pool.gold[rows])
        for keys in (same_answer, *(combined_key(key, numbers) for key in text_keys(pool, rows))):
            for first, second in pairs_by_key(keys):
                across = ~is_tested[first] & is_tested[second]
                candidates.add(rows[first[across]], rows[second[across]])
        return candidates

    def _add_sharing_ngram(self, specific: Rows, candidates: Pairs) -> None:
        pool = self._pool
        if not len(specific):
            return
        grams = np.concatenate([pool.grams[row] for row in specific])
        owners = np.repeat(specific, [len(pool.grams[row]) for row in specific])
        order = np.argsort(grams, kind="stable")
        grams, owners = grams[order], owners[order]
        for row in self._rows.tolist():
            starts, ends = (np.searchsorted(grams, pool.grams[row], side) for side in ("left", "right"))
            shared = starts < ends  # mostly false
            if shared.any():
                ranges = zip(starts[shared], ends[shared], strict=True)
                others = np.unique(np.concatenate([owners[start:end] for start, end in ranges]))
                candidates.add(np.full(len(others), row), others)
