"""Does each stage fit? In: the configuration, the base's shape, the machine. Out: findings with the key to change."""

from collections.abc import Iterator

from pydantic import ValidationError

from mmprm.config import Config, Training
from mmprm.preflight.disk import too_little_disk
from mmprm.preflight.findings import Finding, found
from mmprm.preflight.jobs import TrainingJob, longest_prompt, trainings
from mmprm.preflight.machine import Machine
from mmprm.preflight.memory import (
    GIB,
    Serving,
    element_bytes,
    host_bytes,
    on_device,
    serving,
    training_bytes,
)
from mmprm.preflight.shape import BaseShape

_FEWER = "lower policy.images.max_pixels, or set expected.image_tokens to what yours take, if they are smaller"
_SAMPLING = ("seeds", "annotation", "bench")


def unfit(config: Config, shape: BaseShape, machine: Machine, largest: int | None) -> list[Finding]:
    """List what does not fit. largest: tokens of the largest image; None where the family is not known."""
    images = largest or 0
    return [
        *_gpus(config, machine),
        *(finding for job in trainings(config) for finding in _training(config, shape, machine, job, images)),
        *_engine(config, shape, machine, images),
        *_budgets(config, shape, largest),
        *too_little_disk(config, shape, machine),
    ]


def _gpus(config: Config, machine: Machine) -> Iterator[Finding]:
    if not machine.gpus:
        return  # unknown, or a machine without: everything runs on its CPU
    wanted: list[tuple[str, int, tuple[str, ...]]] = [
        (f"{job.key}.gpus", job.training.gpus, (job.stage,)) for job in trainings(config)
    ]
    if config.engine.kind != "server":
        wanted.append(("engine.tensor_parallel", config.engine.tensor_parallel, _SAMPLING))
    for key, count, stages in wanted:
        if count > machine.gpus:
            text = f"{count} GPUs, but a node has {machine.gpus}; lower it, or name the node's GPUs in hardware.gpus"
            yield found(key, text, *stages)


def training_need(config: Config, shape: BaseShape, job: TrainingJob, images: int, **changes: object) -> float:
    """Return the bytes that a device needs for a training, perhaps with some settings changed.

    pydantic's ValidationError where the changed settings do not go together.
    """
    training = Training.model_validate(dict(job.training) | changes)
    processes = max(1, training.gpus) if training.deepspeed else 1
    return on_device(training_bytes(shape, training, job.layout(config, images, training), processes))


def device_memory(machine: Machine) -> tuple[float | None, str]:
    """Return the bytes of the device that models are on, and its name."""
    if machine.is_cpu or (machine.gpus is None and machine.gpu_bytes is None):
        return machine.memory, "main memory"
    return machine.gpu_bytes, "a GPU"


def _training(config: Config, shape: BaseShape, machine: Machine, job: TrainingJob, images: int) -> Iterator[Finding]:
    host = host_bytes(shape, job.training)
    if machine.gpus and machine.memory is not None and host > machine.memory:
        text = f"reading the weights takes {host / GIB:.0f} GiB of main memory, a node has {machine.memory / GIB:.0f}"
        yield found(f"{job.key}.deepspeed", f"{text}; zero2 reads them once a node, zero3 in each process", job.stage)
    memory, what = device_memory(machine)
    need = training_need(config, shape, job, images)
    if memory is None or need <= memory:
        return
    advice = _what_would_fit(config, shape, machine, job, images, memory)
    who = "the policy" if job.variant is None else f"the PRM {job.variant}"
    yield found(
        job.key,
        f"training {who} needs {need / GIB:.1f} GiB, {what} has {memory / GIB:.1f}; {advice}",
        job.stage,
    )


def _what_would_fit(
    config: Config, shape: BaseShape, machine: Machine, job: TrainingJob, images: int, memory: float
) -> str:
    """Name the first change, of those that change no result first, with which a training fits."""
    node = machine.gpus or 1
    saving: dict[str, object] = {"gradient_checkpointing": True, "micro_batch_size": 1}
    tries: list[dict[str, object]] = [{"gradient_checkpointing": True}, {"micro_batch_size": 1}, saving]
    for stage in ("zero2", "zero3"):
        tries += [saving | {"deepspeed": stage, "gpus": gpus} for gpus in sorted({job.training.gpus, node}) if gpus > 1]
    tries += [{"precision": "bf16"}, saving | {"precision": "bf16"}]
    for rank in (16,):
        adapters = saving | {"lora": {"rank": rank}, "deepspeed": "zero2", "precision": "bf16"}
        tries += [{"lora": {"rank": rank}}, adapters]
    tries += [saving | {"max_length": length} for length in (4096, 2048, 1024) if length < job.training.max_length]
    for changes in tries:
        new = {key: value for key, value in changes.items() if getattr(job.training, key) != value}
        try:
            if new and training_need(config, shape, job, images, **new) <= memory:
                return "with " + ", ".join(f"{key}: {_yaml(value)}" for key, value in new.items()) + " it would fit"
        except ValidationError:
            continue
    return "no setting of memory alone makes it fit: take a smaller base, more GPUs, or lora with a smaller max_length"


def _yaml(value: object) -> str:
    return (
        {True: "true", False: "false"}.get(value, str(value))
        if isinstance(value, bool)
        else str(value).replace("'", "")
    )


def engine_memory(config: Config, shape: BaseShape, machine: Machine) -> Serving | None:
    """Return what the sampling engine has on its device; None where that is not known, or a server samples."""
    memory, _ = device_memory(machine)
    if memory is None or config.engine.kind == "server":
        return None
    element = element_bytes(config.engine.dtype, shape)
    if machine.is_cpu:
        cache = config.engine.kv_cache_gib * GIB
        token = shape.kv_bytes(element)
        return Serving(element * shape.parameters, cache, token, int(cache // (token * config.engine.max_model_len)))
    return serving(shape, config.engine, memory, element)


def _engine(config: Config, shape: BaseShape, machine: Machine, images: int) -> Iterator[Finding]:
    engine = engine_memory(config, shape, machine)
    if engine is None or engine.sequences >= 1:
        return
    memory, what = device_memory(machine)
    length = config.engine.max_model_len
    shorter = int(engine.cache // engine.token) // 64 * 64
    prompt = longest_prompt(config, shape, images, 1)
    if machine.is_cpu:
        advice = f"raise it to {-(-int(engine.token * length) // GIB)}"
        text = f"{engine.cache / GIB:.0f} GiB hold no sequence of engine.max_model_len {length}; {advice}"
        yield found("engine.kv_cache_gib", text, *_SAMPLING)
        return
    spread = next((n for n in (2, 4, 8) if n > config.engine.tensor_parallel and n <= (machine.gpus or 1)), None)
    advice = f"lower it to {shorter}" if shorter > prompt else ""
    advice = advice or (f"set engine.tensor_parallel to {spread}" if spread else "take a smaller base or a larger GPU")
    text = (
        f"the weights take {engine.weights / GIB:.1f} GiB of the {(memory or 0) / GIB:.1f} of {what}, and what "
        f"engine.gpu_memory_utilization leaves holds no sequence of {length} tokens; {advice}"
    )
    yield found("engine.max_model_len", text, *_SAMPLING)


def _budgets(config: Config, shape: BaseShape, images: int | None) -> Iterator[Finding]:
    """Compare the tokens of images, questions and solutions with the lengths that the stages allow."""
    if images is None:
        text = (
            f"how many tokens an image of the family {shape.family} takes is not known here; `mmprm check --try` tells"
        )
        yield found("policy.base", text, "policy", fatal=False)
        return
    solution = config.expected.solution_tokens[0]
    prompt = longest_prompt(config, shape, images, 1 if images else 0)
    for job in trainings(config):
        key, longest = f"{job.key}.max_length", job.training.max_length
        if prompt >= longest:
            text = (
                f"{longest} tokens, but an image takes up to {images}: raise it to {round(prompt + solution, -2):.0f}"
            )
            yield found(key, f"{text}, or {_FEWER}", job.stage)
        elif prompt + solution > longest:
            text = f"{longest} tokens: behind an image of {images} a solution of {solution:.0f} is cut at a step"
            yield found(key, text, job.stage, fatal=False)
    engine, new = config.engine, config.sampling.max_new_tokens
    if shape.positions and engine.max_model_len > shape.positions:
        text = (
            f"{engine.max_model_len}, but the base has positions for {shape.positions} tokens, which is then the limit"
        )
        yield found("engine.max_model_len", text, *_SAMPLING, fatal=False)
    length = min(engine.max_model_len, shape.positions or engine.max_model_len)
    several = longest_prompt(config, shape, images, engine.max_images if images else 0)
    if prompt >= length:
        text = f"{length} tokens hold no question with an image, which takes up to {images}: raise it to {prompt + new}"
        text += f", or {_FEWER}"
        yield found("engine.max_model_len", text, *_SAMPLING)
    elif new >= length:
        text = f"{new} tokens do not fit into engine.max_model_len, {length}; lower it, or raise that"
        yield found("sampling.max_new_tokens", text, *_SAMPLING)
    elif several + new > length:
        text = (
            f"{length} tokens: {engine.max_images} images of up to {images} tokens and {new} new ones may take "
            f"{several + new}; solutions of such problems end early, or are not sampled"
        )
        yield found("engine.max_model_len", text, *_SAMPLING, fatal=False)
