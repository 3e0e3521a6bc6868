"""Sources of problems and of labelled steps. In: YAML values. Out: sections."""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from mmprm.config.derived import CuratedSource, SetAsideSource, TaggedSource
from mmprm.config.section import NO_RESULT, Section, Share

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
        json_schema_extra=NO_RESULT,  # of the source; a param of its own of policy training
    ),
]
Family = Literal["bars", "rectangle", "triangle", "table", "lshape", "grid", "check", "story", "long_story"]


class Intake(Section):
    """Which rows of a source are refused, and when so many are that the run stops."""

    max_refused_share: Share = Field(0.05, description="stop when more than this share of a source's rows is refused")
    judge_after: int | None = Field(
        100_000,
        ge=1,
        description="after so many rows of a source the share is also compared with those read so far, so that a bad "
        "source stops early; null: only when the bound cannot be kept any more, or at the end",
        json_schema_extra=NO_RESULT,
    )
    max_image_pixels: int = Field(
        25_000_000, ge=1, le=178_956_970, description="larger images are refused undecoded; at most Pillow's own limit"
    )


class MiniSource(Section):
    """Drawn problems of the mini world."""

    kind: Literal["mini"]
    split: Literal["sft", "seeds", "dev", "test"] = Field(description="the splits never share a problem")
    size: int = Field(ge=1, description="how many problems")
    families: list[Family] = Field(
        min_length=1,
        description="kinds of problems, drawn in turn; story and long_story are word problems without a figure, for a "
        "base that reads text alone",
    )
    weight: Weight = 1.0

    @property
    def about(self) -> str:
        """Its description in the report."""
        return f"split {self.split}: {', '.join(self.families)}"


class DataFiles(Section):
    """Where rows lie: a file, a folder of files (a snapshot of a hub repository), or a repository of the hub."""

    DEFAULT_FILES: ClassVar[tuple[str, ...]] = ("*.parquet",)

    kind: str
    path: Path | None = Field(None, description="a parquet, JSON, JSON Lines or CSV file, or a folder of such files")
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
        return sorted(path for path in paths if any(fnmatchcase(relative[path], pattern) for pattern in self.patterns))

    @property
    def about(self) -> str:
        """Its description in the report."""
        place = f"{self.repo} at {self.revision}" if self.path is None else self.path.name
        return f"{place}, licence {self.licence}"


class ProblemFiles(DataFiles):
    """Files of problems."""

    weight: Weight = 1.0


class TableSource(ProblemFiles):
    """Problems in people's own tables: parquet, JSON, JSON Lines or CSV, with a map of the columns."""

    kind: Literal["table"]
    columns: dict[Column, str] = Field(
        default_factory=dict,
        description="our column -> theirs; empty: there is none (no id: the row's number). id, question, answer and "
        "image must exist",
    )


class ImageFolderSource(ProblemFiles):
    """A folder of images with metadata.csv, metadata.jsonl or metadata.parquet, as the hub's imagefolder has it."""

    DEFAULT_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
    kind: Literal["image_folder"]
    columns: dict[Column, str] = Field(
        default_factory=dict,
        description="our column -> theirs, as for kind table; image and id are file_name unless given",
    )


class ConversationSource(ProblemFiles):
    """Rows of turns: a question with `<image>` placeholders, and a reply, which is the solution."""

    DEFAULT_FILES = ("*.parquet", "*.jsonl", "*.json")
    kind: Literal["conversations"]
    columns: dict[TurnColumn, str] = Field(
        default_factory=dict,
        description="our column -> theirs; empty: there is none (no id: the row's number). turns is conversations, id "
        "is id, image is image or images, unless given",
    )
    answer: Literal["boxed", "tag", "last_line", "whole"] = Field(
        "boxed",
        description="where the gold answer is in the reply, unless a column has it: the last box, the last <answer> "
        "tag, the last line; whole: the reply is the answer, and no solution",
    )
    extra_turns: Literal["refuse", "drop"] = Field(
        "refuse", description="of a row that goes on after the first reply: refuse the row, or take its first question"
    )


class MmK12Source(ProblemFiles):
    """MM-K12, as Cierra0506/MM-K12 or FanqingM/MMK12 publish it, and the 500 test problems with image paths."""

    kind: Literal["mm_k12"]
    split: Literal["train", "test"] = Field("train", description="which of its splits")


class MathVistaSource(ProblemFiles):
    """AI4Math/MathVista."""

    kind: Literal["mathvista"]
    split: Literal["testmini"] = Field("testmini", description="its split with answers")
    hints: bool = Field(False, description="put the official hint (the form of the answer) before the question")


class MathVerseSource(ProblemFiles):
    """AI4Math/MathVerse: 788 problems, each in five versions."""

    kind: Literal["mathverse"]
    split: Literal["testmini"] = Field("testmini", description="its split with answers")


class MathVisionSource(ProblemFiles):
    """MathLLMs/MathVision. Its testmini is a part of its test."""

    kind: Literal["mathvision"]
    split: Literal["test", "testmini"] = Field("test", description="which of its splits")


class OlympiadBenchSource(ProblemFiles):
    """Hothan/OlympiadBench, English competition mathematics with pictures."""

    kind: Literal["olympiadbench"]
    split: Literal["OE_MM_maths_en_COMP"] = Field("OE_MM_maths_en_COMP", description="its subset")


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
    split: Literal["train", "test"] = Field("train", description="which of its splits")


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
