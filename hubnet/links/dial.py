"""Dialling: from host and port to an authenticated link, or an error that says how far it came."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from hubnet.core import frames, handshake
from hubnet.core.handshake import Initiator, Self
from hubnet.core.keys import Keyring
from hubnet.errors import AuthenticationError, PeerBusy, PeerUnreachable, RemoteProtocolError
from hubnet.links import address
from hubnet.links.link import Link

HANDSHAKE_LIMIT = 5.0
REFUSED, UNANSWERED, SILENT, ANOTHER = "refused", "unanswered", "silent", "another"
UNKNOWN_NAME, BROKEN_OFF = "unknown-name", "broken-off"


class Unreachable(PeerUnreachable):
    """PeerUnreachable that remembers how far the dial came, for those who judge whether a peer has gone."""

    how = UNANSWERED

    def __reduce__(self) -> tuple[type[PeerUnreachable], tuple[str]]:
        return PeerUnreachable, (str(self),)


def _unreachable(how: str, text: str) -> Unreachable:
    error = Unreachable(text)
    error.how = how
    return error


class Dialler:
    """Opens links on behalf of one peer."""

    def __init__(self, own: Self, ring: Keyring, wire: str, hello: Callable[[], bytes]) -> None:
        self._own = own
        self._ring = ring
        self._suites = handshake.suites_for(wire)
        self._hello = hello

    def dial(self, host: str, port: int, wanted: Self, deadline: float) -> Link:
        """An authenticated link to the wanted peer at host and port.

        Args:
            host: name or address.
            port: TCP port.
            wanted: the peer that must answer, or zeros for whoever listens there.
            deadline: monotonic seconds.

        Raises:
            PeerUnreachable: nobody, or somebody else, answered.
            AuthenticationError: the listener closed the handshake or failed it.
            PeerBusy: it takes no more links.
        """
        where = f"{host}:{port}"
        sock = _connect(host, port, deadline, where)
        try:
            session, leftover = self._shake(sock, wanted, deadline, where)
            if session.verdict == handshake.ACCEPTED:
                link = Link(sock, frames.protection(session), session.foreign, session.suite, leftover)
                link.friendly = {"host": host, "port": port}
                link.send(link.protection.pack(frames.HELLO, self._hello()), deadline)
                return link
        except BaseException:
            sock.close()
            raise
        sock.close()
        said = handshake.VERDICTS[session.verdict]
        if session.verdict in {handshake.FULL, handshake.DRAINING}:
            raise PeerBusy(f"the peer at {where} takes no link now: {said}; try later or elsewhere")
        raise _unreachable(ANOTHER, f"{where}: {said}, not the peer that was dialled; ask for a fresh listing")

    def _shake(self, sock: socket.socket, wanted: Self, deadline: float, where: str) -> tuple[handshake.Session, bytes]:
        side = Initiator(self._own, wanted, self._ring, self._suites, os.urandom)
        limit = min(deadline, time.monotonic() + HANDSHAKE_LIMIT)
        try:
            sock.sendall(side.begin())
            while side.session is None:
                sock.settimeout(max(0.001, limit - time.monotonic()))
                data = sock.recv(handshake.LIMIT)
                if not data:
                    raise EOFError
                if answer := side.receive(data):
                    sock.sendall(answer)
        except TimeoutError:
            raise _unreachable(
                SILENT,
                f"{where} accepts but does not answer: its process is stopped, or it is no hubnet peer",
            ) from None
        except EOFError:
            raise AuthenticationError(
                f"{where} closed our handshake: another secret, namespace or version; its log says which"
            ) from None
        except OSError as error:
            raise _unreachable(
                BROKEN_OFF, f"{where} broke off our handshake ({error}): its process ended, or takes no more links"
            ) from error
        except RemoteProtocolError as error:
            raise RemoteProtocolError(f"{where} is no hubnet peer: {error}") from error
        return side.session, side.leftover


def _connect(host: str, port: int, deadline: float, where: str) -> socket.socket:
    try:
        candidates = address.resolve(host, port, deadline)
    except OSError as error:
        raise _unreachable(UNKNOWN_NAME, f"cannot reach {where}: the name does not resolve here ({error})") from error
    failure: Exception = OSError("no address")
    for family, target in candidates:
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # too many open files here
            failure = error
            continue
        try:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            sock.connect(target)
            return sock
        except OSError as error:
            failure = error
            sock.close()
    if isinstance(failure, ConnectionRefusedError):
        raise _unreachable(REFUSED, f"cannot reach {where}: nobody listens there") from failure
    reason = "no answer in time" if isinstance(failure, TimeoutError) else str(failure)
    raise _unreachable(
        UNANSWERED,
        f"cannot reach {where}: {reason}; is there a route, and is HUBNET_ADVERTISE right on that peer?",
    ) from failure
