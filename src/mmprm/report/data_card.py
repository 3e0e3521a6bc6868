"""The data card: from the rows of the sources to labelled paths, with licences. In: results/<run>. Out: markdown.

It begins with the front matter that the Hugging Face hub reads, and its pictures lie in a folder beside it, so that the
run's folder can be published as a data set. The report shows the same in its section on data.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from mmprm import __version__
from mmprm.config import Config
from mmprm.data import tables
from mmprm.hub.licences import licence_of, lineage
from mmprm.report import figures, results
from mmprm.report.results import Row
from mmprm.report.sections import data_funnel, examples
from mmprm.report.sections.examples import data_uri
from mmprm.report.templates import CardPart, ReportExtra, render_template

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def gather(config: Config, folder: Path, extras: Sequence[ReportExtra] = ()) -> Row:
    """Return all that the card says; what is missing is None or empty."""
    known = data_funnel.sources(config, folder)
    stages = {
        ("seeds", "From rows to labelled paths"): data_funnel.of_seeds(config, folder, known),
        ("policy", "From rows to the policy's training"): data_funnel.of_policy(config, folder, known),
    }
    return {
        "sources": list(known.values()),
        "curated": [row for row in known.values() if row["curation"]],
        "tagged": [row for row in known.values() if row["tagging"]],
        "flows": [{"name": name, "title": title, "stages": rows} for (name, title), rows in stages.items() if rows],
        "seeds": results.read_json(folder / "seeds" / "statistics.json"),
        "labels": results.read_json(folder / "labels" / "statistics.json"),
        "extras": [part for extra in extras if (part := extra.in_card(config, folder))],
        "kept": examples.kept(config, folder),
        "refused": examples.refused(config, folder),
    }


def data_section(config: Config, folder: Path) -> Row:
    """Return the same for the report: funnels as charts, thumbnails as data URIs."""
    card = gather(config, folder)
    for flow in card["flows"]:
        flow["chart"] = Markup(figures.funnel(flow["stages"], flow["title"]))
    for example in card["kept"] + card["refused"]:
        example["picture"] = data_uri(example["thumbnail"]) if example["thumbnail"] else None
    return card


def write_data_card(
    config: Config,
    results: Path,
    out: Path,
    pictures: Path,
    extras: Sequence[ReportExtra] = (),
    named: Sequence[Mapping[str, str]] | None = None,
) -> None:
    """Write the card of the run in the folder `results`, and its pictures into the folder `pictures` beside it:
    seeds.svg, policy.svg, example-1.png, ...; examples of an earlier card are removed. named: the tables beside the
    card (`config_name`, `data_files`); None: those of the run's own folder."""
    card = gather(config, results, extras)
    for old in pictures.glob("example-*.png"):
        old.unlink()
    for flow in card["flows"]:
        flow["file"] = f"{pictures.name}/{flow['name']}.svg"
        tables.write_text(pictures / f"{flow['name']}.svg", figures.funnel(flow["stages"], flow["title"]))
    for number, example in enumerate(card["kept"] + card["refused"], start=1):
        example["file"] = f"{pictures.name}/example-{number}.png" if example["thumbnail"] else None
        if example["thumbnail"]:
            with tables.replacing(pictures / f"example-{number}.png") as temporary:
                temporary.write_bytes(example["thumbnail"])
    tables.write_text(out, render(config, card, named))


def source_licences(config: Config, results: Path) -> dict[str, str | None]:
    """Return the licence of each source that is read and of all step data; None where problems were drawn here."""
    known = data_funnel.sources(config, results)
    read = {name: row["licence"] for name, row in known.items() if not row["made_of"]}
    return read | {name: data.licence for name, data in config.step_data.items()}


def render(config: Config, card: Row, named: Sequence[Mapping[str, str]] | None = None) -> str:
    """Return the card as markdown. Whatever comes from data is escaped, and stays on its line."""
    front = front_matter(config, card, named)
    names = {"run": config.run, "seed": config.seed, "version": __version__}
    text = render_template("data_card.md.jinja", **{**card, **names, "front": front})
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def front_matter(config: Config, card: Row, named: Sequence[Mapping[str, str]] | None = None) -> str:
    """Return what the hub reads: YAML between two lines of dashes. named: see write_data_card."""
    from huggingface_hub import DatasetCardData

    labels = card["labels"] or {}
    extras: list[CardPart] = card["extras"]
    files = ["paths"] * bool(labels) + [name for part in extras for name in part.tables]
    known = {row["name"]: row for row in card["sources"]}
    read = [known[name] for name in lineage(config, config.seeds.sources) if not known[name]["made_of"]]
    size = next((name for limit, name in _SIZES if labels.get("paths", 0) < limit), "n>1M")
    own = [{"config_name": name, "data_files": f"labels/{name}.parquet"} for name in files] or None
    data = DatasetCardData(
        language=list(config.data_card.language),
        pretty_name=f"Step labels of the run {config.run}",
        task_categories=["visual-question-answering"],
        tags=["process-reward-model", "mathematics", "mmprm"],
        size_categories=size if "paths" in labels else None,
        configs=own if named is None else [dict(one) for one in named],
    )
    for key, value in licence_of(row["licence"] for row in read).items():
        data[key] = value
    return f"---\n{data.to_yaml()}\n---"
