"""PRMs that others published, as variants: where they are, and how they are asked. In: YAML values. Out: a section."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from mmprm.config.models import FIRST_ERROR_PROMPT, InstructedModel
from mmprm.config.section import Section, Share


class Critic(InstructedModel):
    """A model that is asked for a solution's first error; a server's key is in MMPRM_JUDGE_API_KEY, never here."""

    samples: int = Field(8, ge=1, description="verdicts on a solution, each with a seed of its own")
    max_unreadable_share: Share = Field(0.2, description="stop when more than this share of them cannot be read")

    @property
    def identity(self) -> str:
        """What its scores depend on."""
        return f"{self.asked(FIRST_ERROR_PROMPT)}, {self.samples} samples, {self.tries} tries"


class External(Section):
    """Someone else's PRM, which is not trained but ranks the same candidates."""

    kind: Literal["two_class_head", "token_logits", "value_head", "scores_file", "critic"] = Field(
        description="two_class_head: a classifier, wrong or right, at each separator (Qwen2.5-Math-PRM); token_logits: "
        "the logits of two tokens there (Math-Shepherd, VisualPRM); value_head: a value whose sigmoid counts "
        "(Skywork-o1-PRM); scores_file: a table of problem_id, candidate, probabilities; critic: an instruction model "
        "that is asked for the first error; a step's probability is the share of its verdicts that have none up to it"
    )
    path: Path | None = Field(
        None, description="a local Hugging Face model folder; kind scores_file: a parquet or JSON Lines file"
    )
    critic: Critic | None = Field(None, description="kind critic: where the model is, and how it is asked")
    separator: str = Field("", description="text after each step, at whose last token the PRM is read")
    after: str = Field("", description="text between that and the next step")
    step: str = Field("{step}", description="how a step is written; {number} counts from 1")
    answer: str = Field("{answer}", description="how the final answer is written, as the last step")
    system: str = Field("", description="the chat's system turn; empty: none")
    positive: str | None = Field(None, description="token_logits: the text of the token that says right")
    negative: str | None = Field(None, description="token_logits: the text of the token that says wrong")
    head: str | None = Field(None, description="begin of the head's names in the weights; null: score, or v_head")
    remote_code: bool = Field(False, description="run the code in the folder, which can do anything on this machine")

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        if (self.kind == "critic") != (self.critic is not None):
            raise ValueError("critic: kind critic needs the section of its model, no other kind has one")
        if (self.kind == "critic") != (self.path is None):
            raise ValueError("path: all kinds but critic are in a folder or file; a critic's is critic.model")
        if self.kind not in ("scores_file", "critic") and not self.separator:
            raise ValueError(f"separator: a PRM of kind {self.kind} is read at the end of a text after each step")
        if (self.kind == "token_logits") != (self.positive is not None and self.negative is not None):
            raise ValueError("positive, negative: kind token_logits needs the texts of both tokens, no other kind does")
        if "{step}" not in self.step or "{answer}" not in self.answer:
            raise ValueError("step needs {step} in it, and answer {answer}")
        return self

    @property
    def head_names(self) -> str:
        """How the names of the head's weights begin."""
        return self.head or ("v_head" if self.kind == "value_head" else "score")

    @property
    def folder(self) -> Path:
        """Its folder; of kind scores_file the file."""
        assert self.path is not None  # as the validator above demands
        return self.path

    @property
    def file(self) -> Path | None:
        """A file that is there if it is; None for a model on a server."""
        if self.critic:
            return None if self.critic.kind == "server" else Path(self.critic.model) / "config.json"
        return self.folder if self.kind == "scores_file" else self.folder / "config.json"
