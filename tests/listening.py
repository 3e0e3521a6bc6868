"""Who may connect to the processes of a test: the addresses on which they listen, from /proc as `ss -ltn` reads it."""

from __future__ import annotations

import ipaddress
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LISTENS = "0A"


@contextmanager
def addresses_of(process: int | None = None) -> Iterator[set[str]]:
    """Collect, until the block ends, the addresses on which a process (this one) or its descendants listen."""
    found: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            sockets = _sockets(process or os.getpid())
            found.update(address for inode, address in _listening().items() if inode in sockets)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def beyond_this_machine(addresses: set[str]) -> set[str]:
    """Those to which a neighbour can connect."""
    return {address for address in addresses if not ipaddress.ip_address(address).is_loopback}


def _listening() -> dict[str, str]:
    """Map the inode of each listening TCP socket of this machine to its address."""
    listening = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENS:
                words = re.findall("[0-9A-F]{8}", fields[1].partition(":")[0])
                raw = b"".join(bytes.fromhex(word)[::-1] for word in words)
                address = ipaddress.ip_address(raw)
                mapped = getattr(address, "ipv4_mapped", None)
                listening[fields[9]] = str(mapped or address)
    return listening


def _sockets(root: int) -> set[str]:
    """The inodes of the sockets that a process and its descendants have open."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    family, waiting = set(), [root]
    while waiting:
        family.add(process := waiting.pop())
        waiting += children.get(process, [])
    inodes = set()
    for process in family:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            with suppress(OSError):
                if match := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
                    inodes.add(match[1])
    return inodes
