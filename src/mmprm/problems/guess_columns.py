"""Which columns of a file are which fields of a problem? In: columns and rows. Out: settings of a source.

A guess for `mmprm try`, which shows what comes of it; a run reads only what its configuration says.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmprm.problems.adapters import newer, published

NAMES = {
    "id": "id pid qid question_id problem_id sample_id sample_index index idx nr uid name",
    "question": "question problem query prompt problem_text question_text instruction input text",
    "answer": "answer gold gold_answer ground_truth correct_answer final_answer label target response output",
    "image": "image images image_path image_paths img img_path picture pictures figure file file_name filename "
    "decoded_image",
    "choices": "choices options option opts candidates",
    "solution": "solution rationale explanation cot reasoning analysis",
    "unit": "unit",
    "precision": "precision",
    "family": "family subject category topic task",
    "group": "group",
}
_TURNS = ("conversations", "messages")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
_LOOKED_IN = ("", "images", "image", "data", "pictures", "..", "../images")


def guess(file: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `kind` and, where theirs differ from ours, `columns`."""
    if kind := _published(columns):
        return {"kind": kind}
    turns = next((name for name in _TURNS if name in columns), None)
    if turns:
        mapped = {} if turns == _TURNS[0] else {"turns": turns}
        return {"kind": "conversations", "columns": mapped | ({} if "id" in columns else {"id": ""})}
    folder = file.stem == "metadata" and "file_name" in columns
    found = {ours: _named(names.split(), columns) for ours, names in NAMES.items()}
    found["image"] = found["image"] or _with_images(columns, rows)
    letters = [letter for letter in "ABCDEFGH" if letter in columns]
    if found["choices"] is None and letters[:2] == ["A", "B"]:  # MMBench
        found["choices"] = ",".join(letters)
    if folder:
        found |= {"id": found["id"] if "id" in columns else None, "image": None}
    mapped = {}
    for ours, theirs in found.items():
        needed = ours in published.TABLE_COLUMNS
        if theirs is None and needed and not folder and ours in ("id", "image"):
            mapped[ours] = ""  # there is none
        elif theirs is not None and not (needed and theirs == ours):
            mapped[ours] = theirs
    return {"kind": "image_folder" if folder else "table", "columns": mapped}


def _published(columns: Sequence[str]) -> str | None:
    """Return the benchmark whose columns these are; not one that a few common names make."""
    readers = published.READERS | newer.READERS
    fitting = [kind for kind, (names, _) in readers.items() if set(names.split()) <= set(columns) and kind != "mm_k12"]
    return max(fitting, key=lambda kind: len(readers[kind][0].split()), default=None)


def _named(names: Sequence[str], columns: Sequence[str]) -> str | None:
    plain = {column.casefold().replace(" ", "_"): column for column in reversed(columns)}
    return next((plain[name] for name in names if name in plain), None)


def _with_images(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the first column whose values are pictures, or paths of such files."""
    for column in columns:
        values = [row[column] for row in rows if row.get(column) is not None]
        if values and all(_is_image(value) for value in values):
            return column
    return None


def _is_image(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_image, value))
    if isinstance(value, dict):
        return value.keys() == {"bytes", "path"}
    return isinstance(value, bytes) or (isinstance(value, str) and value.casefold().endswith(_SUFFIXES))


def guess_images(folder: Path, column: str, rows: Sequence[Mapping[str, Any]]) -> Path | None:
    """Return the folder below or above `folder` in which the rows' image paths are; None where none has the first."""
    for row in rows:
        value = row.get(column)
        value = value[0] if isinstance(value, list) and value else value
        name = value.get("path") if isinstance(value, dict) and value.get("bytes") is None else value
        if isinstance(name, str) and len(name) < 500 and not name.startswith(("data:", "http:", "https:")):
            places = (folder / place for place in _LOOKED_IN)
            return next((place.resolve() for place in places if (place / name).is_file()), None)
    return None
