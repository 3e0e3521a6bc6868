"""What a run needs that is not there. In: the configuration. Out: findings: model, data files, columns, servers."""

import csv
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from mmprm.config import Config
from mmprm.config.data_files import DataFiles
from mmprm.config.models import InstructedModel
from mmprm.preflight.findings import Finding, found
from mmprm.preflight.shape import known_origin, read_object
from mmprm.runtime.errors import UserError

_ANSWER = 1.2  # seconds within which a server must answer
_HEAD_BYTES, _HEAD_ROWS = 2**21, 1000  # of a text file, from which its columns are read


def missing(config: Config) -> list[Finding]:
    """List everything that is missing, in the order of the configuration."""
    return [*_base(config), *_external(config), *_files(config), *_local_models(config), *_servers(config)]


def _base(config: Config) -> Iterator[Finding]:
    base = config.policy.base
    if not (base / "config.json").is_file():
        yield found(
            "policy.base", f"{base} is no Hugging Face model folder (no {base / 'config.json'}); {_how(base)}", "policy"
        )
        return
    try:
        model = read_object(base / "config.json")
    except UserError as error:
        yield found("policy.base", f"{error}; fetch the folder again", "policy")
        return
    if not model:  # a folder that another tool will fill
        return
    if not any(file for pattern in ("*.safetensors", "pytorch_model*.bin") for file in base.glob(pattern)):
        yield found("policy.base", f"{base} has no weights (*.safetensors); {_how(base)}", "policy")
    for index in base.glob("*.safetensors.index.json"):
        parts = sorted(set(read_object(index).get("weight_map", {}).values()))
        if lacking := [part for part in parts if not (base / part).is_file()]:
            text = f"{len(lacking)} of {len(parts)} files of weights are not there, such as {base / lacking[0]}"
            yield found("policy.base", f"{text}; {_how(base)}", "policy")
    if not any(
        (base / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
    ):
        yield found("policy.base", f"{base} has no tokenizer; {_how(base)}", "policy")


def _external(config: Config) -> Iterator[Finding]:
    for name, variant in config.prm.variants.items():
        theirs = variant.external
        if theirs and theirs.path and theirs.file and not theirs.file.is_file():
            key = f"prm.variants.{name}.external.path"
            yield found(key, f"{theirs.file}: no such file; {_how(theirs.path)}", "bench")


def _how(base: Path) -> str:
    if base == Path("models/mini-base"):
        return "`snakemake mini_base` makes it"
    repo = known_origin(base)
    command = f"hf download {repo or 'OWNER/NAME'} --local-dir {base}"
    return f"with a network, run `{command}`, or set the key to the folder that you have"


def _files(config: Config) -> Iterator[Finding]:
    stages = _readers(config)
    for section, entries in (("sources", config.sources), ("step_data", config.step_data)):
        for name, source in entries.items():
            if isinstance(source, DataFiles):
                stage = ("problems", *stages.get(name, ())) if section == "sources" else ("labels", "bench")
                yield from _data(config, f"{section}.{name}", source, stage, columns=section == "sources")


def _readers(config: Config) -> dict[str, set[str]]:
    """Map each source to the stages that read it, through the sources made of it."""
    uses = [(name, "policy") for name in config.policy.sources] + [(name, "seeds") for name in config.seeds.sources]
    uses += [(bench.source, "bench") for bench in config.tests.values()]
    stages: dict[str, set[str]] = {}
    while uses:
        name, stage = uses.pop()
        if stage not in stages.setdefault(name, set()):
            stages[name].add(stage)
            uses += [(parent, stage) for parent in getattr(config.sources[name], "sources", ())]
    return stages


def _data(config: Config, key: str, source: DataFiles, stages: tuple[str, ...], columns: bool) -> Iterator[Finding]:
    from mmprm.problems.rows import READABLE, form_of

    if source.path is None:
        return  # a commit of the hub, which is fetched
    files = source.local_files()
    if source.path.is_dir() and not files:
        yield found(
            f"{key}.path",
            f"no file in {source.path} matches {' or '.join(source.patterns)}; set `files` to the names there",
            *stages,
        )
    for file in files:
        if str(file) in config.remote:
            continue
        if not file.is_file():
            yield found(f"{key}.path", f"{file}: no such file; put it there, or set the key to where it is", *stages)
        elif form_of(file) not in READABLE:
            yield found(f"{key}.path", f"{file}: sources are {', '.join(READABLE)} files", *stages)
        elif columns:
            yield from _columns(key, source, file, stages)
    if source.images is not None and not source.images.is_dir():
        yield found(f"{key}.images", f"{source.images}: no such folder; images' paths are relative to it", *stages)


def _columns(key: str, source: DataFiles, file: Path, stages: tuple[str, ...]) -> Iterator[Finding]:
    from mmprm.problems.adapters import adapter_of

    adapter = adapter_of(source)
    try:
        columns, whole = head_columns(file)
    except UserError as error:
        yield found(f"{key}.path", str(error), *stages)
        return
    lacking = {ours: theirs for ours, theirs in adapter.columns.items() if theirs not in columns}
    if lacking and columns:
        names = ", ".join(theirs if ours == theirs else f"{theirs} (for {ours})" for ours, theirs in lacking.items())
        among = "the columns are" if whole else "those of the first rows are"
        yield found(
            f"{key}.columns",
            f"{file} has no column {names}; {among} {', '.join(columns)}: {adapter.hint}",
            *stages,
            fatal=whole,
        )


def head_columns(file: Path) -> tuple[list[str], bool]:
    """Return the columns of a file by its head, and whether intake's own look at it could find no others.

    No columns where the head does not tell. UserError where a parquet file cannot be read.
    """
    if file.suffix in (".parquet", ".pq"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_schema(file).names, True
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{file}: not a readable parquet file ({error})") from error
    if file.suffix in (".csv", ".tsv"):
        with file.open(newline="", encoding="utf-8-sig", errors="replace") as opened:
            return next(csv.reader(opened, delimiter="," if file.suffix == ".csv" else "\t"), []), True
    if file.suffix in (".gz", ".zst"):
        return [], False
    with file.open("rb") as opened:
        head = opened.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace").lstrip()
    whole = file.stat().st_size <= _HEAD_BYTES
    first = head.partition("\n")
    if (
        file.suffix == ".json"
        and head.startswith("{")
        and (not first[2].strip() or not first[0].rstrip().endswith("}"))
    ):
        return [], False  # one object, which may be a table
    rows = list(islice(_array_rows(head) if head.startswith("[") else _line_rows(head), _HEAD_ROWS))
    names = dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)
    return list(names), whole or len(rows) == _HEAD_ROWS


def _line_rows(head: str) -> Iterator[object]:
    for line in head.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _array_rows(head: str) -> Iterator[object]:
    decoder, place = json.JSONDecoder(), 1
    while True:
        while place < len(head) and head[place] in " \t\r\n,":
            place += 1
        try:
            row, place = decoder.raw_decode(head, place)
        except ValueError:
            return
        yield row


def _asked(config: Config) -> Iterator[tuple[str, InstructedModel, str]]:
    """Yield the models that are given instructions: key, settings, stage."""
    for name, source in config.sources.items():
        if (model := getattr(source, "asked_model", None)) is not None:
            yield f"sources.{name}.model", model, "problems"
    if config.labels.consensus is not None:
        yield "labels.consensus", config.labels.consensus, "labels"
    for name, variant in config.prm.variants.items():
        if variant.external and variant.external.critic:
            yield f"prm.variants.{name}.external.critic", variant.external.critic, "bench"


def _local_models(config: Config) -> Iterator[Finding]:
    for key, model, stage in _asked(config):
        if model.kind != "server" and not (Path(model.model) / "config.json").is_file():
            yield found(
                f"{key}.model", f"{model.model} is no Hugging Face model folder; {_how(Path(model.model))}", stage
            )


def _servers(config: Config) -> list[Finding]:
    """Ask every server for its models at the same time; one that gives any answer is there."""
    addresses: dict[str, tuple[str, tuple[str, ...]]] = {}
    if config.engine.kind == "server" and config.engine.url:
        # It serves the policy, which may be trained only now.
        addresses["engine.url"] = (config.engine.url, ("seeds", "annotation", "bench"))
    for key, model, stage in _asked(config):
        if model.kind == "server" and model.url:
            addresses[f"{key}.url"] = (model.url, (stage,))
    if config.grading.judge is not None:
        addresses["grading.judge.url"] = (config.grading.judge.url, ("seeds", "annotation", "bench"))
    if not addresses:
        return []
    trained = Path("results", config.run, "policy/manifest.json").is_file()
    with ThreadPoolExecutor(len(addresses)) as pool:
        reasons = list(pool.map(lambda item: _why_away(item[0]), addresses.values()))
    return [
        found(
            key,
            f"no server answers at {url} ({reason}); start it, or set the key to where it is",
            *stages,
            fatal=key != "engine.url" or trained,
        )
        for (key, (url, stages)), reason in zip(addresses.items(), reasons, strict=True)
        if reason
    ]


def _why_away(url: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/models", timeout=_ANSWER):
            return None
    except urllib.error.HTTPError:
        return None  # it answers, if only that it wants a key
    except OSError as error:
        return str(getattr(error, "reason", error))
    except ValueError as error:
        return str(error)
