"""All tables behind a stage. In: the configuration and the paths of its run. Out: a file of each job that it needs.

Snakemake makes a missing table again only where a target names it: after a job has failed, its outputs are gone while
those of an earlier run stand behind them, and a target that names the last alone would call the stage done.
"""

from types import SimpleNamespace
from typing import Any

from mmprm.config import Config
from mmprm.workflow.inputs import Inputs


class Chains:
    """Lists of files of a run, each with the tables of the stages before it. A failed job loses all of its outputs."""

    def __init__(self, config: Config, inputs: Inputs) -> None:
        self._config, self._inputs = config, inputs

    @property
    def policy(self) -> list[str]:
        """Tables of the policy's problems, and the policy."""
        return [*self._problems(self._config.policy.sources), self._path("policy/manifest.json")]

    @property
    def seeds(self) -> list[str]:
        """What the seeds are chosen from, and the seeds."""
        rollouts = [self._path(f"seeds/{shard}/rollouts.parquet") for shard in self._inputs.shards("seeds")]
        return [*self.policy, *self._problems(self._config.seeds.sources), *rollouts, self._path("seeds/seeds.parquet")]

    @property
    def annotation(self) -> list[str]:
        """The seeds, and the trees of all shards."""
        shards = self._inputs.shards("annotation")
        return [*self.seeds, *(self._path(f"annotation/{shard}/status.parquet") for shard in shards)]

    @property
    def labels(self) -> list[str]:
        """The trees, and the paths on which PRM variants are trained."""
        variants = self._config.prm.trained
        return [*self.annotation, *self._inputs.extra_steps("paths.parquet"), *self._training_paths(variants)]

    @property
    def prm(self) -> list[str]:
        """The labels, and all trainings of all PRM variants."""
        return [*self.labels, *(self._path(f"prm/{name}/manifest.json") for name in self._config.prm.models)]

    @property
    def trees(self) -> list[str]:
        """The trees; and where a PRM gives them values, what it was trained on, and itself."""
        variants = self._inputs.tree_variants
        if not variants:
            return self.annotation
        trained_on = [*self._inputs.extra_steps("paths.parquet"), *self._training_paths(variants)]
        return [*self.annotation, *trained_on, *(self._path(f"prm/{name}/manifest.json") for name in variants)]

    @property
    def audit(self) -> list[str]:
        """The labels, and the candidates of all benchmarks."""
        labels = [*self.annotation, *self._inputs.extra_steps("paths.parquet"), self._path("labels/paths.parquet")]
        return list(dict.fromkeys([*labels, *self._candidates(list(self._config.benchmarks))]))

    @property
    def bench(self) -> list[str]:
        """The PRMs, and all candidates and scores of benchmarks and step benchmarks."""
        config = self._config
        files = [*self.prm, *self._candidates(list(config.benchmarks))]
        files += [
            self._path(f"bench/{bench}/{name}/scores.parquet")
            for bench in config.benchmarks
            for name in config.prm.models
        ]
        files += self._inputs.all_measures
        files += [
            path for name in config.step_benchmarks for path in self._inputs.step_tables(_wildcards(benchmark=name))
        ]
        return list(dict.fromkeys(files))

    def sealed(self, wildcards: Any) -> list[str]:
        """List the PRMs, and the looks, problems, candidates, scores and metrics of all sealed tests."""
        config, files = self._config, list(self.prm)
        for name, test in config.sealed.items():
            files += [self._path(f"sealed/{name}/look.json"), *self._inputs.problem_tables([test.source])]
            files += self._candidates_of(name)
            files += [self._path(f"bench/{name}/{model}/scores.parquet") for model in config.prm.models]
        return [*files, *self._inputs.measures(config.sealed, config.prm.variants)]

    @property
    def ablations(self) -> list[str]:
        """What the configured ablations compare, and no other variant."""
        config, files = self._config, list(self.annotation)
        for name, ablation in config.ablations.items():
            benches = ablation.benchmarks or list(config.benchmarks)
            files += [*self._training_paths(ablation.variants), *self._candidates(benches)]
            files += [
                path for paths in self._inputs.ablation_tables(_wildcards(ablation=name)).values() for path in paths
            ]
        return list(dict.fromkeys([*self._inputs.extra_steps("paths.parquet"), *files]))

    def _training_paths(self, variants: list[str]) -> list[str]:
        paths = [self._inputs.training_paths(_wildcards(variant=name)) for name in variants]
        return list(dict.fromkeys([self._path("labels/paths.parquet"), *paths]))

    def _candidates(self, benches: list[str]) -> list[str]:
        files = self._problems([self._config.benchmarks[bench].source for bench in benches])
        return files + [path for bench in benches for path in self._candidates_of(bench)]

    def _candidates_of(self, bench: str) -> list[str]:
        shards = [self._path(f"bench/{bench}/shards/{shard}.parquet") for shard in self._inputs.shards("bench")]
        return [*shards, self._path(f"bench/{bench}/candidates.parquet")]

    def _problems(self, names: list[str]) -> list[str]:
        """Name the tables of sources, of those that they are made from, and of those that they are held against."""
        files: list[str] = []
        for name in names:
            source, wildcards = self._config.sources[name], _wildcards(source=name)
            if source.kind in ("curated", "tagged", "set_aside"):
                files += self._problems(list(source.sources))
            if source.kind == "curated":
                files += self._inputs.tested_against(wildcards)
            files += self._inputs.problem_tables([name])
        return list(dict.fromkeys(files))

    def _path(self, file: str) -> str:
        return f"{self._inputs.results}/{file}"


def _wildcards(**values: str) -> SimpleNamespace:
    return SimpleNamespace(**values)
