"""Readers of rows, one module for each published form. In: a source. Out: its columns, and a reader of `RowFields`."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from mmprm.config.sources import ConversationSource, DataFiles, ImageFolderSource, TableSource
from mmprm.problems.adapters import conversations, mathverse, mathvision, mathvista, mm_k12, olympiadbench, table
from mmprm.problems.fields import RowFields

# Each has COLUMNS, those that the files must have, the id first, and a function fields(row, source).
_MODULES: dict[str, Any] = {
    "mm_k12": mm_k12,
    "mathvista": mathvista,
    "mathverse": mathverse,
    "mathvision": mathvision,
    "olympiadbench": olympiadbench,
}


class Adapter(NamedTuple):
    """How the rows of one source are read.

    columns: our names -> theirs; hint: what to do where one is missing; id: their column, "": the row's number is used.
    """

    columns: dict[str, str]
    id: str
    fields: Callable[[dict[str, Any]], RowFields]
    hint: str


def adapter_of(source: DataFiles) -> Adapter:
    """Return the adapter of the source's kind."""
    mapped = "set `columns: {ours: theirs}` of the source"
    if isinstance(source, ConversationSource):
        needed = conversations.columns(source)
        return Adapter(needed, needed.get("id", ""), partial(conversations.fields, source=source), mapped)
    if isinstance(source, TableSource | ImageFolderSource):
        columns = table.columns(source)
        return Adapter(columns, columns.get("id", ""), partial(table.fields, columns=columns), mapped)
    module = _MODULES[source.kind]
    hint = f"this is not {source.kind} as it was published; kind table takes a map of columns"
    columns = {name: name for name in module.COLUMNS}
    return Adapter(columns, module.COLUMNS[0], partial(module.fields, source=source), hint)
