"""Tables as the library `datasets` reads them: pictures as its Image feature. In: arrow types. Out: schemas, rows.

The features stand in the file's metadata, as `datasets` itself writes them, which is not needed to write it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.data import tables

IMAGES = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
_ROWS, _DICTIONARY = 256, 2**27  # of a row group; bytes of pictures of which each is stored once in it


def with_features(schema: pa.Schema) -> pa.Schema:
    """Return the schema with its features for `datasets` in the metadata."""
    features = {field.name: _feature(field.type) for field in schema}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == IMAGES:
        return {"feature": {"_type": "Image"}, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": "float64" if kind == pa.float64() else str(kind), "_type": "Value"}


def pictures(images: Iterable[bytes] | None) -> list[dict[str, Any]]:
    """Return encoded images as a row of `IMAGES` has them."""
    return [{"bytes": image, "path": None} for image in images or ()]


def write(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> int:
    """Write the rows atomically, and return their number. A picture that rows share is stored once a row group."""
    count, waiting = 0, list[Mapping[str, Any]]()
    options: dict[str, Any] = {"compression": "zstd", "dictionary_pagesize_limit": _DICTIONARY}
    with (
        tables.replacing(path) as temporary,
        pq.ParquetWriter(temporary, with_features(schema), **options) as writer,
    ):
        for row in rows:
            waiting.append(row)
            if len(waiting) == _ROWS:
                count += _append(writer, waiting, schema)
        count += _append(writer, waiting, schema) if waiting else 0
    return count


def _append(writer: pq.ParquetWriter, waiting: list[Mapping[str, Any]], schema: pa.Schema) -> int:
    writer.write_table(tables.as_table(waiting, schema).cast(with_features(schema)))
    count = len(waiting)
    waiting.clear()
    return count
