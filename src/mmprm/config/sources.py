"""The configuration's sources of problems and of labelled steps. In and out: pydantic models.

Part of `config`, which is the one place that loads them.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from mmprm.config.derived import CuratedSource, SetAsideSource
from mmprm.config.section import Section
from mmprm.config.tagging import TaggedSource

Column = Literal[
    "id", "question", "answer", "image", "choices", "answer_type", "solution", "precision", "unit", "tolerance", "group"
]

TurnColumn = Literal["id", "turns", "image", "answer", "answer_type", "choices", "group"]
Weight = Annotated[
    float,
    Field(
        gt=0,
        le=100,
        description="how often its problems are taken in an epoch of policy training: 2.5 is each twice, and half of "
        "them once more, chosen by the seed",
    ),
]


Family = Literal["bars", "rectangle", "triangle", "table", "lshape", "grid", "check"]


class MiniSource(Section):
    """Drawn problems of the mini world."""

    kind: Literal["mini"]
    split: Literal["sft", "seeds", "dev", "test"] = Field(description="the splits never share a problem")
    size: int = Field(ge=1, description="how many problems")
    families: list[Family] = Field(min_length=1, description="kinds of problems, drawn in turn")
    weight: Weight = 1.0

    @property
    def about(self) -> str:
        """For the report."""
        return f"split {self.split}: {', '.join(self.families)}"


class DataFiles(Section):
    """Where rows lie: a file, a folder of files (a snapshot of a hub repository), or a repository of the hub."""

    DEFAULT_FILES: ClassVar[tuple[str, ...]] = ("*.parquet",)

    kind: str
    path: Path | None = Field(
        None, description="a parquet, JSON, JSON Lines or CSV file, or a folder that has such files"
    )
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
        None,
        min_length=1,
        description="which files of a folder or `repo`, e.g. data/test-*.parquet; default: the split's",
    )
    images: Path | None = Field(
        None, description="image paths are relative to this folder; default: that of `path`, or the repository"
    )
    licence: str = Field("unknown", description="stated in the data card")
    limit: int | None = Field(None, ge=1, description="take the first rows only")

    @model_validator(mode="after")
    def _one_place(self) -> DataFiles:
        if (self.path is None) == (self.repo is None):
            raise ValueError("path: give either path (a file or folder) or repo (a data set of the hub)")
        if (self.repo is None) != (self.revision is None):
            raise ValueError("revision: repo and revision go together; the revision is a commit's whole hash")
        return self

    @property
    def patterns(self) -> tuple[str, ...]:
        """Of the data files in a folder or repository, as fnmatch reads them (`*` may stand for folders too)."""
        split = getattr(self, "split", None)
        if self.files is None and split:
            return tuple(f"{start}{split}{end}.parquet" for start in ("", "*/") for end in ("", "-*"))
        return tuple(self.files or self.DEFAULT_FILES)

    def local_files(self) -> list[Path]:
        """The files below `path`, or `path` itself where it is no folder; none for a repository of the hub."""
        if self.path is None:
            return []
        return self.matching(self.path) if self.path.is_dir() else [self.path]

    def matching(self, folder: Path) -> list[Path]:
        """The files below a folder that `patterns` mean, in order."""
        names = {path: path.relative_to(folder).as_posix() for path in _below(folder)}
        return sorted(path for path, name in names.items() if any(fnmatchcase(name, one) for one in self.patterns))

    @property
    def about(self) -> str:
        """For the report."""
        place = f"{self.repo} at {self.revision}" if self.path is None else self.path.name
        return f"{place}, licence {self.licence}"


def _below(folder: Path) -> list[Path]:
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]


class ProblemFiles(DataFiles):
    """Files of problems."""

    weight: Weight = 1.0


class TableSource(ProblemFiles):
    """Problems in people's own tables: parquet, JSON, JSON Lines or CSV, with a map of the columns."""

    kind: Literal["table"]
    columns: dict[Column, str] = Field(
        default_factory=dict,
        description="our column -> theirs; empty: there is none (no id: the row's number). id, question, answer and "
        "image must be there",
    )


class ImageFolderSource(ProblemFiles):
    """A folder of images with metadata.csv, metadata.jsonl or metadata.parquet, as the hub's imagefolder has it."""

    DEFAULT_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
    kind: Literal["image_folder"]
    columns: dict[Column, str] = Field(
        default_factory=dict,
        description="our column -> theirs, as for kind table; image and id are file_name, unless it is said here",
    )


class ConversationSource(ProblemFiles):
    """Rows of turns: a question with `<image>` placeholders, and a reply, which is the solution."""

    DEFAULT_FILES = ("*.parquet", "*.jsonl", "*.json")
    kind: Literal["conversations"]
    columns: dict[TurnColumn, str] = Field(
        default_factory=dict,
        description="our column -> theirs; empty: there is none (no id: the row's number). turns is conversations, id "
        "is id, image is image or images, unless it is said here",
    )
    answer: Literal["boxed", "tag", "last_line", "whole"] = Field(
        "boxed",
        description="where the reply has the gold answer, unless a column has it: the last box, the last <answer> tag, "
        "the last line; whole: the reply is the answer, and no solution",
    )
    extra_turns: Literal["refuse", "drop"] = Field(
        "refuse", description="of a row that goes on after the first reply: refuse the row, or take its first question"
    )


class MmK12Source(ProblemFiles):
    """MM-K12, as Cierra0506/MM-K12 or FanqingM/MMK12 publish it, and the 500 test problems with image paths."""

    kind: Literal["mm_k12"]
    split: Literal["train", "test"] = "train"


class MathVistaSource(ProblemFiles):
    """AI4Math/MathVista."""

    kind: Literal["mathvista"]
    split: Literal["testmini"] = "testmini"
    hints: bool = Field(False, description="put the official hint (the form of the answer) before the question")


class MathVerseSource(ProblemFiles):
    """AI4Math/MathVerse: 788 problems, each in five versions."""

    kind: Literal["mathverse"]
    split: Literal["testmini"] = "testmini"


class MathVisionSource(ProblemFiles):
    """MathLLMs/MathVision. Its testmini is a part of its test."""

    kind: Literal["mathvision"]
    split: Literal["test", "testmini"] = "test"


class OlympiadBenchSource(ProblemFiles):
    """Hothan/OlympiadBench, English competition mathematics with pictures."""

    kind: Literal["olympiadbench"]
    split: Literal["OE_MM_maths_en_COMP"] = "OE_MM_maths_en_COMP"


BenchmarkSource = MmK12Source | MathVistaSource | MathVerseSource | MathVisionSource | OlympiadBenchSource
DERIVED = CuratedSource | TaggedSource | SetAsideSource
OwnSource = TableSource | ImageFolderSource | ConversationSource
Source = Annotated[MiniSource | OwnSource | BenchmarkSource | DERIVED, Field(discriminator="kind")]


class VisualPrmSteps(DataFiles):
    """OpenGVLab/VisualPRM400K-v1.1-Raw, unpacked: steps with Monte Carlo counts."""

    DEFAULT_FILES = ("*.jsonl",)
    kind: Literal["visualprm400k"]


class MathShepherdSteps(DataFiles):
    """trl-lib/math_shepherd, and any table of the stepwise-supervision form: prompt, completions, labels."""

    kind: Literal["math_shepherd"]
    split: Literal["train", "test"] = "train"


class VisualProcessBenchSteps(DataFiles):
    """OpenGVLab/VisualProcessBench: a benchmark."""

    DEFAULT_FILES = ("*test.jsonl",)
    kind: Literal["visualprocessbench"]


class ProcessBenchSteps(DataFiles):
    """Qwen/ProcessBench: a benchmark."""

    DEFAULT_FILES = ("*.json",)
    kind: Literal["processbench"]


class PrmBenchSteps(DataFiles):
    """hitsmy/PRMBench_Preview: a benchmark."""

    DEFAULT_FILES = ("*.jsonl",)
    kind: Literal["prmbench"]


StepBenchmark = VisualProcessBenchSteps | ProcessBenchSteps | PrmBenchSteps
StepSource = Annotated[VisualPrmSteps | MathShepherdSteps | StepBenchmark, Field(discriminator="kind")]

# Section of the configuration -> kind -> its class.
KINDS: dict[str, dict[str, type[Section]]] = {
    name: {get_args(member.model_fields["kind"].annotation)[0]: member for member in get_args(get_args(union)[0])}
    for name, union in (("sources", Source), ("step_data", StepSource))
}
