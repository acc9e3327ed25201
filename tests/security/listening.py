"""What processes listen on, as the kernel has it: the sockets of their descriptors, looked up in its tables."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

_LISTEN = "0A"
_BYTES_OF_A_WORD = 4


def descendants(pid: int) -> list[int]:
    """A process, and all that it and its children started and that still run."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
        children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def command_line(pid: int) -> bytes:
    """What `ps` shows of it; nothing once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses and TCP ports on which a process listens."""
    sockets = {match[1] for name in _descriptors(pid) if (match := re.fullmatch(r"socket:\[(\d+)\]", name))}
    return {(str(host), port) for inode, host, port in _listed() if inode in sockets}


def _descriptors(pid: int) -> Iterator[str]:
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield str(one.readlink())
        except OSError:
            continue  # closed meanwhile


def _listed() -> Iterator[tuple[str, ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = line.split()
            if state == _LISTEN:
                host, _, port = local.partition(":")
                yield line.split()[9], _address(bytes.fromhex(host)), int(port, 16)


def _address(words: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Out of words of four bytes, each in the order of a little-endian machine."""
    turned = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), _BYTES_OF_A_WORD))
    address = ipaddress.ip_address(turned)
    return getattr(address, "ipv4_mapped", None) or address
