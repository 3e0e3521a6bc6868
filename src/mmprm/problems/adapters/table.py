"""Tables of any form, with a map of the columns (`columns: {ours: theirs}`, config.sources.Column).

A row, with `columns: {image: image_path}`:

    {"id": "4d613249", "question": "Given the function …", "answer": "$2$", "image_path": "images/4d613249.png"}

id, question, answer and image have these names unless the source maps them; other columns are read only where it maps
them. An empty name means that there is no such column (`image: ""` for problems without images; `id: ""`: the row's
number).

A row of a folder of images (kind image_folder; the form of the hub's imagefolder), whose id is its image's name:

    {"file_name": "train/4d613249.png", "question": "Given the function …", "answer": "$2$"}
"""

from typing import Any

from mmprm.config.sources import ImageFolderSource, TableSource
from mmprm.problems.fields import RowFields

REQUIRED = ("id", "question", "answer", "image")


def columns(source: TableSource | ImageFolderSource) -> dict[str, str]:
    """Map our columns to theirs, for every column that is read."""
    mapped: dict[str, str] = {ours: ours for ours in REQUIRED}
    if isinstance(source, ImageFolderSource):
        mapped |= {"id": "file_name", "image": "file_name"}
    mapped.update(source.columns.items())
    return {ours: theirs for ours, theirs in mapped.items() if theirs}


def fields(row: dict[str, Any], columns: dict[str, str]) -> RowFields:
    """Read the row."""
    values: dict[str, Any] = dict.fromkeys(REQUIRED) | {ours: row.get(theirs) for ours, theirs in columns.items()}
    return RowFields(**values, has_image="image" in columns)
