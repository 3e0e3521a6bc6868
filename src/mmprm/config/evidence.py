"""Sealed tests: benchmarks whose problems are drawn at the first look. In: YAML values. Out: sections."""

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import Field

from mmprm.config.derived import SampledSource
from mmprm.config.section import LocalFile, Name, Section
from mmprm.config.sources import MiniSource


class SealedTest(Section):
    """A benchmark that no target but `sealed` draws, samples or measures; each look at it is a line of the ledger."""

    source: Name = Field(
        description="a key of sources, of kind mini with split sealed, or of kind sample; its problems are drawn by a "
        "seed that the operating system gives at the first look"
    )
    domain: Literal["in_domain", "out_of_domain"] = Field("in_domain", description="as of benchmarks")


class Evidence(Section):
    """Files that are committed with the project: what was claimed before a sealed test was looked at, and the looks."""

    ledger: LocalFile = Field("evidence/ledger.jsonl", description="a line for each look at a sealed test")
    registration: LocalFile = Field(
        "evidence/registration.yaml", description="what is claimed of sealed tests, committed before the first look"
    )
    unregistered: bool = Field(
        False, description="look at a sealed test without a committed registration; its page says that it has none"
    )


def check_sealed(
    sources: Mapping[str, Section], sealed: Mapping[str, SealedTest], open_: Iterable[tuple[str, str]]
) -> None:
    """Check sealed tests: ValueError where a source is not one that is drawn at the first look, or is used elsewhere.

    open_: all other keys of the configuration that name sources, each with a source that it names.
    """
    tests: dict[str, str] = {}
    for name, test in sealed.items():
        source, key = sources[test.source], f"sealed.{name}.source"
        if not is_sealed(source):
            raise ValueError(f"{key}: {test.source!r} is neither of kind mini with split sealed nor of kind sample")
        if getattr(source, "seed", None) is not None:
            raise ValueError(
                f"sources.{test.source}.seed: it is drawn at the first look at sealed.{name}; leave it out"
            )
        if test.source in tests:
            raise ValueError(f"{key}: {test.source!r} is sealed.{tests[test.source]}'s; give each test its own source")
        tests[test.source] = name
    for key, source_name in open_:
        if is_sealed(sources[source_name]):
            raise ValueError(
                f"{key}: {source_name!r} is drawn at the first look at a sealed test, and is for `sealed` alone"
            )


def is_sealed(source: Section) -> bool:
    """Tell whether a source's problems are drawn at the first look at a sealed test."""
    return isinstance(source, SampledSource) or (isinstance(source, MiniSource) and source.split == "sealed")
