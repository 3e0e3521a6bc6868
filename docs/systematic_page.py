"""Write docs/systematic.md and its picture: choosing and voting against the share of wrong solutions a policy learnt.

python docs/systematic_page.py --benchmark dev results/systematic_*    # read finished runs into docs/systematic.json
python docs/systematic_page.py                                         # rewrite page and picture from that file
python docs/systematic_page.py --check                                 # status 1 where page and JSON differ
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from made_page import write_or_check

from mmprm.config import Config, read
from mmprm.config.sources import MiniSource
from mmprm.report import figures

PAGE, JSON = (Path(__file__).with_name(f"systematic.{kind}") for kind in ("md", "json"))
PICTURE = Path(__file__).with_name("images") / "systematic.svg"
COUNTS = 0.4  # the share that counts, named before any was run
DIFFERENCE = "bon_minus_majority"
RULES = {
    "random": "random",
    "bon": "best of N (PRM)",
    "majority": "majority",
    "weighted_majority": "weighted vote",
    "oracle": "oracle",
}
HEAD = """\
# Systematic errors

<!-- Made by `python docs/systematic_page.py` from docs/systematic.json, which `scripts/systematic.sh` writes. -->

**When does a PRM's pick beat the vote?** Where a policy's errors are scattered, wrong answers rarely agree: a vote
finds the right one, and no pick by a PRM comes near it. Real models also err in ways of their own, again and again
alike, and a vote then elects the error.

The [mini world](design.md) shows both, and **it is made by us**: a share of the solutions that the policy learns in the
four families in domain takes a fixed wrong route, written as fluently as the right one, and ends at its wrong answer
(`wrong_routes` of a mini source; the routes stand beside the right ones in `src/mmprm/mini/families.py`). The share is
0.4 in `workflow_config.yaml`. Problems, gold answers and tests are the same at every share.

| question | the wrong route |
|---|---|
| the perimeter of a rectangle | width + height, not doubled |
| the third angle of a triangle | the sum of two, not taken from 180 |
| the total cost of a list | the first row alone |
| A * B + C, A + B * C, (A + B) * C | the other operation first |

What it can say and what not. A wrong route is one decision of the policy, taken on every problem of a kind with about
the same chance; where it has fewer steps than the right one, which is so for three of the four families, fewer slips
spoil it. So the vote falls steeply where wrong answers become as frequent as right ones, and where that is depends on
these routes. The error is one that Monte-Carlo rollouts expose (nothing right follows it), and that the PRM has seen
hundreds of times. It says nothing of errors that are rarer, or that no rollout of the policy exposes.

The shares 0, 20, 40 and 60 % were fixed before any was run, and 40 % is the one that counts: it has a sealed test of
its own, with five trainings ([figures](reproducing.md)).

```bash
scripts/systematic.sh dev      # all four, each as large as the evidence run: results/systematic_0, _20, _40, _60
```

"""


def main(arguments: Sequence[str]) -> int:
    """Read runs, if any are named; write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="*", type=Path, help="folders of finished runs")
    parser.add_argument("--benchmark", default="dev", help="which benchmark of the runs (dev)")
    parser.add_argument("--variant", help="which PRM (the runs' first)")
    parser.add_argument("--check", action="store_true", help="compare the page, and write nothing")
    given = parser.parse_args(arguments)
    if given.runs:
        rows = sorted((row_of(run, given.benchmark, given.variant) for run in given.runs), key=lambda row: row["share"])
        said = {"benchmark": given.benchmark, "rows": rows, "crossing": crossing(rows)}
        JSON.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    found = json.loads(JSON.read_text(encoding="utf-8"))
    if found["rows"] and not given.check:
        PICTURE.write_text(picture(found["rows"]), encoding="utf-8")
    return write_or_check(PAGE, HEAD + results(found), f"{JSON.name} says")


def row_of(run: Path, benchmark: str, variant: str | None = None) -> dict[str, Any]:
    """Return {share, run, variant, n, problems, <rule>: {value, ci_low, ci_high}} of a run at its largest N."""
    config = read(run / "config.json")
    variant = variant or next(iter(config.prm.variants))
    metrics = json.loads((run / "bench" / benchmark / variant / "metrics.json").read_text(encoding="utf-8"))
    at_n = {row["metric"]: row for row in metrics["rows"] if row["n"] == metrics["n"]}
    by = {"bon": f"bon/{metrics['primary']}", DIFFERENCE: f"{DIFFERENCE}/{metrics['primary']}"}
    measures = {
        rule: {key: at_n[by.get(rule, rule)][key] for key in ("value", "ci_low", "ci_high")}
        for rule in (*RULES, DIFFERENCE)
    }
    names = {"share": share_of(config), "run": config.run, "variant": variant}
    return names | {"n": metrics["n"], "problems": metrics["n_problems"], "primary": metrics["primary"]} | measures


def share_of(config: Config) -> float:
    """Return the share of wrong solutions among those in domain that the policy of a run learnt."""
    sources = (config.sources[name] for name in config.policy.sources)
    return max((source.wrong_routes for source in sources if isinstance(source, MiniSource)), default=0.0)


def crossing(rows: Sequence[dict[str, Any]]) -> float | None:
    """Return the share from which on the pick is above the vote, by lines between shares; None where it is never.

    rows: by share. Where the difference changes its sign several times, the last rise counts.
    """
    points = [(row["share"], row[DIFFERENCE]["value"]) for row in rows]
    if not points or points[-1][1] <= 0:
        return None
    below = [index for index, (_, value) in enumerate(points) if value <= 0]
    if not below:
        return float(points[0][0])
    (x, low), (end, high) = points[below[-1]], points[below[-1] + 1]
    return float(x + (end - x) * -low / (high - low))


def picture(rows: Sequence[dict[str, Any]]) -> str:
    """Draw the rules against the share."""
    lines = [
        {"x": 100 * row["share"], "series": name, "value": row[rule]["value"]}
        | {"low": row[rule]["ci_low"], "high": row[rule]["ci_high"]}
        for rule, name in RULES.items()
        for row in rows
    ]
    title = f"Best of {rows[0]['n']} against the share of wrong solutions"
    return figures.curves(lines, "wrong solutions that the policy learnt (%)", "right (%)", title, "linear", 420)


def results(found: dict[str, Any]) -> str:
    """Write the results as text."""
    rows = found["rows"]
    if not rows:
        return "It has not been run yet.\n"
    columns = ["wrong solutions", *RULES.values(), "PRM minus majority, paired"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in rows:
        name = f"{row['share']:.0%}" + (" (counts)" if row["share"] == COUNTS else "")
        cells = [_shown(row[rule], "%") for rule in RULES] + [_shown(row[DIFFERENCE], "")]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    where = found["crossing"]
    said = "The pick is below the vote at the largest share." if where is None else f"The lines cross at {where:.0%}."
    what = f"{rows[0]['problems']} problems of `{found['benchmark']}`, best of {rows[0]['n']} by {rows[0]['primary']}"
    head = f"Measured on {what}; 95 % intervals over problems, one training a share."
    return "\n".join([head, "", "![curve](images/systematic.svg)", "", *lines, "", said, ""])


def _shown(measure: dict[str, float | None], unit: str) -> str:
    low, high = measure["ci_low"], measure["ci_high"]
    sign = "" if unit else "+"
    value = f"{100 * (measure['value'] or 0):{sign}.1f}{' ' if unit else ''}{unit}"
    return value if low is None or high is None else f"{value} ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
