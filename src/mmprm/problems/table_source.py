"""A local table of problems: parquet, a JSON array, or JSON Lines. In: a TableSource. Out: problems and refusals.

A row as MM-K12 publishes it, with `columns: {image: image_path}`:

    {"id": "4d613249", "question": "Given the function …", "answer": "$2$", "image_path": "images/4d613249.png"}

An image is the encoded bytes, a struct of bytes and path, a path below the images folder, or a list of these.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.config_sources import TableSource
from mmprm.errors import UserError
from mmprm.problem import Problem
from mmprm.problems import images
from mmprm.problems.images import RefusedError
from mmprm.solution import Status, has_control, parse

REQUIRED = ("id", "question", "answer", "image")
ANSWER_TYPES = ("auto", "choice", "number", "expression", "text")
_BATCH = 64  # rows of a parquet file that are in memory at once
# A placeholder at the end or start of a question only says that there is an image: the prompt has its own.
_OUTER_PLACEHOLDER = re.compile(r"^(?:\s*<image>)+\s*|\s*(?:<image>\s*)+$")


def rows(path: Path) -> tuple[list[str], Iterable[Any]]:
    """The columns of a file and its rows (dictionaries; anything else is a row that cannot be read).

    Parquet is streamed. Raises UserError where the file is missing or as a whole not what its name says.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; set `path` of the source to a parquet, JSON or JSONL file")
    if path.suffix in (".parquet", ".pq"):
        try:
            return pq.ParquetFile(path).schema_arrow.names, _parquet_rows(path)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: not a readable parquet file ({error})") from error
    if path.suffix not in (".json", ".jsonl", ".ndjson"):
        raise UserError(f"{path}: sources are .parquet, .json, .jsonl or .ndjson files")
    found = _json_rows(path)
    columns = dict.fromkeys(name for row in found if isinstance(row, dict) for name in row)
    return list(columns), found


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged within its rows ({error}); fetch it again") from error


def _json_rows(path: Path) -> list[Any]:
    """A JSON array, or one value a line; a line that is not JSON becomes a string that says why."""
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if path.suffix == ".json" and data.lstrip()[:1] == b"[":
        try:
            return list(json.loads(data))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: not a JSON array ({error})") from error
    found: list[Any] = []
    for line in data.splitlines():
        if line.strip():
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                found.append(f"the line is not JSON: {error}")
    if not any(isinstance(row, dict) for row in found):
        raise UserError(f"{path}: neither a JSON array of objects nor one JSON object a line")
    return found


def column_map(source: TableSource, columns: list[str]) -> dict[str, str]:
    """Our column -> theirs. UserError names the file, the column that it lacks, and those that it has.

    id, question, answer and image are called so unless the source says otherwise; the others are taken only where it
    names them. An empty name means that there is none (problems without images).
    """
    mapped: dict[str, str] = {ours: ours for ours in REQUIRED} | dict(source.columns)
    mapped = {ours: theirs for ours, theirs in mapped.items() if theirs}
    for ours, theirs in mapped.items():
        if theirs not in columns:
            raise UserError(
                f"{source.path}: there is no column {theirs!r} for {ours!r}; the columns are {columns}: "
                f"set `columns: {{{ours}: …}}` of the source"
            )
    return mapped


def read_row(row: Any, mapped: dict[str, str], name: str, source: TableSource, max_pixels: int) -> Problem:
    """The problem in a row; raises RefusedError with the reason where there is none to take."""
    if not isinstance(row, dict):
        raise RefusedError(
            "bad_row", row if isinstance(row, str) else f"a row is an object, this is {type(row).__name__}"
        )

    def value(ours: str) -> Any:
        found = row.get(mapped[ours]) if ours in mapped else None
        return None if isinstance(found, float) and math.isnan(found) else found

    for ours in REQUIRED:
        if ours in mapped and (value(ours) is None or value(ours) == []):
            raise RefusedError("missing_value", f"column {mapped[ours]!r} has no value")
    question = _OUTER_PLACEHOLDER.sub("", _text(value("question"), "question")).strip()
    answer = _answer(value("answer"))
    choices = _choices(value("choices"))
    texts = {"id": _text(value("id"), "id").strip(), "question": question, "answer": answer}
    for ours, text in texts.items():
        if not text:
            raise RefusedError(f"empty_{ours}", f"column {mapped[ours]!r} is blank")
    for text in (question, answer, *choices):
        if has_control(text):
            raise RefusedError("control_string", f"a tag or model token stands in {_shorten(text)!r}")
    answer_type = value("answer_type") or "auto"
    if answer_type not in ANSWER_TYPES:
        raise RefusedError("bad_value", f"answer_type {answer_type!r} is not one of {ANSWER_TYPES}")
    return Problem(
        problem_id=f"{name}/{texts['id']}",
        source=name,
        question=question,
        answer=answer,
        images=_images(value("image"), source.images or source.path.parent, max_pixels),
        choices=choices,
        answer_type=answer_type,
        solution=_solution(value("solution")),
    )


def _text(value: Any, ours: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RefusedError("bad_value", f"{ours} is not a text but {type(value).__name__}")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can hold half of a surrogate pair, which no file can
        raise RefusedError("bad_text", f"{ours} is not valid Unicode: {error}") from error
    return text


def _answer(value: Any) -> str:
    """A text or number; several (OlympiadBench's final_answer) are joined by commas."""
    parts = value if isinstance(value, list) else [value]
    return ", ".join(_text(part, "answer").strip() for part in parts)


def _choices(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):  # a list that was stored as text
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RefusedError("bad_value", "choices are a text, not a list") from error
    if not isinstance(value, list) or len(value) > 26:
        raise RefusedError("bad_value", "choices are not a list of at most 26, the letters there are")
    choices = tuple(_text(choice, "a choice").strip() for choice in value)
    if not all(choices):
        raise RefusedError("bad_value", "a choice is blank")
    return choices


def _solution(value: Any) -> str | None:
    if value is None:
        return None
    text = _text(value, "solution").strip()
    status = parse(text).status
    if status is not Status.OK:
        raise RefusedError("bad_solution", f"the solution is not <step>…</step>…<answer>…</answer>: {status}")
    return text


def _images(value: Any, folder: Path, max_pixels: int) -> tuple[bytes, ...]:
    if value is None:
        return ()
    found = []
    for item in value if isinstance(value, list) else [value]:
        content = item
        if isinstance(item, dict):
            content = item.get("bytes") if item.get("bytes") is not None else item.get("path")
        if content is None or content == "":
            raise RefusedError("missing_value", "an image has neither bytes nor a path")
        if isinstance(content, str):
            content = images.read_inside(folder, content, images.largest_file(max_pixels))
        if not isinstance(content, bytes):
            raise RefusedError("bad_value", f"an image is bytes or a path, this is {type(content).__name__}")
        images.check(content, max_pixels)
        found.append(content)
    return tuple(found)


def _shorten(text: str, width: int = 80) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
