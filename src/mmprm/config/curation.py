"""Curated sources: the rules by which a pool's problems are chosen, and their thresholds. In and out: pydantic models.

Part of `config`, which is the one place that loads them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from mmprm.config.section import Name, Section, Share

Column = Literal["answer_type", "family", "source"]


class CurationRules(Section):
    """Which rules refuse problems, in their order."""

    image_missing: bool = Field(True, description="no picture, or fewer than the question's text has places for")
    image_tiny: bool = Field(True, description="no picture's shorter side has min_side pixels")
    image_blank: bool = Field(True, description="every picture is nearly uniform: see min_detail")
    proof: bool = Field(True, description="it asks for a proof")
    drawing: bool = Field(True, description="it asks for a drawing")
    open_question: bool = Field(True, description="it asks to explain, discuss, design, ...")
    several_questions: bool = Field(
        True, description="it asks more than its answer answers; blanks with a part each stay"
    )
    unverifiable: bool = Field(True, description="the grader cannot tell its answer from wrong ones; or it is a text")
    in_benchmark: bool = Field(True, description="it is a problem of a benchmark or step benchmark")
    near_duplicate: bool = Field(True, description="text, numbers and pictures are near those of one before it")


class Curation(Section):
    """How a pool is curated."""

    rules: CurationRules = CurationRules()
    against: list[Name] | None = Field(
        None,
        description="keys of benchmarks that in_benchmark looks at; null: all, so that another benchmark curates anew",
    )
    min_side: int = Field(20, ge=1, description="pixels of a picture's shorter side; below it is tiny")
    min_detail: Share = Field(0.004, description="share of a picture, seen as 64 x 64 spots, that is no background")
    max_answer_words: int = Field(3, ge=0, description="an answer of more words cannot be verified; 0: no words at all")
    size: int | None = Field(None, ge=1, description="keep at most this many, drawn by the seed; null: all")
    mix: dict[Column, dict[str, Share]] = Field(
        {},
        description="target shares, as {answer_type: {choice: 0.5, number: 0.5}}; answer_type is how grading reads an "
        "answer: choice, number, expression, text, several; `*` and what is left to 1: all other values",
    )
    test_size: int = Field(0, ge=0, description="set aside so many in whole groups, for a source of kind set_aside")

    @field_validator("mix")
    @classmethod
    def _shares_of_one(cls, mix: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for column, shares in mix.items():
            if not shares or sum(shares.values()) > 1 + 1e-9:
                raise ValueError(f"{column}: the shares are {shares}; they are at most 1 together, and at least one")
        return mix

    @property
    def shares(self) -> dict[str, dict[str, float]]:
        """The mix, by the names of columns."""
        return {str(column): dict(shares) for column, shares in self.mix.items()}

    @property
    def has_target(self) -> bool:
        """Is there a size or a mix to come to?"""
        return bool(self.size or self.mix)
