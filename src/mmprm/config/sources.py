"""Sources of problems and of labelled steps. In: YAML values. Out: sections."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from mmprm.config.data_files import DataFiles, ProblemFiles, Weight
from mmprm.config.derived import CuratedSource, SampledSource, SetAsideSource, TaggedSource
from mmprm.config.section import NO_RESULT, Section, Share

Column = Literal[
    "id",
    "question",
    "answer",
    "image",
    "choices",
    "answer_type",
    "solution",
    "precision",
    "unit",
    "tolerance",
    "group",
    "family",
]
TurnColumn = Literal["id", "turns", "image", "answer", "answer_type", "choices", "group", "family"]
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
    split: Literal["sft", "seeds", "dev", "test", "sealed"] = Field(
        description="the splits never share a figure, nor a mirror twin of one; sealed: for tests that the "
        "target `sealed` draws at the first look"
    )
    size: int = Field(ge=1, description="how many problems")
    families: list[Family] = Field(
        min_length=1,
        description="kinds of problems, drawn in turn; story and long_story are word problems without a figure, for a "
        "base that reads text alone",
    )
    seed: int | None = Field(
        None, ge=0, description="of the problems that are drawn; null: the run's; none of split sealed"
    )
    wrong_routes: Share = Field(
        0,
        description="of the split sft: the share of the solutions that take a wrong route (a perimeter without "
        "doubling, …) and end at a wrong answer, so that the policy errs systematically",
    )
    weight: Weight = 1.0

    @model_validator(mode="after")
    def _only_solutions_that_are_learnt_are_wrong(self) -> Self:
        if self.wrong_routes and self.split != "sft":
            raise ValueError(
                f"wrong_routes: solutions of split {self.split} are not learnt; set it for split sft alone"
            )
        return self

    @property
    def about(self) -> str:
        """Its description in the report."""
        wrong = f"; {self.wrong_routes:.0%} of the solutions by a wrong route" if self.wrong_routes else ""
        return f"split {self.split}: {', '.join(self.families)}{wrong}"


class MappedFiles(ProblemFiles):
    """Files whose columns are mapped to those of a problem."""

    answer_is: Literal["value", "index", "letter"] | None = Field(
        None,
        description="of a question with choices, what the answer's column has: value: a choice's own text; index: its "
        "place, from 0; letter: its letter; null: any, and rows that can be read in two ways are refused",
    )
    composite: bool = Field(
        False, description="one picture may hold what the question calls <image1>, <image2>, … (as MathVision's do)"
    )
    image_optional: bool = Field(
        False, description="rows whose cell for images is empty are problems of text alone; false: they are refused"
    )


class TableSource(MappedFiles):
    """Problems in people's own tables: parquet, JSON, JSON Lines, CSV or TSV, with a map of the columns."""

    kind: Literal["table"]
    columns: dict[Column, str] = Field(
        default_factory=dict,
        description="our column -> theirs; empty: there is none (no id: the row's number). id, question, answer and "
        "image must exist. Choices that have a column each are named with commas, as {choices: 'A,B,C,D'}",
    )


class ImageFolderSource(MappedFiles):
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
    """AI4Math/MathVerse: 788 problems, each in five versions; and the same in text alone."""

    kind: Literal["mathverse"]
    split: Literal["testmini", "testmini_text_only"] = Field("testmini", description="which of its splits with answers")


class MathVisionSource(ProblemFiles):
    """MathLLMs/MathVision. Its testmini is a part of its test."""

    kind: Literal["mathvision"]
    split: Literal["test", "testmini"] = Field("test", description="which of its splits")


class OlympiadBenchSource(ProblemFiles):
    """Hothan/OlympiadBench, English competition mathematics with pictures."""

    kind: Literal["olympiadbench"]
    split: Literal["OE_MM_maths_en_COMP"] = Field("OE_MM_maths_en_COMP", description="its subset")


class MmmuSource(ProblemFiles):
    """MMMU/MMMU: several choices or an open answer, with up to seven pictures."""

    kind: Literal["mmmu"]
    split: Literal["validation", "dev"] = Field("validation", description="which of its splits with answers")


class DynaMathSource(ProblemFiles):
    """DynaMath: variants of one question, each with its own numbers and picture."""

    DEFAULT_FILES = ("*sample_variant*.parquet", "dataset.json")
    kind: Literal["dynamath"]


class WeMathSource(ProblemFiles):
    """We-Math: problems of two or three steps, and each step as a problem of its own."""

    DEFAULT_FILES = ("testmini.json", "*testmini*.parquet")
    kind: Literal["we_math"]


class LogicVistaSource(ProblemFiles):
    """LogicVista: questions about drawings, some with several right choices."""

    DEFAULT_FILES = ("dataset.json",)
    kind: Literal["logicvista"]


NewerSource = MmmuSource | DynaMathSource | WeMathSource | LogicVistaSource
BenchmarkSource = MmK12Source | MathVistaSource | MathVerseSource | MathVisionSource | OlympiadBenchSource | NewerSource
DERIVED = CuratedSource | TaggedSource | SetAsideSource | SampledSource
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


class ExportedSteps(DataFiles):
    """data/labels.parquet of `mmprm export`: another run's paths, with counts, hard and soft labels, and answers."""

    DEFAULT_FILES = ("*labels.parquet",)
    kind: Literal["exported"]


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
StepSource = Annotated[VisualPrmSteps | MathShepherdSteps | ExportedSteps | StepBenchmark, Field(discriminator="kind")]

# Section of the configuration -> kind -> its class.
KINDS: dict[str, dict[str, type[Section]]] = {
    name: {get_args(member.model_fields["kind"].annotation)[0]: member for member in get_args(get_args(union)[0])}
    for name, union in (("sources", Source), ("step_data", StepSource))
}
