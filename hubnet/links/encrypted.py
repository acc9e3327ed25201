"""TLS around links: a socket that encrypts, and waits, times out and ends as a link expects of a plain one.

OpenSSL lets one thread at a time use a session, and waiting inside it would keep a goodbye of another thread waiting. So every
step of it is taken under a lock and never waits; waiting is done outside, on the descriptor.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from hubnet import tls

Answer = TypeVar("Answer")
_TIMEVAL = struct.Struct("@ll")
_LONGEST_WRITE = 1 << 20


def _later(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


class Secured(NamedTuple):
    """What a peer with a certificate needs: contexts for both ends, and what binds a handshake to its certificate."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    binding: bytes

    @classmethod
    def of(cls, cert: str, key: str, ca: str) -> Secured:
        """Out of the three files.

        Raises:
            ConfigError: one of them is missing, unfit or expired.
        """
        server, client = tls.server_context(cert, key, ca), tls.client_context(cert, key, ca)
        return cls(server, client, tls.fingerprint(tls.own_certificate(cert)))

    def accept(self, sock: socket.socket) -> EncryptedSocket:
        """The listening end; TLS's own handshake is made as bytes arrive.

        Raises:
            OSError: it has ended already.
        """
        try:
            sock.getpeername()  # Python would take one that has ended for one without TLS
            return EncryptedSocket(self.server.wrap_socket(sock, server_side=True, do_handshake_on_connect=False))
        except OSError:
            sock.close()
            raise

    def dial(self, sock: socket.socket, host: str, deadline: float) -> tuple[EncryptedSocket, bytes]:
        """The dialling end of a connected socket, and what binds a handshake to the listener's certificate.

        Raises:
            OSError: no TLS there, no certificate of our CA for this host, or no answer by the deadline.
        """
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        wrapped = self.client.wrap_socket(sock, server_hostname=host)
        return EncryptedSocket(wrapped), tls.fingerprint(wrapped.getpeercert(binary_form=True) or b"")


class EncryptedSocket:
    """A socket inside TLS, with the methods of one that a link uses."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._one_thread = threading.Lock()
        self._limit_in: float | None = None
        self._limit_out: float | None = None
        self._late: type[OSError] = BlockingIOError
        self.family = sock.family
        self._incoming, self._outgoing = select.poll(), select.poll()
        self._incoming.register(sock.fileno(), select.POLLIN)
        self._outgoing.register(sock.fileno(), select.POLLOUT)

    # -- bytes -----------------------------------------------------------------------------------------------------

    def recv(self, size: int, flags: int = 0) -> bytes:
        """What has arrived, b"" at the end; BlockingIOError or TimeoutError when nothing does within the limit."""
        return self._take(lambda: self._sock.recv(size), flags)

    def recv_into(self, buffer: memoryview) -> int:
        """As ``recv``, into memory of the caller's."""
        return self._take(lambda: self._sock.recv_into(buffer), 0)

    def send(self, data: bytes | bytearray | memoryview, flags: int = 0) -> int:
        """Send what there is room for; after a BlockingIOError the same bytes must be sent again."""
        view = memoryview(data)[:_LONGEST_WRITE]
        until = None
        while view.nbytes:
            try:
                with self._one_thread:
                    return self._sock.send(view)
            except ssl.SSLWantWriteError:
                ready = self._outgoing
            except ssl.SSLWantReadError:  # TLS itself waits for an answer
                ready = self._incoming
            if flags & socket.MSG_DONTWAIT:
                raise self._late("no room")
            until = until or _later(self._limit_out)
            self._wait(ready, until)
        return 0

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view.nbytes:
            view = view[self.send(view) :]

    def waiting(self) -> bool:
        """Whether bytes are here already that the descriptor does not tell of."""
        with self._one_thread:
            return self._sock.pending() > 0

    def _take(self, take: Callable[[], Answer], flags: int) -> Answer:
        """Read once something is there: to ask first costs less than a read in vain."""
        until = _later(0 if flags & socket.MSG_DONTWAIT else self._limit_in)
        while True:
            if not self.waiting():
                self._wait(self._incoming, until)
            try:
                with self._one_thread:
                    return take()
            except ssl.SSLWantReadError:
                continue  # part of a record
            except ssl.SSLWantWriteError:
                self._wait(self._outgoing, until)

    def _wait(self, ready: select.poll, until: float | None) -> None:
        left = None if until is None else max(0.0, until - time.monotonic()) * 1000
        if not ready.poll(left):
            raise self._late("nothing can be read or written in time")

    # -- limits ----------------------------------------------------------------------------------------------------

    def settimeout(self, seconds: float | None) -> None:
        """From now on TimeoutError after these seconds; None: wait for ever."""
        self._limit_in = self._limit_out = seconds
        self._late = TimeoutError if seconds else BlockingIOError

    def setblocking(self, wait: bool) -> None:
        """Whether to wait."""
        self.settimeout(None if wait else 0.0)

    def setsockopt(self, level: int, option: int, value: bytes | int) -> None:
        """SO_RCVTIMEO and SO_SNDTIMEO are kept here, as BlockingIOError; the rest is the plain socket's."""
        if level == socket.SOL_SOCKET and option in {socket.SO_RCVTIMEO, socket.SO_SNDTIMEO}:
            assert isinstance(value, bytes)
            seconds, micros = _TIMEVAL.unpack(value)
            if option == socket.SO_RCVTIMEO:
                self._limit_in = seconds + micros / 1e6
            else:
                self._limit_out = seconds + micros / 1e6
        else:
            self._sock.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, size: int = 0) -> bytes | int:
        """The plain socket's."""
        return self._sock.getsockopt(level, option, size) if size else self._sock.getsockopt(level, option)

    # -- endings ---------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor."""
        return self._sock.fileno()

    def shutdown(self, how: int) -> None:
        """As of the plain socket: a link says its goodbye itself, and proves it."""
        socket.socket.shutdown(self._sock, how)

    def close(self) -> None:
        """Close the descriptor."""
        self._sock.close()
