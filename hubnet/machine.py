"""What hubnet knows of the machine below it: the one room that is particular to Linux.

Boot id and network namespace (two processes share a machine when both are equal: containers share a kernel, not
sockets), keepalive, TCP_INFO, and the source address of a route.
"""

from __future__ import annotations

import os
import random
import re
import socket
import threading
from pathlib import Path
from struct import Struct, unpack_from
from typing import Any

from hubnet.core.calls import Transmission

_jitter = random.Random()  # noqa: S311 - no secret
os.register_at_fork(after_in_child=_jitter.seed)  # or all children of one process would draw the same pauses
_TIMEVAL = Struct("@ll")
_TCP_RTO_MAX_MS = 44  # not yet named by Python


class Nudge:
    """A descriptor that any thread may make readable, for one that waits for others as well.

    Attributes:
        fileno: to be waited for; taken back by the system after ``close``.
    """

    def __init__(self) -> None:
        self.fileno = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._closed = False

    def give(self) -> None:
        """Make it readable; nothing once it is closed."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self.fileno, 1)

    def take(self) -> None:
        """Make it unreadable again, if it is readable."""
        with self._lock:
            if not self._closed:
                try:
                    os.eventfd_read(self.fileno)
                except BlockingIOError:
                    pass

    def close(self) -> None:
        """Close it, once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.fileno)

    def abandon(self) -> None:
        """In a forked child: close our copy; the lock may be held by a thread that is not here."""
        os.close(self.fileno)


def jitter(least: float, most: float) -> float:
    """A random number between two; from a generator of our own, since the application may have seeded the common one."""
    return _jitter.uniform(least, most)


def boot_id() -> str:
    """Differs after every boot of the kernel; "" where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def machine_id() -> str:
    """Equal for processes that reach each other over loopback."""
    try:
        return f"{boot_id()}/{Path('/proc/self/ns/net').readlink()}"
    except OSError:
        return f"{boot_id()}/{socket.gethostname()}"


def is_loopback(host: str) -> bool:
    """Whether an address or name stays on this machine."""
    return host in {"localhost", "::1"} or re.fullmatch(r"127\.\d+\.\d+\.\d+", host) is not None


def route_address(family: int, target: tuple[Any, ...]) -> str:
    """The source address of packets from here to a socket address; nothing is sent.

    Raises:
        OSError: no route.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])


def watch_for_silence(sock: socket.socket) -> None:
    """Notice within 3 s that the machine at the other end of an idle link has gone.

    And let the kernel ask at least each second whether a closed window is still closed: otherwise it asks ever more seldom, up to
    each two minutes, and a machine that vanishes behind a peer that does not read is missed as long. (Before Linux 6.15 it is.)
    """
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, 1000)
    except OSError:
        pass  # an older kernel


def give_up_unread(sock: socket.socket, milliseconds: int = 3000) -> None:
    """End the link when data stays unacknowledged: for small messages only, it kills long transfers as well."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def no_delay(sock: socket.socket) -> None:
    """Send small frames at once."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def limit_waits(sock: socket.socket, receive: float, send: float | None = None) -> None:
    """Let blocking recv (and send) return with BlockingIOError after these seconds; cheaper than settimeout."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(receive))
    if send is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(send))


def _timeval(seconds: float) -> bytes:
    micros = max(1000, int(seconds * 1e6))  # 0 would mean for ever
    return _TIMEVAL.pack(micros // 1_000_000, micros % 1_000_000)


def transmission(sock: socket.socket) -> Transmission | None:
    """What the kernel says of this link, or None where it cannot."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return Transmission(info[2], info[3], unpack_from("=I", info, 24)[0], unpack_from("=I", info, 56)[0])
    except OSError:
        return None


def is_of_tls(error: BaseException) -> bool:
    """Whether it is an ssl.SSLError, without importing ssl."""
    return any(kind.__name__ == "SSLError" for kind in type(error).__mro__)


def owner_of(port: int) -> int | None:
    """The user whose process listens on this port of 127.0.0.1; None where nobody does, or the system does not say."""
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return None
    where = f"0100007F:{port:04X}"
    fields = (line.split() for line in lines)
    return next((int(one[7]) for one in fields if one[1] == where and one[3] == "0A"), None)
