"""An examination as text. In: an Examination. Out: lines for the terminal."""

from pathlib import Path

from mmprm.preflight.costs import Cost
from mmprm.preflight.examine import Examination, fault_head, gib
from mmprm.preflight.findings import as_list
from mmprm.preflight.machine import Machine
from mmprm.preflight.ranges import Range
from mmprm.preflight.trial import Step


def describe(examination: Examination, results: Path | None = None) -> str:
    """Write base, hardware, memory, costs and disk as tables, and below them what is missing or will not fit."""
    config = examination.config
    lines = [f"run {config.run}", *_base(examination), f"hardware  {_hardware(examination.machine)}", ""]
    memory = [(stage, what, gib(need), gib(has)) for stage, what, need, has in examination.memory()]
    if memory:
        lines += [*columns([("memory", "for", "needs", "has"), *memory]), ""]
    costs = examination.costs(results)
    if costs:
        lines += [*cost_table(costs), ""]
    disk = examination.disk(results)
    if disk:
        free = gib(examination.machine.disk)
        lines += [
            *columns([("disk, at most", ""), *((stage, gib(need)) for stage, need in disk.items()), ("free", free)]),
            "",
        ]
    notes = [finding for finding in examination.findings if not finding.fatal]
    if notes:
        lines += [as_list(notes, "To know:"), ""]
    faults = examination.faults
    lines.append(as_list(faults, fault_head(len(faults))) if faults else "Nothing is missing, and all of it fits.")
    return "\n".join(lines)


def _base(examination: Examination) -> list[str]:
    shape, images = examination.shape, examination.images
    if shape is None:
        return ["base      unknown: no memory, no costs"]
    parts = f"{size(shape.language)} language, {size(shape.vision)} vision"
    pictures = "?" if images is None else f"{images[0]:,} to {images[1]:,}"
    return [
        f"base      {shape.source}: {shape.family}, {size(shape.parameters)} parameters ({parts})",
        f"          {pictures} tokens an image; {shape.kv_bytes(2) / 1024:,.0f} KiB of KV cache a token in 16 bits",
    ]


def size(parameters: int) -> str:
    """Write a number of parameters."""
    return f"{parameters / 1e9:.2f}B" if parameters >= 1e8 else f"{parameters / 1e6:.2f}M"


def _hardware(machine: Machine) -> str:
    if machine.is_cpu:
        return f"no GPU, {gib(machine.memory)} of main memory"
    if machine.gpus is None:
        return "not described"
    speed = f", {machine.tflops:,.0f} TFLOPS" if machine.tflops else ", speed unknown: set hardware.tflops for hours"
    return f"{machine.gpus} x {machine.name}, {gib(machine.gpu_bytes)} each{speed}"


def cost_table(costs: list[Cost]) -> list[str]:
    """Write the costs, and their sum, as a table."""
    rows: list[tuple[str, ...]] = [("stage", "new or trained tokens", "GPU-hours", "GPUs", "")]
    total = Range(0, 0)
    for cost in costs:
        rows.append((cost.stage, amount(cost.tokens), amount(cost.hours), str(cost.gpus), cost.why or cost.work))
        total = total + (cost.hours or 0.0)
    known = all(cost.hours is not None for cost in costs)
    if total.high:
        rows.append(("all" if known else "what is known", "", amount(total), "", ""))
    return columns(rows)


def describe_trial(steps: list[Step], remembered: bool) -> str:
    """Write what a trial has shown, and what the steps that failed said."""
    rows: list[tuple[str, ...]] = [("tried on this machine", "", "seconds")]
    rows += [(step.name, "fails" if step.error else "works", f"{step.seconds:.0f}") for step in steps]
    lines = ["", *columns(rows)]
    if remembered:
        lines.append("(remembered: nothing that it depends on has changed)")
    for step in steps:
        if step.error:
            lines += ["", f"{step.name}:", *(f"  {line}" for line in step.error.splitlines())]
    return "\n".join(lines)


def amount(value: Range | None) -> str:
    """Write a range as its middle and its bounds."""
    if value is None:
        return "unknown"
    if value.low == value.high:
        return _short(value.mean)
    return f"{_short(value.mean)} ({_short(value.low)} to {_short(value.high)})"


def _short(value: float) -> str:
    for limit, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= limit:
            return f"{value / limit:.3g}{sign}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Write rows of cells in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
