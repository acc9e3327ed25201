"""Arrivals: links whose other end has not proved the secret yet.

They cost no thread and little memory: each is a small state machine fed by events, a message has at most 256 bytes, and after
five seconds an unproved link is closed. What goes wrong is told to our log and counters, never on the wire.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from hubnet import machine
from hubnet.core import frames, handshake
from hubnet.errors import AuthenticationError, HubnetError, RemoteProtocolError
from hubnet.links.complaints import Complaints
from hubnet.links.limits import Limits
from hubnet.links.link import Link

if TYPE_CHECKING:
    from hubnet.links.encrypted import Secured

LIMIT = 5.0
_LIMITS = Limits()
_LOOKED_AT = 32
_RESET = struct.pack("ii", 1, 0)
_log = logging.getLogger("hubnet")


class _HalfOpen(NamedTuple):
    sock: socket.socket
    side: handshake.Responder
    until: float
    address: str

    def break_off(self) -> None:
        """Close it by a reset: an end without a word would tell an honest dialler of another secret, and not to come again."""
        with suppress(OSError):  # it has ended already
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()


def _has_spoken(fd: int) -> bool:
    """Whether words are here that we have not come to read yet: whoever only waits for us is no offender."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


class Arrivals:
    """The half-open links of one peer, by descriptor."""

    def __init__(
        self,
        responder: Callable[[], handshake.Responder],
        count: Callable[[str], None],
        secured: Secured | None = None,
        limits: Limits = _LIMITS,
    ) -> None:
        self._responder = responder
        self._count = count
        self._secured = secured
        self._limits = limits
        self.half_open: dict[int, _HalfOpen] = {}
        self._open_by: Counter[str] = Counter()
        self._complaints = Complaints()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.half_open)

    def __contains__(self, fd: int) -> bool:
        return fd in self.half_open

    def welcome(self, sock: socket.socket, address: str) -> int:
        """Take in an accepted socket; when there are too many half-open ones, the oldest of the busiest address goes.

        An honest peer of that address is through within milliseconds, long before it is the oldest.

        Returns:
            its descriptor.

        Raises:
            OSError: it has ended already.
        """
        sock.setblocking(False)
        if self._secured:
            sock = self._secured.accept(sock)  # type: ignore[assignment]
        with self._lock:
            self._make_room(address)
            until = time.monotonic() + LIMIT
            self.half_open[sock.fileno()] = _HalfOpen(sock, self._responder(), until, address)
            self._open_by[address] += 1
        return sock.fileno()

    def _make_room(self, address: str) -> None:
        in_all, of_one = self._limits.strangers
        open_by = self._open_by
        if len(self.half_open) >= in_all:
            address, _ = open_by.most_common(1)[0]
        elif open_by[address] < of_one:
            return
        self._count("handshakes.turned_away")
        of_it = list(islice((fd for fd, half in self.half_open.items() if half.address == address), _LOOKED_AT))
        self._take_out(next((fd for fd in of_it if not _has_spoken(fd)), of_it[0])).break_off()

    def _take_out(self, fd: int) -> _HalfOpen:
        half = self.half_open.pop(fd)
        self._open_by[half.address] -= 1
        if not self._open_by[half.address]:
            del self._open_by[half.address]
        return half

    def advance(self, fd: int) -> Link | bool:
        """Something arrived: a link once the handshake is done, True to go on waiting, False when it is over."""
        half = self.half_open.get(fd)
        if half is None:
            return False
        try:
            data = half.sock.recv(handshake.LIMIT)
            if not data:
                raise RemoteProtocolError("ended in the middle of the handshake")
            if answer := half.side.receive(data):  # a message arrives in one record, where there is TLS
                half.sock.send(answer)  # at most 256 bytes into an empty buffer
        except BlockingIOError:
            return True
        except (HubnetError, OSError) as error:
            if self._ends(fd, half):
                self._reject(half, error)
                half.sock.close()  # which takes it out of the epoll as well
            return False
        session = half.side.session
        if session is None:
            return True
        if session.verdict != handshake.ACCEPTED:
            if self._ends(fd, half):
                self._decline(half, session.verdict)
                half.sock.close()
            return False
        with self._lock:
            if self.half_open.get(fd) is not half:
                return False  # its time was up meanwhile, and it is closed
            self._take_out(fd)
        return Link(
            half.sock,
            frames.protection(session),
            session.foreign,
            session.suite,
            kid=session.kid,
            most=self._limits.call,
        )

    def next_limit(self) -> float | None:
        """When the next of them has had its time, or None."""
        return min((half.until for _, half in self._all()), default=None)

    def drop_overdue(self, now: float) -> None:
        """Close those that have had their time."""
        for fd, half in self._all():
            if half.until <= now and self._ends(fd, half):
                self._count("handshakes.timed_out")
                half.sock.close()

    def close(self) -> None:
        """Break all of them off: an end without a word would say that their secret is another."""
        for fd, half in self._all():
            if self._ends(fd, half):
                half.break_off()

    def abandon(self) -> None:
        """In a forked child: close our copies; the lock may be held by a thread that is not here."""
        for half in self.half_open.values():
            half.sock.close()

    def _all(self) -> list[tuple[int, _HalfOpen]]:
        """Those of this moment; without the lock, collecting garbage while they are listed may let another thread change them."""
        with self._lock:
            return list(self.half_open.items())

    def _ends(self, fd: int, half: _HalfOpen) -> bool:
        """Take it out to be closed; False: another thread has, and its descriptor may be somebody else's by now."""
        with self._lock:
            ours = self.half_open.get(fd) is half
            if ours:
                self._take_out(fd)
        return ours

    def _reject(self, half: _HalfOpen, error: Exception) -> None:
        """Tell why, then count it: whoever sees the number finds the line."""
        if isinstance(error, AuthenticationError):
            self._complain(half, logging.WARNING, str(error))
            self._count("handshakes.refused")
        elif isinstance(error, handshake.OtherVersion):
            # Without the numbers, which a stranger may choose: each would be a line of its own.
            self._complain(
                half, logging.WARNING, "another version of hubnet, whose links are not ours: upgrade the older one"
            )
            _log.debug("no handshake from %s: %s", half.address, error)
            self._count("handshakes.other_version")
        elif machine.is_of_tls(error):  # plain words, no certificate or one of another CA; or it refused ours
            self._complain(half, logging.WARNING, f"no TLS ({getattr(error, 'reason', None) or 'broken off'})")
            self._count("handshakes.without_tls")
        elif isinstance(error, RemoteProtocolError):
            _log.debug("no handshake from %s: %s", half.address, error)
            self._count("handshakes.broken")

    def _decline(self, half: _HalfOpen, verdict: int) -> None:
        """It proved the secret, and was told under ours why it has no link."""
        what = handshake.VERDICTS[verdict]
        if verdict == handshake.NOT_ME:
            self._complain(half, logging.INFO, "it dialled another peer")
        elif verdict == handshake.FULL:
            self._complain(half, logging.WARNING, f"{what}: HUBNET_LINK_LIMIT")
        else:
            _log.debug("no link for %s: %s", half.address, what)
        self._count("handshakes.for_another" if verdict == handshake.NOT_ME else "handshakes.declined")

    def _complain(self, half: _HalfOpen, level: int, what: str) -> None:
        if said := self._complaints.about(half.address, what):
            _log.log(level, "refused a link from %s", said)
