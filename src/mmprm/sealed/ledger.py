"""The ledger of looks at sealed tests. In: what a look is of. Out: a line of JSON, and the seed of the test's problems.

A test is its name and the recipe of its problems. Its seed is drawn from the operating system's randomness at the first
look and written before any problem is: what follows was chosen without it. Later looks at the test have the same seed.
A look is a test, settings, models and registration: a run that is repeated, or goes on after a kill, is the same look.
"""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmprm.runtime import disk
from mmprm.runtime.errors import UserError
from mmprm.runtime.locks import single_writer

_SEED_BITS = 48  # JSON's numbers are exact below 2^53
_SAME = ("test", "problems", "settings", "models", "registration")


@dataclass(frozen=True)
class Look:
    """One look. Hashes are SHA-256 in hex; models: name -> fingerprint of its files; commits end in -dirty or not."""

    test: str
    number: int  # of the looks at this test, from 1
    seed: int
    problems: str  # hash of the recipe by which the problems are drawn
    settings: str  # hash of the settings that change a result
    models: Mapping[str, str]
    registration: str | None  # hash of the file; None: not registered
    registered: str | None  # commit that the registration is of, with its date
    commit: str | None  # of the code
    run: str
    time: str  # UTC
    machine: Mapping[str, Any]
    version: str

    def same_as(self, other: "Look") -> bool:
        """Tell whether both are one look: of the same test, settings, models and registration."""
        return all(getattr(self, name) == getattr(other, name) for name in _SAME)


def read(ledger: Path) -> list[Look]:
    """Return all looks, none where there is no file. A torn last line, of a process that was killed, is no look.

    UserError names a line that is not one.
    """
    try:
        text = ledger.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    *lines, _ = text.split("\n")  # the last one has no end: empty, or torn
    looks = []
    for number, line in enumerate(lines, 1):
        try:
            looks.append(Look(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{ledger}, line {number}: not a look ({error}); restore the file, `git checkout`"
            ) from error
    return looks


def of_test(looks: Sequence[Look], test: str, problems: str) -> list[Look]:
    """Return the looks at a test of this name and recipe."""
    return [look for look in looks if (look.test, look.problems) == (test, problems)]


def enter(ledger: Path, look: Look) -> Look:
    """Return the look as it stands in the ledger, with its number and seed; a new line where it is new.

    The line is on the disk when this returns. One process at a time reads and writes, on whatever machine.
    """
    with single_writer(ledger.parent, ledger.name), disk.naming(ledger):
        before = of_test(read(ledger), look.test, look.problems)
        same = [one for one in before if one.same_as(look)]
        if same:
            return same[0]
        seed = before[0].seed if before else secrets.randbits(_SEED_BITS)
        entered = Look(**asdict(look) | {"number": len(before) + 1, "seed": seed})
        _append(ledger, json.dumps(asdict(entered), ensure_ascii=False) + "\n")
        return entered


def _append(ledger: Path, line: str) -> None:
    """Append a line in the place of a torn one, and wait until the disk has it."""
    with ledger.open("a+b") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(ledger.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # a new file's name is in its folder
    finally:
        os.close(folder)
