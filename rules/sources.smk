"""What the rules of sources and step data share. In: CONFIG, and what rules/common.smk gives every rule. Out: the
inputs and params of intake, curation, tagging and step data.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmprm.config.overlap import known_apart, made_from, read_sources
from mmprm.config.sources import DataFiles, StepBenchmark


def of_kind(*kinds: str) -> str:
    """A pattern of the names of all sources of some kinds, for a rule that makes no other; of none, where there is none."""
    return "|".join(name for name, source in CONFIG.sources.items() if source.kind in kinds) or "(?!)"


def not_of_kind(*kinds: str) -> str:
    """A pattern of every name but those of the sources of some kinds.

    Within a file's pattern `$` is the end of the path: a name ends where no character of a name follows.
    """
    name = "[A-Za-z0-9_-]"
    return f"(?!(?:{of_kind(*kinds)})(?!{name})){name}+"


def source_settings(wildcards) -> str:
    """What one source's problems depend on."""
    source = _chosen("sources", CONFIG.sources, wildcards.source)
    return "; ".join(_flat(f"sources.{wildcards.source}", source))


def checking_threads(wildcards) -> int:
    """Processes that check a source's rows; problems that are drawn need no more than one."""
    return 4 if isinstance(_chosen("sources", CONFIG.sources, wildcards.source), DataFiles) else 1


def source_weights() -> list[str]:
    """The weights of the sources that the policy is trained on, where they are not 1."""
    return [f"sources.{name}.weight={weight}" for name, weight in CONFIG.policy_weights.items()]


def source_files(wildcards) -> list[str]:
    """The files that a source reads; none for drawn problems, and for a commit of the hub, which cannot change."""
    source = _chosen("sources", CONFIG.sources, wildcards.source)
    return [str(path) for path in source.local_files()] if isinstance(source, DataFiles) else []


def parent_tables(wildcards) -> list[str]:
    """The problem tables of the sources that a derived source is made from."""
    source = _chosen("sources", CONFIG.sources, wildcards.source)
    return [f"{RESULTS}/problems/{name}.parquet" for name in source.sources]


def _benchmark_tables(sources: Iterable[str]) -> list[str]:
    """The problems of benchmarks, which are named by their sources, and of all step benchmarks."""
    judged = sorted(name for name, data in CONFIG.step_data.items() if isinstance(data, StepBenchmark))
    tables = [f"{RESULTS}/problems/{source}.parquet" for source in sorted(set(sources))]
    return tables + [f"{RESULTS}/step_data/{name}/problems.parquet" for name in judged]


def tested_against(wildcards) -> list[str]:
    """The problems that a curated source must not have: those of benchmarks, also of step benchmarks.

    Of benchmarks those that its `against` names; but of none that is made from it, or known to share nothing.
    """
    name = wildcards.source
    against = _chosen("sources", CONFIG.sources, name).against
    benches = [bench.source for key, bench in CONFIG.benchmarks.items() if against is None or key in against]
    left_out = (made_from, known_apart)
    return _benchmark_tables(
        bench for bench in benches if not any(leaves(CONFIG.sources, bench, name) for leaves in left_out)
    )


def test_table(wildcards) -> str:
    """What a curated source sets aside for a source of kind set_aside."""
    return f"{RESULTS}/curation/{_chosen('sources', CONFIG.sources, wildcards.source).of}.test.parquet"


def tagging_model(source):
    """The model that a tagged source asks; None where it tags by rules."""
    return source.model if source.by == "model" else None


def tagging_settings(wildcards) -> str:
    """What the tagged solutions depend on beside the solutions."""
    source = _chosen("sources", CONFIG.sources, wildcards.source)
    return instructed_settings(source.identity, tagging_model(source))


def tagging_gpu(wildcards) -> int:
    """1 where a local model tags; neither rules nor a server need a device here."""
    return int(is_local(tagging_model(_chosen("sources", CONFIG.sources, wildcards.source))))


def tagging_threads(wildcards) -> int:
    """Those of an engine where a local model tags, else one, beside the processes that compare formulas."""
    return HEAVY_THREADS if tagging_gpu(wildcards) else CONFIG.grading.workers


def step_settings(wildcards) -> str:
    """What the paths of one entry of step_data depend on."""
    data = _chosen("step_data", CONFIG.step_data, wildcards.steps)
    return "; ".join(_flat(f"step_data.{wildcards.steps}", data))


def step_files(wildcards) -> list[str]:
    """The files that an entry of step_data reads; none for a commit of the hub, which cannot change."""
    return [str(path) for path in _chosen("step_data", CONFIG.step_data, wildcards.steps).local_files()]


def tested_problems(wildcards) -> list[str]:
    """The problems that training data must not have: those of all benchmarks, also of step benchmarks.

    None for a step benchmark, which is not trained on.
    """
    if isinstance(_chosen("step_data", CONFIG.step_data, wildcards.steps), StepBenchmark):
        return []
    return _benchmark_tables(bench.source for bench in CONFIG.benchmarks.values())


def extra_steps(file: str) -> list[str]:
    """A file of each entry of step_data that is trained on."""
    return [f"{RESULTS}/step_data/{name}/{file}" for name in CONFIG.labels.extra]


def drawn_seeds() -> bool:
    """Are any of the annotated problems drawn here, so that the truth of their steps is known?"""
    read = set().union(*(read_sources(CONFIG.sources, name) for name in CONFIG.seeds.sources))
    return any(CONFIG.sources[name].kind == "mini" for name in read)


# Files of the configuration that lie in a bucket are copied from there before they are read.
REMOTE = {path: storage(address) for path, address in CONFIG.remote.items()}


def remote_file(wildcards) -> Any:
    """Where a local file comes from."""
    return REMOTE[wildcards.file]


def remote_address(wildcards) -> str:
    """The address of a local file in its store."""
    return CONFIG.remote[wildcards.file]
