"""The elements of a JSON array, one by one. In: a file `[{…}, …]`. Out: the bytes of each element.

An element that no parser could read, such as brackets in brackets thousands deep, costs itself and nothing beside it;
the file may be larger than memory.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mmprm.runtime.errors import UserError

_CHUNK = 2**20
# Possessive quantifiers (`++`): there is nothing to go back to, and time stays linear.
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_BETWEEN = re.compile(_STRING + rb'|["\[\]{},]', re.DOTALL)  # in the array itself, where commas end elements
_WITHIN = re.compile(_STRING + rb'|["\[\]{}]', re.DOTALL)  # in an element
_REST_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+(")?', re.DOTALL)


def elements(path: Path, longest: int, mark: bytes) -> Iterator[bytes | None]:
    """Yield the bytes of each element, without blanks around it; None for one of more than `longest` bytes.

    mark: what may stand before the array. Brackets are counted, not told apart: what stands between two commas need not
    be JSON. UserError where the file is no array, ends within it, or goes on behind it.
    """
    with path.open("rb") as file:
        data = file.read(_CHUNK).removeprefix(mark).lstrip()
        if not data.startswith(b"["):
            raise UserError(f"{path}: not a JSON array; name a file of JSON Lines .jsonl")
        data, depth, n, in_string, element = data[1:], 1, 0, False, b""
        while depth:
            at = start = 0
            while at < len(data) and depth:
                if in_string:  # which began in an earlier part of the file
                    rest = _REST_OF_STRING.match(data, at)
                    if rest is None or rest[1] is None:  # it goes on
                        at = rest.end() if rest else at
                        break  # before half of an escape, or at the end of this part
                    at, in_string = rest.end(), False
                    continue
                match = (_BETWEEN if depth == 1 else _WITHIN).search(data, at)
                at = match.end() if match else len(data)
                if match is None or len(match[0]) > 1:
                    continue
                in_string = match[0] == b'"'
                depth += (match[0] in b"[{") - (match[0] in b"]}")
                if depth == 0 or match[0] == b",":
                    element = (element + data[start : at - 1]).strip()
                    if depth or n or element:  # else the array is empty
                        yield element if len(element) <= longest else None
                    element, start, n = b"", at, n + 1
            if depth:
                element += data[start:at] if len(element) <= longest else b""
                new = file.read(_CHUNK)
                if not new:
                    raise UserError(f"{path}: not a JSON array (it ends within the array); fetch it again")
                data = data[at:] + new
        behind = data[at:] or file.read(_CHUNK)
        while behind and not behind.strip():
            behind = file.read(_CHUNK)
        if behind:
            raise UserError(f"{path}: not a JSON array (something follows its end); fetch it again")
