"""Rows of CSV and TSV files. In: an open file of text. Out: the header, and a row or what is wrong for every line.

A quote that is opened by mistake swallows all lines up to the next one, and what results may look like a row. A record
of several lines is therefore taken only if it is strict CSV, has the header's number of fields, and its lines are not
rows themselves; otherwise its first line alone is refused, and reading goes on with the line after it. Not with arrow,
which refuses a block of rows for one bad row.
"""

import csv
from collections import deque
from collections.abc import Iterator
from typing import Any, TextIO

from mmprm.problems.refusals import Row, Unreadable, unreadable
from mmprm.runtime.errors import UserError

LINE = 2**26  # characters of a line, or of a field; longer ones are refused
_RECORD = 2**22  # characters of a record of several lines


class _TooLongError(Exception):
    """The record in work has more than _RECORD characters in several lines, or one of more than LINE."""


class _Lines:
    """The lines of a file, for csv.reader; those of the record in work can be given back."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self.record: list[str] = []  # lines of the record in work
        self._size = 0
        self.number = 0  # of the last line of the record in work, counted from 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._file.readline(LINE)
        if not line:
            raise StopIteration
        self.number += 1
        self.record.append(line)
        self._size += len(line)
        if len(line) >= LINE and line[-1] not in "\r\n":
            while (rest := self._file.readline(LINE)) and rest[-1] not in "\r\n":
                pass
            raise _TooLongError
        if self._size > _RECORD and len(self.record) > 1:
            raise _TooLongError
        return line

    def begin(self) -> None:
        """Begin a record."""
        self.record, self._size = [], 0

    def keep_first(self) -> None:
        """Give back all lines of the record in work but its first."""
        self._again.extendleft(reversed(self.record[1:]))
        self.number -= len(self.record) - 1
        del self.record[1:]


def rows(file: TextIO, name: str, delimiter: str) -> Iterator[Any]:
    """Yield the header, a list of names, then for each record a Row (None for empty fields), or an Unreadable.

    file: opened with newline="", so that line ends within fields stay. UserError where there is no header.
    """
    csv.field_size_limit(LINE)
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next((fields for fields in reader if fields), None)
    except (csv.Error, _TooLongError) as error:
        raise UserError(f"{name}, line {lines.number}: its header is not readable ({error})") from error
    if header is None:
        return
    yield header
    lines.begin()
    while True:
        fault = ""
        try:
            fields = next(reader, None)
        except csv.Error as error:
            fields, fault = [], f"it is not CSV ({error})"
        except _TooLongError:
            single = len(lines.record) == 1
            fields, fault = [], f"the line has more than {LINE:,} characters" if single else "a field without end"
        if fields is None and not lines.record:
            return
        first = lines.number - len(lines.record) + 1
        if len(lines.record) > 1:
            odd = "another number of fields" if len(fields or ()) != len(header) else ""
            if fault := fault or odd or _swallowed(lines.record, header, delimiter):
                fault = f"a quote is opened in this line that is not closed as it should be ({fault})"
                lines.keep_first()
        place = f"{name}, line {first}"
        if fault:
            yield unreadable(f"{fault}; quotes within a quoted field are doubled", place)
        elif fields:
            yield _row(fields, header, place)
        lines.begin()


def _row(fields: list[str], header: list[str], place: str) -> Row | Unreadable:
    if len(fields) != len(header):
        many = "more" if len(fields) > len(header) else "fewer"
        return unreadable(f"the line has {many} fields than the header ({len(fields)}, not {len(header)})", place)
    row = Row(zip(header, (value or None for value in fields), strict=True))
    row.place = place
    return row


def _swallowed(lines: list[str], header: list[str], delimiter: str) -> str:
    """Say why the lines of one record are several rows, "" if they are not."""
    inner, ends = lines[1:-1], (lines[0], lines[-1])
    fewest = len(header) - 1
    if not fewest:
        return ""
    if inner:
        whole = all(line.count(delimiter) >= fewest for line in ends) and all(
            _is_row(line, len(header), delimiter) for line in inner
        )
    else:
        whole = all(line.count(delimiter) == fewest for line in ends)
    return "a field of it holds whole rows" if whole else ""


def _is_row(line: str, size: int, delimiter: str) -> bool:
    try:
        return any(len(fields) == size for fields in csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return False
