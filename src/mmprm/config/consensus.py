"""The configuration of the consensus filter of step labels. Part of `config`. In and out: pydantic models."""

from __future__ import annotations

from pydantic import Field

from mmprm.config.llm import InstructedModel
from mmprm.config.section import Share

CONSENSUS_PROMPT = "1"  # the version of what the judging model is asked, and of how its replies are read


class Consensus(InstructedModel):
    """The model that says where a path's first error is; a server's key is in MMPRM_JUDGE_API_KEY, never here."""

    max_unreadable_share: Share = Field(
        0.2, description="stop when of more than this share of the paths the model says nothing that can be read"
    )

    @property
    def identity(self) -> str:
        """What the kept paths depend on beside the labelled ones."""
        return f"{self.asked(CONSENSUS_PROMPT)}, {self.tries} tries"
