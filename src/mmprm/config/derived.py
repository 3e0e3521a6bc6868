"""Sources that are made from other sources: curated pools, and what they set aside for a test.

Step-tagged solutions: config.tagging.

Part of `config`, which is the one place that loads them. In and out: pydantic models.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmprm.config.curation import Curation
from mmprm.config.section import Name, Section


class DerivedSource(Section):
    """Problems of other sources, by their names; ids and `source` stay those of the rows' own sources."""

    kind: str
    sources: list[Name] = Field(min_length=1, description="whose problems these are")

    @property
    def about(self) -> str:
        """For the report."""
        return f"of {', '.join(self.sources)}"


class CuratedSource(DerivedSource, Curation):
    """Problems that are fit to be seeds: with a meaningful image and one answer that can be verified."""

    kind: Literal["curated"]


class SetAsideSource(Section):
    """The test problems that a curated source sets aside: no group of theirs is among the problems that it keeps."""

    kind: Literal["set_aside"]
    of: Name = Field(description="a source of kind curated, with a test_size")

    @property
    def sources(self) -> list[str]:
        """What it is made from."""
        return [self.of]

    @property
    def about(self) -> str:
        """For the report."""
        return f"set aside of {self.of}"
