"""Whether two sources may share problems, as far as the configuration tells; curation compares the rows themselves."""

from collections.abc import Iterable, Mapping
from itertools import combinations, product

from mmprm.config.data_files import DataFiles
from mmprm.config.derived import CuratedSource, SampledSource, SetAsideSource, TaggedSource
from mmprm.config.section import Section, check_names
from mmprm.config.sources import DERIVED, BenchmarkSource, MathVisionSource, MiniSource, TableSource


def check_derived(sources: Mapping[str, Section]) -> None:
    """Check sources made from others: ValueError where a parent is missing, is the source itself, is not curated (for
    set_aside), or has no solutions (for tagged)."""
    for name, source in sources.items():
        if not isinstance(source, DERIVED):
            continue
        key = f"sources.{name}.{'of' if isinstance(source, SetAsideSource | SampledSource) else 'sources'}"
        check_names(key, [other for other in source.sources if other != name], set(sources) - {name}, "source ")
        for other in source.sources:
            parent = sources[other]
            if isinstance(source, SetAsideSource) and not (isinstance(parent, CuratedSource) and parent.test_size):
                raise ValueError(f"{key}: {other!r} is not of kind curated with a test_size, and holds nothing out")
        if made_from(sources, name, name):
            raise ValueError(f"{key}: {name!r} is made from itself")
        if isinstance(source, TaggedSource):
            _check_tagged(sources, name, source)


def check_curated(sources: Mapping[str, Section], benchmarks: Mapping[str, str]) -> None:
    """Check curated sources: ValueError where one is made from a benchmark with which it is compared, since all of it
    would be refused. benchmarks: the source of each."""
    for name, source in sources.items():
        if not (isinstance(source, CuratedSource) and source.rules.in_benchmark):
            continue
        for bench, tested in benchmarks.items():
            if (source.against is None or bench in source.against) and made_from(sources, name, tested):
                others = sorted(key for key in benchmarks if not made_from(sources, name, benchmarks[key]))
                raise ValueError(
                    f"sources.{name}: it is made from {tested!r}, which is benchmark {bench!r} too, so that all of it "
                    f"would be refused as in_benchmark; say which benchmarks count, `against: {others}`"
                )


def _check_tagged(sources: Mapping[str, Section], name: str, source: TaggedSource) -> None:
    """Check a tagged source: ValueError where its sources bring no solutions, or share a problem."""
    key = f"sources.{name}.sources"
    for read in sorted(read_sources(sources, name)):
        made = sources[read]
        if isinstance(made, BenchmarkSource):
            raise ValueError(f"{key}: {read!r} (kind {made.kind}) brings no solutions to tag; kind table can")
        if isinstance(made, TableSource) and not made.columns.get("solution"):
            raise ValueError(
                f"{key}: {read!r} brings no solutions to tag: name its column, `columns: {{solution: theirs}}`"
            )
    for first, second in combinations(source.sources, 2):
        if share_problems(sources, first, second):
            raise ValueError(f"{key}: {first!r} and {second!r} share problems, which would be tagged twice; name one")


def made_from(sources: Mapping[str, Section], start: str, goal: str) -> bool:
    """Tell whether one source is made from another, directly or through others."""
    seen, pending = set(), [start]
    while pending:
        source = sources.get(pending.pop())
        for other in source.sources if isinstance(source, DERIVED) else ():
            if other == goal:
                return True
            if other not in seen:
                seen.add(other)
                pending.append(other)
    return False


def share_problems(sources: Mapping[str, Section], first: str, second: str) -> bool:
    """Tell whether two sources, by name, may share a problem. What a curated one keeps and holds out shares none."""
    first, second = (
        getattr(sources[name], "of", name) if isinstance(sources[name], SampledSource) else name
        for name in (first, second)
    )
    for name, other in ((first, second), (second, first)):
        held_out = sources[name]
        if isinstance(held_out, SetAsideSource):
            rest = read_sources(sources, other, but=held_out.of)
            return any(share_rows(sources[a], sources[b]) for a in read_sources(sources, held_out.of) for b in rest)
    pairs = product(read_sources(sources, first), read_sources(sources, second))
    return any(share_rows(sources[a], sources[b]) for a, b in pairs)


def known_apart(sources: Mapping[str, Section], first: str, second: str) -> bool:
    """Tell whether all problems of both are drawn here, from splits that share none: no need to compare rows."""
    read = read_sources(sources, first) | read_sources(sources, second)
    return all(isinstance(sources[name], MiniSource) for name in read) and not share_problems(sources, first, second)


def weights_of(sources: Mapping[str, Section], names: Iterable[str]) -> dict[str, float]:
    """Return the weights other than 1 of the sources that are read to make those named."""
    read = sorted(set().union(*(read_sources(sources, name) for name in names)))
    weights = {name: float(getattr(sources[name], "weight", 1)) for name in read}
    return {name: weight for name, weight in weights.items() if weight != 1}


def read_sources(sources: Mapping[str, Section], name: str, but: str | None = None) -> set[str]:
    """Name the sources, read or drawn, of which one is made, except those behind the curated source `but`."""
    source = sources[name]
    if name == but:
        return set()
    if not isinstance(source, DERIVED):
        return {name}
    return set().union(*(read_sources(sources, other, but) for other in source.sources))


def share_rows(first: Section, second: Section) -> bool:
    """Tell whether two sources read the same files, or draw from the same split and family of the mini world.

    MathVision's splits share problems, whatever their files.
    """
    if isinstance(first, MiniSource) and isinstance(second, MiniSource):
        return first.split == second.split and not set(first.families).isdisjoint(second.families)
    if not isinstance(first, DataFiles) or not isinstance(second, DataFiles):
        return False
    if isinstance(first, MathVisionSource) and isinstance(second, MathVisionSource):
        return True
    if first.repo is not None and second.repo is not None:
        return first.repo.casefold() == second.repo.casefold() and not set(first.patterns).isdisjoint(second.patterns)
    if first.path is None or second.path is None:
        return False
    mine, theirs = ({path.resolve() for path in source.local_files()} for source in (first, second))
    return not mine.isdisjoint(theirs)
