"""GPUs and threads of the rules. In: the configuration. Out: numbers for `resources` and `threads`."""

from typing import Any

from mmprm.config import Config
from mmprm.config.data_files import DataFiles
from mmprm.runtime import gpu_lease
from mmprm.workflow.settings import chosen, is_local, recipe_of

# What has no setting of its own uses every core it is given: a small machine runs one such job at a time.
HEAVY_THREADS = 8


class Devices:
    """GPUs of each kind of job: what its resource `gpu` counts and `mmprm --devices` waits for.

    engine.tensor_parallel and training.gpus set them, here alone. A server samples on devices of its own.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = config.engine.tensor_parallel
        self.sampling = 0 if config.engine.kind == "server" else self.model
        self.policy = config.policy.training.gpus
        self.judge = int(is_local(config.labels.consensus))
        self.engine_threads, self.policy_threads = config.engine.threads, config.policy.training.threads

    @property
    def largest(self) -> int:
        """The most GPUs of any job, at least 1."""
        variants = [self.config.prm.training_of(name).gpus for name in self.config.prm.trained]
        return max(1, self.model, self.policy, *variants)

    def prm(self, wildcards: Any) -> int:
        """Return the GPUs on which a variant is trained."""
        recipe_of(self.config, wildcards.variant)
        return self.config.prm.training_of(wildcards.variant).gpus

    def scoring(self, wildcards: Any) -> int:
        """Return the GPUs on which a PRM scores: none where scores are in a file, or a critic is on a server."""
        external = recipe_of(self.config, wildcards.variant).external
        elsewhere = external and (external.kind == "scores_file" or (external.critic and not is_local(external.critic)))
        return 0 if elsewhere else self.model

    def prm_threads(self, wildcards: Any) -> int:
        """Return the CPU threads on which a variant is trained, and measured on held-out paths."""
        recipe_of(self.config, wildcards.variant)
        return self.config.prm.training_of(wildcards.variant).threads

    def at_once(self, cores: int) -> int:
        """Return the resource `gpu` of a machine with so many cores: jobs that need one run one after another.

        Where there is none, their threads alone decide how many run at once.
        """
        return self.largest if gpu_lease.pool() else max(self.largest, cores)

    def tagging(self, wildcards: Any) -> int:
        """Return 1 where a local model tags; rules and a server need no device here."""
        source = chosen(self.config, "sources", wildcards.source)
        return int(is_local(source.asked_model))

    def tagging_threads(self, wildcards: Any) -> int:
        """Return an engine's threads where a local model tags, else one for each process that compares formulas."""
        return HEAVY_THREADS if self.tagging(wildcards) else self.config.grading.workers

    def checking_threads(self, wildcards: Any) -> int:
        """Return the processes that check a source's rows; drawn problems need one."""
        return 4 if isinstance(chosen(self.config, "sources", wildcards.source), DataFiles) else 1
