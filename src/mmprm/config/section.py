"""What every section of the configuration is, and the types that several have. Part of `config`, which loads them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# Keys of any section that change memory, speed or a card, not the result.
NOT_RESULTS = {
    "micro_batch_size",
    "gradient_checkpointing",
    "save_every",
    "deepspeed",
    "gpus",
    "report_to",
    "licence",
    "weight",  # of a source's problems in policy training, which has it as a param of its own
    "judge_after",
    "consensus",  # of labels, which filters what is gathered in a rule of its own
    "sets",  # of labels, each gathered by itself
}


def _beside_results(path: str) -> str:
    if path.startswith("/") or {"..", ""} & set(path.split("/")) or path.startswith("results/"):
        raise ValueError("not a relative path outside of results/, such as data/pool.parquet")
    return path


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
LocalFile = Annotated[str, AfterValidator(_beside_results)]
StoreAddress = Annotated[str, Field(pattern=r"^s3://[A-Za-z0-9.-]+/[^\s?#]+$")]
Share = Annotated[float, Field(ge=0, le=1)]
Aggregate = Literal["min", "max", "average", "last", "product", "sum_log_pr", "sum_log_odds", "mean_odds"]


def _plain_address(url: str) -> str:
    # A pattern of the field would not do: its error quotes the value, which may hold a password.
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", url):
        raise ValueError("not an address such as http://host:8000/v1 (http or https; no user, password or query)")
    return url


Address = Annotated[str, AfterValidator(_plain_address)]


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
