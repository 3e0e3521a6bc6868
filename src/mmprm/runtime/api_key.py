"""Keys of servers, from the environment alone. In: the variables that may hold one. Out: the key, for a header."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mmprm.runtime.errors import UserError


def from_environment(names: Sequence[str]) -> str | None:
    """The first of the variables that is set; UserError where its key cannot be sent, without quoting it."""
    for name in names:
        key = os.environ.get(name, "").strip()
        if key and not (key.isascii() and key.isprintable()):
            raise UserError(f"{name} holds a character that no HTTP header can carry: set it again")
        if key:
            return key
    return None
