"""Tokens and GPU-hours of every stage, by arithmetic. In: configuration, base, machine. Out: a Cost a stage.

Operations are those of Kaplan et al. (arXiv 2001.08361, section 2.1): 2 a parameter and token forward, twice that
backward; a recomputed activation costs its forward pass again, and adapters need no gradients of the weights beside
them. The time is that of the operations at the share of the peak that `hardware.efficiency` gives, and, for sampling,
of reading weights and KV cache from memory at each step. Each bound follows from all assumptions at that end.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from mmprm.config import Config, Training
from mmprm.preflight.fits import engine_memory
from mmprm.preflight.jobs import TrainingJob, trainings
from mmprm.preflight.machine import Machine
from mmprm.preflight.memory import element_bytes
from mmprm.preflight.ranges import Range
from mmprm.preflight.rows import count_rows
from mmprm.preflight.shape import BaseShape

_READING = Range(0.4, 0.7)  # share of the memory's bandwidth that decoding reaches
_START_UP = Range(60, 400)  # seconds of an engine
_DROPPED = Range(0, 0.2)  # share of the completions whose prompt is no longer in the prefix cache
_SHARED_ON_TREES = Range(0.2, 0.8)  # tokens of prefix trees, of those of their paths
_CONTINUED = Range(0.4, 0.9)  # share of a solution that a rollout of a state in the middle of it still writes


@dataclass(frozen=True)
class Cost:
    """What a stage takes; `hours` are of GPUs, None where the GPU's speed is not known. `why`: where it is unknown."""

    stage: str
    work: str
    tokens: Range | None = None
    hours: Range | None = None
    gpus: int = 1
    why: str = ""


class Estimate:
    """The costs of a run, stage by stage."""

    def __init__(
        self, config: Config, shape: BaseShape, machine: Machine, images: tuple[int, int], results: Path | None = None
    ) -> None:
        self.config, self.shape, self.machine, self.results = config, shape, machine, results
        expected = config.expected
        self.image = Range(*images) * expected.images
        self.prompt = self.image + Range(*expected.question_tokens) + 20.0
        self.solution = Range(*expected.solution_tokens)

    def costs(self) -> list[Cost]:
        """Return the cost of each stage that loads a model."""
        seeds = self._seeds()
        return [
            *(self._policy(job) for job in trainings(self.config) if job.variant is None),
            self.pool_sampling(),
            self._annotation(seeds),
            *(self._prm(job, seeds) for job in trainings(self.config) if job.variant is not None),
            *(self.benchmark(name) for name in self.config.benchmarks),
        ]

    def _rows(self, names: list[str]) -> tuple[Range | None, str]:
        """Return the problems of some sources that intake takes, and why they are not known."""
        total = 0
        for name in names:
            rows = count_rows(self.config, name, self.results)
            if rows is None:
                return None, f"set expected.rows.{name}"
            total += rows
        low, high = self.config.expected.refused
        return Range(total * (1 - high), total * (1 - low)), ""

    def _seeds(self) -> tuple[Range | None, str]:
        pool, why = self._rows(list(self.config.seeds.sources))
        if pool is None:
            return None, why
        seeds = pool * Range(*self.config.expected.seeds_share)
        return seeds.at_most(self.config.seeds.max_seeds or math.inf), ""

    def _policy(self, job: TrainingJob) -> Cost:
        rows, why = self._rows(list(self.config.policy.sources))
        if rows is None:
            return Cost("policy", "fine-tuning", gpus=job.processes, why=why)
        length = (self.prompt + self.solution).at_most(job.training.max_length)
        return self._trained("policy", f"fine-tuning on {_count(rows)} solutions", job, rows, length)

    def _prm(self, job: TrainingJob, seeds: tuple[Range | None, str]) -> Cost:
        stage, (problems, why) = f"prm {job.variant}", seeds
        if problems is None:
            return Cost(stage, "training", gpus=job.processes, why=why)
        paths = problems * Range(*self.config.expected.paths)
        most = self.config.prm.variants[str(job.variant)].max_paths_per_problem
        paths = Range(
            min(paths.low, (most or math.inf) * problems.low), min(paths.high, (most or math.inf) * problems.high)
        )
        length = (self.prompt + self.solution).at_most(job.training.max_length)
        if self.config.prm.packing_of(str(job.variant)) == "trees":
            length = length * _SHARED_ON_TREES
        times = "training" if job.times == 1 else f"{job.times} trainings"
        return self._trained(stage, f"{times} on {_count(paths)} paths", job, paths, length)

    def _trained(self, stage: str, work: str, job: TrainingJob, examples: Range, length: Range) -> Cost:
        training = job.training
        passes = examples * training.epochs
        if training.max_steps and training.batch_labels is None:
            passes = passes.at_most(training.max_steps * training.batch_size)
        passes = passes * float(job.times)
        tokens = passes * length
        pictures = passes * self.image
        operations = tokens * training_operations(self.shape, training, length.high)
        operations = operations + pictures * (8.0 * self.shape.vision * (1 if training.freeze_vision else 3))
        return Cost(stage, work, tokens, self._hours(operations), job.processes)

    def _hours(self, operations: Range) -> Range | None:
        if not self.machine.tflops:
            return None
        return operations / (Range(*self.config.hardware.efficiency) * (self.machine.tflops * 1e12)) / 3600.0

    def pool_sampling(self) -> Cost:
        """Return the cost of the rollouts that choose seeds."""
        problems, why = self._rows(list(self.config.seeds.sources))
        work = "rollouts that choose seeds"
        if problems is None:
            return Cost("seeds", work, why=why)
        rollouts = problems * float(self.config.seeds.rollouts)
        if self.config.seeds.adaptive:
            rollouts = rollouts * Range(0.3, 0.9)
        rollouts = rollouts * (2.0 if self.config.seeds.blank_image else 1.0)
        return self.sampled("seeds", work, problems, rollouts, self.solution, self.config.shards.seeds)

    def _annotation(self, seeds: tuple[Range | None, str]) -> Cost:
        problems, why = seeds
        settings = self.config.annotation
        if problems is None:
            return Cost("annotation", "tree search", why=why)
        bounds = self.config.expected.rollouts or (min(5 * settings.k, settings.max_rollouts), settings.max_rollouts)
        rollouts = problems * Range(*bounds)
        work = f"tree search of {_count(problems)} problems"
        length = self.solution * _CONTINUED
        return self.sampled("annotation", work, problems, rollouts, length, self.config.shards.annotation)

    def benchmark(self, name: str) -> Cost:
        """Return the cost of a benchmark: its candidates, and their scores by every training of every variant."""
        problems, why = self._rows([self.config.benchmarks[name].source])
        if problems is None:
            return Cost(f"bench {name}", "candidates and scores", why=why)
        models = len(self.config.prm.models)
        candidates = problems * float(self.config.bench.n)
        shards = self.config.shards.bench
        work = f"{self.config.bench.n} candidates of {_count(problems)} problems, scored by {models} PRMs"
        sampled = self.sampled(f"bench {name}", work, problems, candidates, self.solution, shards)
        # A scorer reads a problem's prompt once, or again for each candidate.
        read = candidates * self.solution + Range(problems.low, candidates.high) * self.prompt
        scored = self._hours(read * (2.0 * self.shape.language * models))
        hours = sampled.hours + scored if sampled.hours and scored else sampled.hours
        return Cost(sampled.stage, work, sampled.tokens, hours, sampled.gpus)

    def sampled(self, stage: str, work: str, problems: Range, completions: Range, length: Range, shards: int) -> Cost:
        """Return the cost of completions. length: tokens of one; each is new, and ends at max_new_tokens."""
        length = length.at_most(self.config.sampling.max_new_tokens)
        tokens = completions * length
        gpus = self.config.engine.tensor_parallel
        rate = self.tokens_per_second(length)
        # A prompt is read once a problem, and again where the cache has dropped it.
        read = problems * self.prompt + completions * self.prompt * _DROPPED
        prompts = self._hours(read * (2.0 * self.shape.language))
        pictures = self._hours(problems * self.image * (8.0 * self.shape.vision))
        if rate is None or prompts is None or pictures is None:
            return Cost(stage, work, tokens, None, gpus)
        start = _START_UP * (shards * gpus / 3600)
        return Cost(stage, work, tokens, tokens / rate * (gpus / 3600) + prompts + pictures + start, gpus)

    def tokens_per_second(self, length: Range) -> Range | None:
        """Return the new tokens a second of one engine with its batch full; None where the GPU's speed is not known."""
        machine, shape, engine = self.machine, self.shape, self.config.engine
        memory = engine_memory(self.config, shape, machine)
        if not machine.tflops or not machine.bandwidth or memory is None:
            return None
        spread = engine.tensor_parallel
        element = element_bytes(engine.dtype, shape)
        rates = []
        for prompt, new, reading, share in (
            (self.prompt.low, length.low, _READING.high, self.config.hardware.efficiency[1]),
            (self.prompt.high, length.high, _READING.low, self.config.hardware.efficiency[0]),
        ):
            context = prompt + new / 2
            batch = min(engine.max_running, max(1.0, memory.cache / (memory.token * context)))
            read = element * shape.language / spread + batch * context * memory.token
            seconds = max(
                read / (machine.bandwidth * 1e9 * reading),
                2 * shape.language * batch / (spread * machine.tflops * 1e12 * share),
            )
            rates.append(batch / seconds)
        return Range(min(rates), max(rates))


def training_operations(shape: BaseShape, training: Training, length: float) -> float:
    """Return the operations of a trained token: the language model, its attention, and what is recomputed."""
    passes = (1 if training.lora else 2) + 1 + training.gradient_checkpointing
    attention = 2 * shape.layers * shape.heads * shape.head_dim * length
    return passes * (2 * shape.language + attention)


def _count(amount: Range) -> str:
    low, high = (f"{value:,.0f}" for value in (amount.low, amount.high))
    return low if low == high else f"{low} to {high}"
