"""Readers of the rows of each kind of source. In: a source. Out: its columns, and a reader of `RowFields`."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from mmprm.config.data_files import DataFiles
from mmprm.config.sources import ConversationSource, ImageFolderSource, MathVistaSource, TableSource
from mmprm.problems.adapters import conversations, newer, published
from mmprm.problems.fields import RowFields


class Adapter(NamedTuple):
    """How the rows of one source are read.

    columns: our names -> theirs; hint: what to do where one is missing; id: their column, "": the row's number is used;
    also: columns of theirs that are read where they are there.
    """

    columns: dict[str, str]
    id: str
    fields: Callable[[dict[str, Any]], RowFields]
    hint: str
    also: tuple[str, ...] = ()


def adapter_of(source: DataFiles) -> Adapter:
    """Return the adapter of the source's kind."""
    mapped = "set `columns: {ours: theirs}` of the source"
    if isinstance(source, ConversationSource):
        needed = conversations.columns(source)
        reader = partial(conversations.fields, source=source)
        return Adapter(needed, needed.get("id", ""), reader, mapped, conversations.IMAGES)
    if isinstance(source, TableSource | ImageFolderSource):
        columns = published.table_columns(source)
        reader = partial(published.table, columns=columns, source=source)
        return Adapter(columns, columns.get("id", ""), reader, mapped)
    module = newer if source.kind in newer.READERS else published
    names, fields = module.READERS[source.kind]
    if isinstance(source, MathVistaSource):
        fields = partial(fields, source=source)
    hint = f"this is not {source.kind} as it was published; kind table takes a map of columns"
    also = tuple(module.OPTIONAL.get(source.kind, "").split())
    return Adapter({name: name for name in names.split()}, names.split()[0], fields, hint, also)
