"""The funnel of a curated source. In: what became of each problem. Out: `problems/{name}.curation.json`.

    {"version": 1, "source": "curated", "settings": {...},           # the source as it is configured
     "rows": 500, "kept": 480, "set_aside": 0, "refused": 20,        # rows = kept + set_aside + refused
     "rules": [{"rule": "image_missing", "on": true, "in": 500, "out": 500, "refused": 0}, ...],    # in their order
     "flags": {"several_blanks": 3, ...},                            # of what is kept and set aside; none is refused
     "sources": {"pool": {"kind": "mini", "about": "...", "licence": null, "in": 500, "kept": 480, "set_aside": 0}},
     "types": {"number": {"in": 500, "kept": 480, "set_aside": 0}, ...},      # as grading reads the answers
     "families": {"bars": {"in": 125, "kept": 120, "set_aside": 0}, ...},     # "": no column says it
     "mix": {"answer_type": {"number": {"share": 0.5, "wanted": 250, "kept": 240}}},       # {} without a target
     "decontamination": {"problems": 760, "tables": ["test", "ood"], "hits": 2, "by": {"picture": 1, "text": 1},
                         "listed": [{"problem_id": "...", "tested": "...", "by": "picture", "detail": "..."}]},
     "examples": {"kept": ["id", ...], "set_aside": [...], "near_duplicate": [{"problem_id": "...", "detail": "..."}]}}

`in`, `out` of a rule are the problems before and after it. `listed` has the first LISTED hits by id; `hits` counts all.
The same problems and settings give the same file, whatever the order of rows and the number of processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmprm.config.curation import CuratedSource
from mmprm.config.section import Section
from mmprm.curation.mix import REST, wanted

COLUMNS = {"answer_type": "kind"}  # of a mix: what we call it
LISTED = 200
EXAMPLES = 5
KEPT, SET_ASIDE = "kept", "set_aside"
RULES = (
    "image_missing",
    "image_tiny",
    "image_blank",
    "proof",
    "drawing",
    "open_question",
    "several_questions",
    "unverifiable",
    "in_benchmark",
    "near_duplicate",
    "over_mix",
)


@dataclass(frozen=True)
class Fate:
    """What became of a problem: `ended` is kept, set_aside, or the rule that refused it, and `detail` says why."""

    problem_id: str
    source: str
    kind: str
    family: str
    flags: tuple[str, ...]
    ended: str
    detail: str = ""
    tested: str = ""  # the benchmark's problem that it is, where that is why
    by: str = ""


def steps(fates: Sequence[Fate], on: Mapping[str, bool]) -> list[dict[str, Any]]:
    """A row for each rule: the problems before and after it."""
    ended = Counter(fate.ended for fate in fates)
    rows, left = [], len(fates)
    for rule in RULES:
        after = left - ended[rule]
        rows.append({"rule": rule, "on": on[rule], "in": left, "out": after, "refused": ended[rule]})
        left = after
    return rows


def shares(fates: Iterable[Fate], column: str) -> dict[str, dict[str, int]]:
    """Of each value of a column: the problems that came in, that are kept, and that are set aside."""
    found: dict[str, dict[str, int]] = {}
    for fate in fates:
        counts = found.setdefault(getattr(fate, column), {"in": 0, KEPT: 0, SET_ASIDE: 0})
        counts["in"] += 1
        if fate.ended in (KEPT, SET_ASIDE):
            counts[fate.ended] += 1
    return dict(sorted(found.items()))


def examples(fates: Iterable[Fate]) -> dict[str, list[Any]]:
    """The first few ids of each end, in the order of the fates; refused ones with the reason."""
    found: dict[str, list[Any]] = {KEPT: [], SET_ASIDE: []}
    for fate in fates:
        shown = found.setdefault(fate.ended, [])
        if len(shown) < EXAMPLES:
            plain = fate.ended in (KEPT, SET_ASIDE)
            shown.append(fate.problem_id if plain else {"problem_id": fate.problem_id, "detail": fate.detail})
    return found


def decontamination(fates: Iterable[Fate], tested: Mapping[str, int]) -> dict[str, Any]:
    """How many problems are of a benchmark, by what they are known, and the first of them.

    tested: problems of each table that was looked at."""
    hits = sorted((fate for fate in fates if fate.ended == "in_benchmark"), key=lambda fate: fate.problem_id)
    shown = ("problem_id", "tested", "by", "detail")
    return {
        "problems": sum(tested.values()),
        "tables": list(tested),
        "hits": len(hits),
        "by": dict(sorted(Counter(fate.by for fate in hits).items())),
        "listed": [{name: getattr(fate, name) for name in shown} for fate in hits[:LISTED]],
    }


def switches(source: CuratedSource) -> dict[str, bool]:
    """Which rules are on."""
    return {**source.rules.model_dump(), "over_mix": source.has_target}


def whole(
    sources: Mapping[str, Section], name: str, fates: Sequence[Fate], tested: Mapping[str, int]
) -> dict[str, Any]:
    """The whole file, of the curated source `name`; tested: see `decontamination`."""
    source = sources[name]
    assert isinstance(source, CuratedSource), "only such are curated"
    ended = [fate.ended for fate in fates]
    by_source = {other: _told(sources.get(other)) | counts for other, counts in shares(fates, "source").items()}
    flags = sorted(flag for fate in fates for flag in fate.flags)
    return {
        "version": 1,
        "source": name,
        "settings": source.model_dump(mode="json"),
        "rows": len(fates),
        "kept": ended.count(KEPT),
        "set_aside": ended.count(SET_ASIDE),
        "refused": len(fates) - ended.count(KEPT) - ended.count(SET_ASIDE),
        "rules": steps(fates, switches(source)),
        "flags": {flag: flags.count(flag) for flag in dict.fromkeys(flags)},
        "sources": by_source,
        "types": shares(fates, "kind"),
        "families": shares(fates, "family"),
        "mix": _mix(source, fates),
        "decontamination": decontamination(fates, tested),
        "examples": examples(fates),
    }


def _mix(source: CuratedSource, fates: Sequence[Fate]) -> dict[str, Any]:
    """Of each value of the mix: the share that is wanted, the problems that would be, and those that are kept."""
    kept = [fate for fate in fates if fate.ended == KEPT]
    room = wanted(source.shares, source.size or len(kept))
    found: dict[str, Any] = {}
    for column, counts in room.items():
        own = [getattr(fate, COLUMNS.get(column, column)) for fate in kept]
        there = {value: sum(one == value for one in own) for value in source.shares[column]}
        there[REST] = len(own) - sum(there.values())
        shares = dict(source.shares[column])
        found[column] = {
            value: {"share": shares.get(value, 0.0), "wanted": number, "kept": there[value]}
            for value, number in counts.items()
        }
    return found


def _told(source: Any) -> dict[str, Any]:
    """What the configuration says of a source whose name rows bear."""
    if source is None:
        return {}
    return {"kind": source.kind, "about": source.about, "licence": getattr(source, "licence", None)}
