"""What a run is planned for: hardware, and what is assumed of data that is not there yet. In: YAML. Out: sections.

They change no result and no job: `mmprm check`, the checks at the start and `snakemake plan` read them.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mmprm.config.section import Name, Section

Gpu = Literal["a10", "a100-40", "a100", "h100", "h200", "l4", "l40s", "a6000", "rtx3090", "rtx4090", "rtx5090"]

# By the makers' data sheets: memory in GiB as nvidia-smi shows it, dense bfloat16 TFLOPS, memory bandwidth in GB/s.
CARDS: dict[str, tuple[float, float, float]] = {
    "a10": (22.5, 125, 600),
    "a100-40": (40, 312, 1555),
    "a100": (80, 312, 2039),
    "h100": (79.6, 989, 3350),
    "h200": (140.4, 989, 4800),
    "l4": (22.5, 121, 300),
    "l40s": (45, 362, 864),
    "a6000": (48, 155, 768),
    "rtx3090": (24, 71, 936),
    "rtx4090": (24, 165, 1008),
    "rtx5090": (31.8, 209, 1792),
}


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= bounds[0] <= bounds[1]:
        raise ValueError(f"{list(bounds)} are no bounds: give the lower one first, and none below 0")
    return bounds


Bounds = Annotated[tuple[float, float], AfterValidator(_in_order)]


class Hardware(Section):
    """What a node has. What is null is taken from `gpu`, or else from the machine on which the run is started."""

    gpu: Gpu | None = Field(None, description="the card, whose memory and speed are known by its data sheet")
    gpus: int | None = Field(None, ge=0, description="GPUs of a node; 0: it has none")
    gpu_memory_gib: float | None = Field(None, gt=0, description="memory of a GPU, in GiB")
    tflops: float | None = Field(
        None, gt=0, description="peak of a GPU in dense bfloat16, in 10^12 operations a second"
    )
    bandwidth: float | None = Field(None, gt=0, description="of a GPU's memory, in GB/s")
    memory_gib: float | None = Field(None, gt=0, description="main memory of a node, in GiB")
    disk_gib: float | None = Field(None, gt=0, description="free space for results/, in GiB")
    efficiency: Bounds = Field((0.2, 0.45), description="share of the peak that is reached, worst and best")


class Expected(Section):
    """What costs are estimated from before it can be measured, as the least and the most of a mean."""

    rows: dict[Name, int] = Field({}, description="rows of a source whose file is not there, or cannot be counted fast")
    images: float = Field(1, ge=0, description="images a problem")
    image_tokens: Bounds | None = Field(
        None, description="of an image; null: of a small one and of the largest that the base's processor makes"
    )
    image_bytes: Bounds = Field(
        (20_000, 200_000),
        description="of an encoded image, for the disk, where no parquet file holds it yet",
    )
    question_tokens: Bounds = Field((50, 250), description="of a question's text")
    solution_tokens: Bounds = Field((150, 600), description="of a solution that the policy is trained on, or samples")
    seeds_share: Bounds = Field((0.3, 0.9), description="share of the problems that become seeds")
    rollouts: Bounds | None = Field(
        None, description="rollouts of an annotated problem; null: from 5 * annotation.k to annotation.max_rollouts"
    )
    paths: Bounds = Field((4, 40), description="labelled paths of an annotated problem")
    refused: Bounds = Field((0, 0.1), description="share of the rows that intake refuses")
