"""What every section of the configuration is, and types that several of them share. In: YAML values. Out: `Section`."""

import re
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

# Marks a field (`json_schema_extra`) that is no param of the rule that reads its section: it changes memory, speed or a
# card, or a rule of its own depends on it. A change of it repeats nothing there.
NO_RESULT: JsonDict = {"result": False}


class Section(BaseModel):
    """A section of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @classmethod
    def no_results(cls) -> set[str]:
        """Name the fields that cannot change a result."""
        return {name for name, field in cls.model_fields.items() if not is_result(field)}

    @model_validator(mode="before")
    @classmethod
    def _yes_is_no_number(cls, values: Any) -> Any:
        for name, field in cls.model_fields.items():
            value = values.get(name) if isinstance(values, dict) else None
            if isinstance(value, bool) and field.annotation is not bool:  # else `k: yes` would be read as k: 1
                raise ValueError(f"{name} is {value}: true and false are not allowed there")
        return values


def is_result(field: FieldInfo) -> bool:
    """Tell whether a field of a section can change a result."""
    return field.json_schema_extra != NO_RESULT


def check_names(key: str, names: Iterable[str], existing: Collection[str], kind: str = "") -> None:
    """Check that names of a key exist: ValueError shows the first that does not, and those that are allowed."""
    for name in names:
        if name not in existing:
            raise ValueError(f"{key}: there is no {kind}{name!r}; allowed: {sorted(existing)}")


def _outside_results(path: str) -> str:
    if path.startswith("/") or {"..", ""} & set(path.split("/")) or path.startswith("results/"):
        raise ValueError("not a relative path outside of results/, such as data/pool.parquet")
    return path


def _no_option(path: str) -> str:
    if path.startswith("--"):
        raise ValueError(f"a command would read it as an option: write ./{path}")
    return path


def _plain_address(url: str) -> str:
    # A pattern of the field would not do: its error quotes the value, which may hold a password.
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", url):
        raise ValueError("not an address such as http://host:8000/v1 (http or https; no user, password or query)")
    return url


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
LocalFile = Annotated[str, AfterValidator(_outside_results)]
TableFile = Annotated[str, Field(min_length=1), AfterValidator(_no_option)]
StoreAddress = Annotated[str, Field(pattern=r"^s3://[A-Za-z0-9.-]+/[^\s?#{}]+$")]
Address = Annotated[str, AfterValidator(_plain_address)]
Share = Annotated[float, Field(ge=0, le=1)]
Aggregate = Literal["min", "max", "average", "last", "product", "sum_log_pr", "sum_log_odds", "mean_odds"]
