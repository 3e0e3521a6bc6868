"""The command `try`: how are my rows understood? In: a file or folder. Out: a text: rows as problems, configuration.

Reads the first rows as intake would, with the columns that are given or guessed, and writes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from pydantic import ValidationError

from mmprm.config.data_files import DataFiles
from mmprm.config.sources import KINDS, Intake
from mmprm.data.problem import Problem, image_size, open_image
from mmprm.grading import rules
from mmprm.problems.adapters import Adapter, adapter_of
from mmprm.problems.fields import SourceContext, problem_of
from mmprm.problems.guess_columns import guess, guess_images
from mmprm.problems.refusals import Row, RowRefusedError, object_of, one_row, with_place
from mmprm.problems.rows import READABLE, find_files, form_of, read
from mmprm.runtime.errors import UserError

_WIDTH = 100  # characters of a question that are shown
_GRADED = {
    "choice": "as a choice, by its letter, text or value",
    "number": "as a number",
    "expression": "as a formula, symbolically",
    "text": "as words, which must be equal",
}


def try_data(data: Path, kind: str | None, images: Path | None, columns: Mapping[str, str], n_rows: int) -> str:
    """Describe the first `n_rows` rows of a file or folder; columns: ours -> theirs, over what is guessed.

    UserError where no row can be read, or a column or kind is unknown.
    """
    files = _files(data)
    head = [row for row in islice(read(files[:1], {}, ""), n_rows) if isinstance(row, Row)]
    names = list(dict.fromkeys(name for row in head for name in row))
    settings = guess(files[0], names, head)
    if kind is not None and kind != settings["kind"]:
        settings = {"kind": kind} | ({"columns": settings["columns"]} if kind in ("table", "image_folder") else {})
    if columns:
        settings["columns"] = settings.get("columns", {}) | dict(columns)
    settings["path"] = str(data)
    if data.is_dir():
        settings["files"] = [file.relative_to(data).as_posix() for file in files]
    source = _source(settings)
    adapter = adapter_of(source)
    column = adapter.columns.get("image") or next((name for name in adapter.also if "image" in name), "image")
    folder = images or guess_images(files[0].parent, column, head)
    if folder is not None and folder != files[0].parent.resolve():
        settings["images"] = str(folder)
        source = _source(settings)
    shown = list(_shown(source, adapter, n_rows))
    taken = sum(is_taken for is_taken, _ in shown)
    parts = [
        f"{files[0]}: columns {', '.join(names)}",
        *(text for _, text in shown),
        f"{taken} of {len(shown)} rows are taken. As a benchmark of a finished run (the file goes over its own one):",
        _configuration(settings),
    ]
    return "\n\n".join(parts)


def _files(data: Path) -> list[Path]:
    if not data.exists():
        raise UserError(f"{data}: no such file or folder")
    if data.is_file():
        return [data]
    every = DataFiles(kind="", path=data, files=["*"]).matching(data)
    found = [file for file in every if form_of(file) in READABLE]
    if not found:
        raise UserError(f"{data}: there is no {', '.join(READABLE)} file in it")
    form = form_of(found[0])
    return [file for file in found if form_of(file) == form and file.parent == found[0].parent]


def _source(settings: Mapping[str, Any]) -> DataFiles:
    kinds = {name: model for name, model in KINDS["sources"].items() if issubclass(model, DataFiles)}
    if settings["kind"] not in kinds:
        raise UserError(f"--kind {settings['kind']}: there are {', '.join(kinds)}")
    try:
        return kinds[settings["kind"]].model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _shown(source: DataFiles, adapter: Adapter, n_rows: int) -> Iterator[tuple[bool, str]]:
    """Yield for each row whether it is taken, and a text."""
    located = find_files(source)
    context = SourceContext("own", located.images, Intake().max_image_pixels, located.links)
    rows = read(located.files, adapter.columns, f"name it by --column OURS=THEIRS; {adapter.hint}", also=adapter.also)
    for number, row in enumerate(islice(rows, n_rows)):
        try:
            with one_row():
                fields = adapter.fields(object_of(row))
                problem = problem_of(fields if adapter.id else replace(fields, id=number), context)
        except RowRefusedError as error:
            yield False, f"refused ({error.reason}): {with_place(row, error.detail)}"
        else:
            yield True, _described(problem, with_place(row, "").removesuffix(": "))


def _described(problem: Problem, place: str) -> str:
    target = rules.target_of(problem)
    options = "  ".join(
        f"({letter}) {_short(text)}" for letter, text in zip(ascii_uppercase, target.options, strict=False)
    )
    right = ", ".join(ascii_uppercase[index] for index in sorted(target.right))
    stated = "" if right in ("", problem.answer) else f" = {right}"
    near = f", rounded to {problem.precision} places" if problem.precision is not None else ""
    near += f", within {', '.join(map(str, problem.tolerance))}" if problem.tolerance else ""
    lines = {
        "question": _short(problem.question),
        "choices": (options if problem.choices else f"(in the question) {options}") if options else "none",
        "pictures": ", ".join(map(_picture, problem.images)) or "none",
        "gold": problem.answer + (f" {problem.unit}" if problem.unit else "") + stated,
        "graded": _GRADED[target.kind] + near,
    }
    return f"{place}: {problem.problem_id.partition('/')[2]}\n" + "\n".join(
        f"  {name + ':':10} {text}" for name, text in lines.items()
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def _picture(image: bytes) -> str:
    height, width = image_size(image)
    return f"{open_image(image).format} {width} x {height}"


def _configuration(settings: Mapping[str, Any]) -> str:
    import yaml

    lines = {"sources": {"own": dict(settings)}, "benchmarks": {"own": {"source": "own"}}}
    return yaml.safe_dump(lines, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100).rstrip()
