"""What an audit found, in sentences. In: `agreement`'s rows. Out: a text for a terminal and for the data card."""

from collections.abc import Callable, Iterator, Sequence

from mmprm.audit.agreement import Row
from mmprm.report.templates import counts_in_words

_NAMES = {"step": "labelled steps", "verdict": "grading verdicts", "refusal": "refusals of curation"}


def in_words(measured: Sequence[Row]) -> str:
    """Return a paragraph on each kind of item, and below it the agreement in each stratum."""
    return "\n\n".join("\n".join([" ".join(_paragraph(row)), *_table(row)]) for row in measured)


def _paragraph(row: Row) -> Iterator[str]:
    people = row["raters"]
    who = "One person" if len(people) == 1 else f"{len(people)} persons"
    yield f"{who} judged {row['items']} {_NAMES[row['kind']]} ({counts_in_words(row['marks'])}), a stratified sample."
    run = row["with_run"]
    if run["agree"]:
        of = f"{run['agree']['count']} judged right or wrong, weighted to the whole"
        yield f"They agree with the run on {_percent(run['agree'])} ({of}); Cohen's kappa {_kappa(run['kappa'])}."
    if row["kind"] != "refusal" and (run["precision"] or run["recall"]):
        yield f"Of what the run calls wrong {_percent(run['precision'])} is wrong (precision);"
        yield f"of what is wrong it calls {_percent(run['recall'])} so (recall)."
    for pair in row["between"]:
        shared = f"{pair['items']} items that both judged"
        names = " and ".join(pair["raters"])
        yield f"{names} agree on {_percent(pair['agree'])} of {shared}; kappa {_kappa(pair['kappa'])}."


def _table(row: Row) -> list[str]:
    return [
        f"    {line['stratum']:<40} {line['items']:>5} judged  {100 * line['agree']:5.1f} % as the run says"
        for line in row["strata"]
    ]


def _percent(measure: Row | None) -> str:
    return _shown(measure, lambda value: f"{100 * value:.1f}", " %")


def _kappa(measure: Row | None) -> str:
    return _shown(measure, lambda value: f"{value:.2f}", "")


def _shown(measure: Row | None, show: Callable[[float], str], unit: str) -> str:
    if measure is None:
        return "not defined"
    value = f"{show(measure['value'])}{unit}"
    if measure["ci_low"] is None:
        return f"{value} (too few problems for an interval)"
    return f"{value} ({show(measure['ci_low'])} to {show(measure['ci_high'])})"
