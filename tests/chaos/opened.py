"""What a process holds open: each file by what it is, each socket by its state and whom it is connected to.

A storm that ends with more of them than it began with names them, for a bare number tells nobody what to mend.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

_STATES = {"01": "connected", "02": "connecting", "08": "half closed", "0A": "listening"}


def opened(process: int | str = "self") -> Counter[str]:
    """How many files of each sort, such as `connected to 10.0.0.7:6379`."""
    sockets = _tcp(process)
    sorts: Counter[str] = Counter()
    for file in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = str(file.readlink())
        except FileNotFoundError:  # it was the folder itself, or has been closed
            continue
        sorts[sockets.get(target, target.partition(":")[0])] += 1
    return sorts


def connected_to(port: int | None, sorts: Mapping[str, int]) -> int:
    """How many of them are connections to this port, of whichever host."""
    return sum(count for sort, count in sorts.items() if sort.endswith(f":{port}"))


def _tcp(process: int | str) -> dict[str, str]:
    found = {}
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        rows = Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]
        for row in rows:
            _, _, remote, state, *rest = row.split()
            told = _STATES.get(state, f"in state {state}")
            found[f"socket:[{rest[5]}]"] = told if state == "0A" else f"{told} to {_address(family, remote)}"
    return found


def _address(family: socket.AddressFamily, written: str) -> str:
    host, port = written.split(":")
    words = struct.iter_unpack("<I", bytes.fromhex(host))
    packed = b"".join(struct.pack(">I", word) for (word,) in words)
    return f"{socket.inet_ntop(family, packed)}:{int(port, 16)}"
