"""Sources made from others: curated (which problems are fit, and which are held out), set aside, sampled, tagged."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from mmprm.config.models import InstructedModel
from mmprm.config.section import Name, Section, Share

Column = Literal["answer_type", "family", "source"]


class CurationRules(Section):
    """Which rules refuse problems, in their order. A rule for single problems that is off still flags them."""

    image_missing: bool = Field(
        True, description="no picture, fewer than the text has links to, or an icon where it sends to a figure"
    )
    image_tiny: bool = Field(False, description="no picture's shorter side has min_side pixels")
    image_blank: bool = Field(True, description="every picture is nearly uniform: see min_detail")
    proof: bool = Field(False, description="it asks for a proof")
    drawing: bool = Field(True, description="it asks for a drawing")
    open_question: bool = Field(True, description="it asks to explain, discuss, design, or for one of several answers")
    several_questions: bool = Field(
        False, description="it asks more than its answer covers (blanks with a part each stay)"
    )
    unverifiable: bool = Field(True, description="the grader cannot tell its answer from wrong ones; or it is a text")
    in_benchmark: bool = Field(True, description="it is a problem of a benchmark or step benchmark")
    near_duplicate: bool = Field(True, description="text, numbers and pictures are close to an earlier problem's")


class Curation(Section):
    """How a pool is curated."""

    rules: CurationRules = Field(CurationRules(), description="each can be switched off")
    against: list[Name] | None = Field(
        None, description="keys of benchmarks that in_benchmark compares with; null: all (a new one curates again)"
    )
    min_side: int = Field(20, ge=1, description="pixels of a picture's shorter side, below which it is tiny")
    min_detail: Share = Field(0.004, description="least share of a picture (at 64 x 64 pixels) that is no background")
    max_answer_words: int = Field(3, ge=0, description="an answer of more words cannot be verified; 0: of any words")
    size: int | None = Field(None, ge=1, description="keep at most this many, drawn by the seed; null: all")
    mix: dict[Column, dict[str, Share]] = Field(
        {},
        description="target shares, as {answer_type: {choice: 0.5, number: 0.5}}; answer_type is how grading reads an "
        "answer: choice, number, expression, text, several; `*` and what remains to 1: all other values",
    )
    test_size: int = Field(0, ge=0, description="hold out so many in whole groups, for a source of kind set_aside")

    @field_validator("mix")
    @classmethod
    def _shares_of_one(cls, mix: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for column, shares in mix.items():
            if not shares or sum(shares.values()) > 1 + 1e-9:
                raise ValueError(f"{column}: the shares are {shares}; give at least one, and at most 1 in total")
        return mix

    @property
    def shares(self) -> dict[str, dict[str, float]]:
        """The mix, by the names of columns, as plain dictionaries."""
        return {str(column): dict(shares) for column, shares in self.mix.items()}

    @property
    def has_target(self) -> bool:
        """Whether a size or a mix is asked for."""
        return bool(self.size or self.mix)


class DerivedSource(Section):
    """Problems of other sources, by their names; ids and `source` stay those of the rows' own sources."""

    kind: str
    sources: list[Name] = Field(min_length=1, description="keys of the sources whose problems these are")

    @property
    def about(self) -> str:
        """Its description in the report."""
        return f"of {', '.join(self.sources)}"


class CuratedSource(DerivedSource, Curation):
    """Problems that are fit to be seeds: with a meaningful image and one answer that can be verified."""

    kind: Literal["curated"]


class SetAsideSource(Section):
    """The test problems that a curated source holds out: no group of theirs is among the problems that it keeps."""

    kind: Literal["set_aside"]
    of: Name = Field(description="a source of kind curated, with a test_size")

    @property
    def sources(self) -> list[str]:
        """The source that it is made from."""
        return [self.of]

    @property
    def about(self) -> str:
        """Its description in the report."""
        return f"set aside of {self.of}"


class SampledSource(Section):
    """A part of another source's problems, in whole groups, drawn at the first look at a sealed test (see `sealed`)."""

    kind: Literal["sample"]
    of: Name = Field(description="a source that nothing is trained on; its problems are known, the part is not")
    size: int = Field(ge=1, description="problems, at least, of the groups whose names come first by a keyed hash")

    @property
    def sources(self) -> list[str]:
        """The source that it is made from."""
        return [self.of]

    @property
    def about(self) -> str:
        """Its description in the report."""
        return f"{self.size} problems of {self.of}, drawn at the first look"


TAGGING_PROMPT = "1"  # the version of what the rewriting model is asked, and of how its replies are read


class TaggingModel(InstructedModel):
    """The model that rewrites solutions; a server's key is in MMPRM_TAGGING_API_KEY, never here."""

    @property
    def identity(self) -> str:
        """What its replies depend on."""
        return self.asked(TAGGING_PROMPT)


class TaggedSource(DerivedSource):
    """Solutions, rewritten into steps and an answer. Those that are tagged already pass through, after a check."""

    kind: Literal["tagged"]
    by: Literal["rules", "model"] = Field(
        "rules", description="rules: cut solutions at the steps that they have; model: `model` rewrites them"
    )
    min_steps: int = Field(2, ge=1, description="solutions of fewer are refused")
    max_steps: int = Field(32, ge=1, description="by rules: short neighbours are joined until there are no more")
    max_step_chars: int = Field(2000, ge=20, description="by rules: longer steps are cut at their sentences")
    min_step_chars: int = Field(
        16, ge=1, description="by rules: shorter steps are joined with neighbours; a Chinese character counts as 3"
    )
    answer_from_gold: bool = Field(False, description="by rules: use the problem's answer where a solution states none")
    max_refused_share: Share = Field(0.5, description="stop when more than this share of the solutions is refused")
    model: TaggingModel | None = Field(None, description="by model: the model that rewrites")

    @model_validator(mode="after")
    def _limits_go_together(self) -> Self:
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps: {self.min_steps} is more than max_steps, {self.max_steps}")
        if self.by == "model" and self.model is None:
            raise ValueError("model: by model needs a model")
        return self

    @property
    def asked_model(self) -> TaggingModel | None:
        """The model that is asked; None where rules cut the solutions."""
        return self.model if self.by == "model" else None

    @property
    def identity(self) -> str:
        """What the table depends on beside the solutions."""
        limits = self.model_dump(exclude={"kind", "by", "model", "sources"})
        asked = f"; model={self.model.identity}" if self.by == "model" and self.model else ""
        return f"by={self.by}; sources={self.sources}; {'; '.join(f'{k}={v}' for k, v in limits.items())}{asked}"
