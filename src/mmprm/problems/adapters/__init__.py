"""Readers of the rows of each kind of source. In: a source. Out: its columns, and a reader of `RowFields`."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from mmprm.config.sources import ConversationSource, DataFiles, ImageFolderSource, MathVistaSource, TableSource
from mmprm.problems.adapters import conversations, published
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
        return Adapter(columns, columns.get("id", ""), partial(published.table, columns=columns), mapped)
    names, fields = published.READERS[source.kind]
    if isinstance(source, MathVistaSource):
        fields = partial(fields, source=source)
    hint = f"this is not {source.kind} as it was published; kind table takes a map of columns"
    also = tuple(published.OPTIONAL.get(source.kind, "").split())
    return Adapter({name: name for name in names.split()}, names.split()[0], fields, hint, also)
