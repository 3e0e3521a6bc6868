"""Where the rows of a source lie. In: YAML values. Out: sections that other kinds of sources extend."""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from mmprm.config.section import NO_RESULT, Section

Weight = Annotated[
    float,
    Field(
        gt=0,
        le=100,
        description="how often its problems are taken in an epoch of policy training: 2.5 is each twice, and half of "
        "them once more, chosen by the seed",
        json_schema_extra=NO_RESULT,  # of the source; a param of its own of policy training
    ),
]


class DataFiles(Section):
    """Where rows lie: a file, a folder of files (a snapshot of a hub repository), or a repository of the hub."""

    DEFAULT_FILES: ClassVar[tuple[str, ...]] = ("*.parquet",)

    kind: str
    path: Path | None = Field(None, description="a parquet, JSON (Lines), CSV or TSV file, or a folder of such files")
    repo: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$",
        description="in place of `path`: owner/name of a data set on the hub",
    )
    revision: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{40}$",
        description="of `repo`: the commit's whole hash, so that the data cannot change",
    )
    files: list[str] | None = Field(
        None, min_length=1, description="which files of a folder or `repo`, e.g. data/test-*.parquet; null: the split's"
    )
    images: Path | None = Field(None, description="folder of relative image paths; null: that of `path` or `repo`")
    licence: str = Field("unknown", description="stated in the data card", json_schema_extra=NO_RESULT)
    limit: int | None = Field(None, ge=1, description="take the first rows only; null: all")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.repo is None):
            raise ValueError("path: give either path (a file or folder) or repo (a data set of the hub)")
        if (self.repo is None) != (self.revision is None):
            raise ValueError("revision: repo and revision go together; the revision is a commit's whole hash")
        return self

    @property
    def patterns(self) -> tuple[str, ...]:
        """Patterns of the data files in a folder or repository, for fnmatch (`*` may stand for folders too)."""
        split = getattr(self, "split", None)
        if self.files is None and split:
            return tuple(f"{start}{split}{end}.parquet" for start in ("", "*/") for end in ("", "-*"))
        return tuple(self.files or self.DEFAULT_FILES)

    def local_files(self) -> list[Path]:
        """List the files below `path`, or `path` itself where it is no folder; none for a repository of the hub."""
        if self.path is None:
            return []
        return self.matching(self.path) if self.path.is_dir() else [self.path]

    def matching(self, folder: Path) -> list[Path]:
        """List the files below a folder that match `patterns`, in order."""
        paths = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
        relative = {path: path.relative_to(folder).as_posix() for path in paths}
        return sorted(
            path
            for path in paths
            if not _is_hidden(relative[path]) and any(fnmatchcase(relative[path], pattern) for pattern in self.patterns)
        )

    @property
    def about(self) -> str:
        """Its description in the report."""
        place = f"{self.repo} at {self.revision}" if self.path is None else self.path.name
        return f"{place}, licence {self.licence}"


def _is_hidden(relative: str) -> bool:
    """Tell whether a file is no data: macOS keeps ._name beside name, and archives have a folder __MACOSX."""
    return any(part.startswith(".") or part == "__MACOSX" for part in relative.split("/"))


class ProblemFiles(DataFiles):
    """Files of problems."""

    weight: Weight = 1.0
