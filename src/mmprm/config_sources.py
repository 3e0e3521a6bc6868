"""The configuration's sources of problems, and what every section of the configuration is. In and out: pydantic models.

Part of `config`, which is the one place that loads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Column = Literal["id", "question", "answer", "image", "choices", "answer_type", "solution"]


class Section(BaseModel):
    """A section of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _yes_is_no_number(cls, values: Any) -> Any:
        for name, field in cls.model_fields.items():
            value = values.get(name) if isinstance(values, dict) else None
            if isinstance(value, bool) and field.annotation is not bool:  # else `k: yes` would be read as k: 1
                raise ValueError(f"{name} is {value}: true and false are not allowed there")
        return values


class MiniSource(Section):
    """Drawn problems of the mini world."""

    kind: Literal["mini"]
    split: Literal["sft", "seeds", "dev", "test"] = Field(description="the splits never share a problem")
    size: int = Field(ge=1, description="how many problems")
    families: list[str] = Field(min_length=1, description="families of mmprm.problems.mini")


class TableSource(Section):
    """Problems in a local parquet, JSON or JSON Lines file."""

    kind: Literal["table"]
    path: Path = Field(description="the file; image paths in it are relative to `images`")
    images: Path | None = Field(None, description="folder of the image files; default: the folder of `path`")
    columns: dict[Column, str] = Field(
        default_factory=dict,
        description="our column -> theirs; empty: there is none. id, question, answer and image must be there",
    )
    licence: str = Field("unknown", description="stated in the data card")
    limit: int | None = Field(None, ge=1, description="take the first rows only")


Source = Annotated[MiniSource | TableSource, Field(discriminator="kind")]


def share_problems(one: MiniSource | TableSource, other: MiniSource | TableSource) -> bool:
    """Are two sources the same file, or the same split and family of the mini world?"""
    if isinstance(one, MiniSource) and isinstance(other, MiniSource):
        return one.split == other.split and not set(one.families).isdisjoint(other.families)
    if isinstance(one, TableSource) and isinstance(other, TableSource):
        return one.path.resolve() == other.path.resolve()
    return False
