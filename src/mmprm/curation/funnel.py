"""The funnel of a curated source. In: the decision on each problem. Out: `problems/{name}.curation.json`.

    {"version": 1, "source": "curated", "settings": {...},           # the source as it is configured
     "rows": 500, "kept": 480, "set_aside": 0, "refused": 20,        # rows = kept + set_aside + refused
     "rules": [{"rule": "image_missing", "on": true, "in": 500, "out": 500, "refused": 0}, ...],    # in their order
     "flags": {"several_blanks": 3, ...},                            # of kept and held-out problems
     "sources": {"pool": {"kind": "mini", "about": "...", "licence": null, "in": 500, "kept": 480, "set_aside": 0}},
     "types": {"number": {"in": 500, "kept": 480, "set_aside": 0}, ...},      # by what grading takes the answers for
     "families": {"bars": {"in": 125, "kept": 120, "set_aside": 0}, ...},     # "": not stated
     "mix": {"answer_type": {"number": {"share": 0.5, "wanted": 250, "kept": 240}}},       # {} without a target
     "decontamination": {"problems": 760, "tables": ["test", "ood"], "hits": 2, "by": {"picture": 1, "text": 1},
                         "listed": [{"problem_id": "...", "tested": "...", "by": "picture", "detail": "..."}]},
     "examples": {"kept": ["id", ...], "set_aside": [...], "near_duplicate": [{"problem_id": "...", "detail": "..."}]}}

`in`, `out` of a rule are the problems before and after it. `listed` has the first LISTED hits by id; `hits` counts all.
The same problems and settings give the same file, whatever the order of rows and the number of processes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmprm.config.derived import CuratedSource, CurationRules
from mmprm.config.section import Section
from mmprm.curation.mix import REST, quotas

COLUMNS = {"answer_type": "kind"}  # of a mix -> of the signatures
LISTED = 200  # benchmark matches in the file
EXAMPLES = 5  # of each decision in the file
KEPT, HELD_OUT = "kept", "set_aside"
RULES = (*CurationRules.model_fields, "over_mix")


@dataclass(frozen=True)
class ProblemDecision:
    """The decision on a problem: `ended` is KEPT, HELD_OUT, or the rule that refused it, `detail` the reason."""

    problem_id: str
    source: str
    kind: str
    family: str
    flags: tuple[str, ...]
    ended: str
    detail: str = ""
    tested: str = ""  # the benchmark's problem that it matches, where in_benchmark refused it
    by: str = ""  # and what matched: see BenchmarkMatch


def rule_counts(decisions: Sequence[ProblemDecision], on: Mapping[str, bool]) -> list[dict[str, Any]]:
    """Count the problems before and after each rule."""
    ended = Counter(decision.ended for decision in decisions)
    rows, left = [], len(decisions)
    for rule in RULES:
        after = left - ended[rule]
        rows.append({"rule": rule, "on": on[rule], "in": left, "out": after, "refused": ended[rule]})
        left = after
    return rows


def value_counts(decisions: Iterable[ProblemDecision], column: str) -> dict[str, dict[str, int]]:
    """Count the problems of each value of a column: in the pool, kept and held out."""
    values: dict[str, dict[str, int]] = {}
    for decision in decisions:
        counts = values.setdefault(getattr(decision, column), {"in": 0, KEPT: 0, HELD_OUT: 0})
        counts["in"] += 1
        if decision.ended in (KEPT, HELD_OUT):
            counts[decision.ended] += 1
    return dict(sorted(values.items()))


def examples(decisions: Iterable[ProblemDecision]) -> dict[str, list[Any]]:
    """List the first few ids of each decision, in order; refused ones with the reason."""
    listed: dict[str, list[Any]] = {KEPT: [], HELD_OUT: []}
    for decision in decisions:
        shown = listed.setdefault(decision.ended, [])
        if len(shown) < EXAMPLES:
            name, plain = decision.problem_id, decision.ended in (KEPT, HELD_OUT)
            shown.append(name if plain else {"problem_id": name, "detail": decision.detail})
    return listed


def decontamination(decisions: Iterable[ProblemDecision], tested: Mapping[str, int]) -> dict[str, Any]:
    """Count the problems that match a benchmark, and list the first; tested: the problems of each benchmark table."""
    matched = (decision for decision in decisions if decision.ended == "in_benchmark")
    hits = sorted(matched, key=lambda decision: decision.problem_id)
    shown = ("problem_id", "tested", "by", "detail")
    return {
        "problems": sum(tested.values()),
        "tables": list(tested),
        "hits": len(hits),
        "by": dict(sorted(Counter(decision.by for decision in hits).items())),
        "listed": [{name: getattr(decision, name) for name in shown} for decision in hits[:LISTED]],
    }


def switches(source: CuratedSource) -> dict[str, bool]:
    """Tell which rules are on."""
    return {**source.rules.model_dump(), "over_mix": source.has_target}


def build_funnel(
    sources: Mapping[str, Section], name: str, decisions: Sequence[ProblemDecision], tested: Mapping[str, int]
) -> dict[str, Any]:
    """Build the funnel of the curated source `name`; tested: see `decontamination`."""
    source = sources[name]
    assert isinstance(source, CuratedSource), "checked by curate"
    ended = [decision.ended for decision in decisions]
    by_source = {}
    for other, counts in value_counts(decisions, "source").items():
        about = {field: getattr(sources.get(other), field, None) for field in ("kind", "about", "licence")}
        by_source[other] = (about if other in sources else {}) | counts
    flags = Counter(flag for decision in decisions for flag in decision.flags)
    return {
        "version": 1,
        "source": name,
        "settings": source.model_dump(mode="json"),
        "rows": len(decisions),
        "kept": ended.count(KEPT),
        "set_aside": ended.count(HELD_OUT),
        "refused": len(decisions) - ended.count(KEPT) - ended.count(HELD_OUT),
        "rules": rule_counts(decisions, switches(source)),
        "flags": dict(sorted(flags.items())),
        "sources": by_source,
        "types": value_counts(decisions, "kind"),
        "families": value_counts(decisions, "family"),
        "mix": _mix(source, decisions),
        "decontamination": decontamination(decisions, tested),
        "examples": examples(decisions),
    }


def _mix(source: CuratedSource, decisions: Sequence[ProblemDecision]) -> dict[str, Any]:
    """Give for each value of the mix the target share, the target number, and the number of kept problems."""
    kept = [decision for decision in decisions if decision.ended == KEPT]
    columns: dict[str, Any] = {}
    for column, numbers in quotas(source.shares, source.size or len(kept)).items():
        shares = source.shares[column]
        values = Counter(getattr(decision, COLUMNS.get(column, column)) for decision in kept)
        counts = {value: values[value] for value in shares}
        counts[REST] = len(kept) - sum(counts.values())
        columns[column] = {
            value: {"share": shares.get(value, 0.0), "wanted": number, "kept": counts[value]}
            for value, number in numbers.items()
        }
    return columns
