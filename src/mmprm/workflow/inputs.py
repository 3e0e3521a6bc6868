"""Input paths of the rules. In: the configuration, and which shards are finished. Out: paths below results/<run>."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mmprm.config import Config
from mmprm.config.data_files import DataFiles
from mmprm.config.derived import SampledSource
from mmprm.config.evidence import is_sealed
from mmprm.config.overlap import known_apart, made_from, read_sources
from mmprm.config.sources import StepBenchmark
from mmprm.config.training import model_name, split_model
from mmprm.data.shards import names, stage_count
from mmprm.preflight.examine import require_files
from mmprm.runtime.errors import UserError
from mmprm.workflow.settings import chosen, recipe_of, test_of

_NAME = "[A-Za-z0-9_-]"
SEALED = "sealed"  # stands for a kind of sources: see Inputs.of_kind


class Inputs:
    """Paths of a run. Methods that take `wildcards` are Snakemake's input functions; all paths are relative."""

    def __init__(self, config: Config, storage: Callable[[str], Any] = str) -> None:
        """Make the paths of a configuration. storage: Snakemake's function of a file in an object store."""
        self.config = config
        self._remote = {path: storage(address) for path, address in config.remote.items()}
        self.results = f"results/{config.run}"
        self._shard_counts: dict[str, int] = {}

    def shards(self, stage: str) -> list[str]:
        """List the shards of a stage, 0-of-4, 1-of-4, …: as many as it was finished in, else as are configured."""
        return names(self._shard_count(stage))

    def every(self, stage: str, path: str) -> str:
        """Return a path with {shard} for all shards of a stage at once, as `mmprm` reads it: …/all-of-4/…"""
        return f"{self.results}/{path}".replace("{shard}", f"all-of-{self._shard_count(stage)}")

    def work(self, folder: str) -> str:
        """Return a stage's undeclared work folder: its checkpoints and journals survive a failed job."""
        return f"{self.results}/work/{folder}"

    def of_kind(self, *kinds: str) -> str:
        """Return a pattern of the names of all sources of these kinds; it matches nothing where there are none.

        Sources whose problems are drawn at the first look at a sealed test are of the kind SEALED, and of no other.
        """
        named = (
            name
            for name, source in self.config.sources.items()
            if (SEALED if is_sealed(source) else source.kind) in kinds
        )
        return "|".join(named) or "(?!)"

    def not_of_kind(self, *kinds: str) -> str:
        """Return a pattern of all names but those of the sources of these kinds.

        Within a file's pattern `$` is the end of the path: a name ends where no character of a name follows.
        """
        return f"(?!(?:{self.of_kind(*kinds)})(?!{_NAME})){_NAME}+"

    def remote_file(self, wildcards: Any) -> Any:
        """Return the file in an object store from which a local file is copied before it is read."""
        return self._remote[wildcards.file]

    def source_files(self, wildcards: Any) -> list[str]:
        """List the files that a source reads; none for drawn problems, and for a fixed commit of the hub.

        UserError with everything that the run lacks where one is missing, unless the source's table is made already.
        """
        source = chosen(self.config, "sources", wildcards.source)
        files = [str(path) for path in source.local_files()] if isinstance(source, DataFiles) else []
        if not all(file in self._remote or Path(file).is_file() for file in files):
            self._require_files(self._problems(wildcards.source))
        return files

    def parent_tables(self, wildcards: Any) -> list[str]:
        """List the problem tables of the sources that a derived source is made from."""
        source = chosen(self.config, "sources", wildcards.source)
        return [self._problems(name) for name in source.sources]

    def tested_against(self, wildcards: Any) -> list[str]:
        """List the problems that a curated source must not have: those of benchmarks, also of step benchmarks.

        Of benchmarks those that its `against` names, except those made from it or known to share no problem with it.
        """
        name = wildcards.source
        source = chosen(self.config, "sources", name)
        sources, benchmarks = self.config.sources, self.config.benchmarks
        against = benchmarks if source.against is None else source.against
        tested = [bench.source for key, bench in benchmarks.items() if key in against] + self._sampled()
        return self._benchmark_tables(
            bench for bench in tested if not made_from(sources, bench, name) and not known_apart(sources, bench, name)
        )

    def heldout_test(self, wildcards: Any) -> str:
        """Return the table that a curated source holds out for a source of kind set_aside."""
        return f"{self.results}/curation/{chosen(self.config, 'sources', wildcards.source).of}.test.parquet"

    def step_files(self, wildcards: Any) -> list[str]:
        """List the files that an entry of step_data reads; none for a fixed commit of the hub."""
        return [str(path) for path in chosen(self.config, "step_data", wildcards.steps).local_files()]

    def tested_problems(self, wildcards: Any) -> list[str]:
        """List the problems that training data must not have, of all benchmarks; none for a step benchmark itself."""
        if isinstance(chosen(self.config, "step_data", wildcards.steps), StepBenchmark):
            return []
        open_ = [bench.source for bench in self.config.benchmarks.values()]
        return self._benchmark_tables([*open_, *self._sampled()])

    def _sampled(self) -> list[str]:
        """List the sources of which sealed tests are samples: training data must have none of their problems."""
        tests = [self.config.sources[test.source] for test in self.config.sealed.values()]
        return [source.of for source in tests if isinstance(source, SampledSource)]

    def extra_steps(self, file: str) -> list[str]:
        """List a file of each entry of step_data that is trained on."""
        return [f"{self.results}/step_data/{name}/{file}" for name in self.config.labels.extra]

    def base_model(self, wildcards: Any) -> list[str]:
        """Name a file of the base model; UserError with everything that the run lacks where the model is missing."""
        file = self.config.policy.base / "config.json"
        if not file.exists():
            self._require_files()
        return [str(file)]

    def training_paths(self, wildcards: Any) -> str:
        """Return the labelled paths of a variant: its label set, or what the consensus filter keeps, or all."""
        label_set = recipe_of(self.config, wildcards.variant).label_set
        if label_set is not None:
            return f"{self.results}/labels/{label_set}/paths.parquet"
        return self.judged[0] if self.judged else f"{self.results}/labels/paths.parquet"

    @property
    def judged(self) -> list[str]:
        """What the consensus filter keeps, drops and counts; nothing where labels.consensus is null."""
        ends = ("parquet", "dropped.parquet", "json") if self.config.labels.consensus else ()
        return [f"{self.results}/labels/consensus.{end}" for end in ends]

    @property
    def label_accuracy(self) -> list[str]:
        """The comparison of labels with the truth, which is known where annotated problems are drawn."""
        sources = self.config.sources
        read = set().union(*(read_sources(sources, name) for name in self.config.seeds.sources))
        return [f"{self.results}/labels/quality.json"] if any(sources[name].kind == "mini" for name in read) else []

    def benchmark_problems(self, wildcards: Any) -> str:
        """Return the problem table of a benchmark."""
        return self._problems(test_of(self.config, wildcards.benchmark).source)

    def look(self, wildcards: Any) -> str:
        """Return the look at the sealed test whose problems a source is."""
        tests = [name for name, test in self.config.sealed.items() if test.source == wildcards.source]
        if not tests:
            raise UserError(f"sources.{wildcards.source}: no entry of `sealed` names it, and nothing else can draw it")
        return f"{self.results}/sealed/{tests[0]}/look.json"

    def sampled_tables(self, wildcards: Any) -> list[str]:
        """List the table of which a sealed test's problems are a part; none where they are drawn."""
        source = chosen(self.config, "sources", wildcards.source)
        return self.problem_tables(source.sources) if isinstance(source, SampledSource) else []

    def sealed_measures(self, wildcards: Any) -> list[str]:
        """List the metrics of all variants on a sealed test."""
        return self.measures([wildcards.test], self.config.prm.variants)

    def sealed_pages(self, wildcards: Any) -> list[str]:
        """List the pages of all sealed tests; UserError where none is configured."""
        if not self.config.sealed:
            raise UserError("sealed: the configuration names no sealed test (docs/sealed.md)")
        return [f"{self.results}/sealed/{name}.html" for name in self.config.sealed]

    def outcome_scores(self, wildcards: Any) -> list[str]:
        """List the scores of other variants trained on outcomes, a baseline; of a second training those of theirs."""
        variants = [name for name, variant in self.config.prm.variants.items() if variant.label == "outcome"]
        own, replicate = split_model(wildcards.variant)
        folder = f"{self.results}/bench/{wildcards.benchmark}"
        return [f"{folder}/{model_name(name, replicate)}/scores.parquet" for name in variants if name != own]

    def scores_of_trainings(self, wildcards: Any) -> list[str]:
        """List the scores of a benchmark's candidates by every training of a variant."""
        recipe_of(self.config, wildcards.variant)
        folder = f"{self.results}/bench/{wildcards.benchmark}"
        return [f"{folder}/{model}/scores.parquet" for model in self.config.prm.models_of(wildcards.variant)]

    def outcome_scores_of_trainings(self, wildcards: Any) -> list[str]:
        """List outcome_scores of every training of a variant."""
        models = self.config.prm.models_of(wildcards.variant)
        each = (SimpleNamespace(benchmark=wildcards.benchmark, variant=model) for model in models)
        return [path for one in each for path in self.outcome_scores(one)]

    @property
    def external(self) -> str:
        """A pattern of the names of published PRMs; it matches nothing where there are none."""
        return "|".join(name for name, each in self.config.prm.variants.items() if each.external) or "(?!)"

    @property
    def trained(self) -> str:
        """A pattern of all other names of models: Snakemake would train a published PRM whose files are missing."""
        return f"(?!(?:{self.external})(?![A-Za-z0-9_@-])){_NAME}+(?:@[1-9][0-9]*)?"  # else as rules/common.smk says

    def external_file(self, wildcards: Any) -> list[str]:
        """List a file of a published PRM, none of a model on a server; UserError with all that the run lacks."""
        external = recipe_of(self.config, wildcards.variant).external
        assert external is not None  # the rule's names are those of `external`
        if external.file and not external.file.exists():
            self._require_files()
        return [str(external.file)] if external.file else []

    def measures(self, benches: Iterable[str], variants: Iterable[str]) -> list[str]:
        """List the metrics of variants on benchmarks: of their one training, or over all trainings."""
        variants, file = list(variants), self.config.prm.measures
        return [f"{self.results}/bench/{bench}/{name}/{file}" for bench in benches for name in variants]

    @property
    def all_measures(self) -> list[str]:
        """The metrics of all variants on all benchmarks."""
        return self.measures(self.config.benchmarks, self.config.prm.variants)

    def step_tables(self, wildcards: Any) -> list[str]:
        """List the problems and the labelled paths of a step benchmark."""
        return self._step_tables(wildcards.benchmark)

    def development_tables(self, wildcards: Any) -> list[str]:
        """List the problems, paths and scores on which a step benchmark's threshold is chosen; none if it is given."""
        name = chosen(self.config, "step_benchmarks", wildcards.benchmark).development
        scores = f"{self.results}/steps/{name}/{wildcards.variant}/scores.parquet"
        return [*self._step_tables(name), scores] if name else []

    @property
    def guided_measures(self) -> list[str]:
        """The metrics of guided decoding, of each benchmark and variant (its first training); or none."""
        variants = self.config.prm.trained if self.config.guided else ()
        folders = [
            f"{self.results}/bench/{bench}/{variant}" for bench in self.config.benchmarks for variant in variants
        ]
        return [f"{folder}/guided.json" for folder in folders]

    def ablation_tables(self, wildcards: Any) -> dict[str, list[str]]:
        """Map problems, candidates, scores, metrics and manifests to the files that an ablation compares."""
        ablation = chosen(self.config, "ablations", wildcards.ablation)
        benches = ablation.benchmarks or list(self.config.benchmarks)
        models = [model for variant in ablation.variants for model in self.config.prm.models_of(variant)]
        return {
            "problems": sorted({self._problems(self.config.benchmarks[bench].source) for bench in benches}),
            "candidates": [f"{self.results}/bench/{bench}/candidates.parquet" for bench in benches],
            "scores": [f"{self.results}/bench/{bench}/{model}/scores.parquet" for bench in benches for model in models],
            "metrics": self.measures(benches, ablation.variants),
            "manifests": [f"{self.results}/prm/{variant}/manifest.json" for variant in ablation.variants],
        }

    def ablation_pages(self, wildcards: Any) -> list[str]:
        """List the pages and tables of all ablations; UserError where none is configured."""
        if not self.config.ablations:
            example = "snakemake ablations --cores 2 --configfile workflow_config.yaml configs/overlays/ablations.yaml"
            raise UserError(f"ablations: the configuration names none; for those of the mini world: {example}")
        return [f"{self.results}/ablations/{name}.{end}" for name in self.config.ablations for end in ("html", "csv")]

    @property
    def tree_variants(self) -> list[str]:
        """The PRM whose values stand in the page of trees; none where trees.prm_values is false."""
        variant = self.config.trees.variant or self.config.prm.trained[0]
        return [variant] if self.config.trees.prm_values else []

    @property
    def tree_values(self) -> list[str]:
        """The values that this PRM gives the states of all trees."""
        return [f"{self.results}/trees/values/{variant}.parquet" for variant in self.tree_variants]

    def problem_tables(self, sources: Iterable[str]) -> list[str]:
        """List the problem tables of sources."""
        return [self._problems(source) for source in sources]

    def _require_files(self, made: str | None = None) -> None:
        """Raise UserError with everything that is missing, unless what would be made of it is there."""
        if made is None or not Path(made).is_file():
            require_files(self.config)

    def _problems(self, source: str) -> str:
        return f"{self.results}/problems/{source}.parquet"

    def _benchmark_tables(self, sources: Iterable[str]) -> list[str]:
        """List the problems of benchmarks, named by their sources, and of all step benchmarks."""
        steps = sorted(name for name, data in self.config.step_data.items() if isinstance(data, StepBenchmark))
        tables = [self._problems(source) for source in sorted(set(sources))]
        return tables + [f"{self.results}/step_data/{name}/problems.parquet" for name in steps]

    def _step_tables(self, name: str) -> list[str]:
        settings = chosen(self.config, "step_benchmarks", name)
        return [path.replace("<results>", self.results) for path in (settings.problems, settings.paths)]

    def _shard_count(self, stage: str) -> int:
        if stage not in self._shard_counts:
            configured = getattr(self.config.shards, stage)
            self._shard_counts[stage] = stage_count(stage, configured, self.results, self.config.tests)
        return self._shard_counts[stage]
