"""Dialling: from host and port to an authenticated link, or an error that says how far it came."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from hubnet import address, files, machine
from hubnet.core import frames, handshake
from hubnet.core.handshake import Initiator, Self
from hubnet.core.keys import Keyring
from hubnet.errors import AuthenticationError, CallTimeout, PeerBusy, PeerLost, PeerUnreachable, RemoteProtocolError
from hubnet.links.limits import Limits
from hubnet.links.link import Link, say_cut_off

if TYPE_CHECKING:
    from hubnet.links.encrypted import Secured

HANDSHAKE_LIMIT = 4.5
"""Seconds; less than the other end waits (arrivals.LIMIT): if it gives up first, its end would be taken for a refusal."""
_ENDING, _LISTENS, _LOOK_AGAIN = 1.0, 0.1, 0.01
REFUSED, UNANSWERED, SILENT, ANOTHER = "refused", "unanswered", "silent", "another"
UNKNOWN_NAME, BROKEN_OFF, ITSELF, NO_FILES = "unknown-name", "broken-off", "itself", "no-files"


class Unreachable(PeerUnreachable):
    """PeerUnreachable that remembers how far the dial came, for those who judge whether a peer has gone."""

    how = UNANSWERED

    def __reduce__(self) -> tuple[type[PeerUnreachable], tuple[str]]:
        return PeerUnreachable, (str(self),)


def _unreachable(how: str, text: str) -> Unreachable:
    error = Unreachable(text)
    error.how = how
    return error


def _silent(where: str, seconds: float) -> Unreachable:
    text = (
        f"{where} accepts but does not answer within {max(0.1, seconds):.1f} s: its process is stopped, or may open no more "
        "files (its log says so), or it is no hubnet peer"
    )
    return _unreachable(SILENT, text)


def open_socket(host: str, port: int, deadline: float) -> socket.socket:
    """A connected socket.

    Raises:
        UnknownName: the name does not resolve.
        OSError: why the last of its addresses did not answer.
    """
    failure: OSError = OSError("no address")
    for family, target in address.resolve(host, port, deadline):
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
    raise failure


class Dialler:
    """Opens links on behalf of one peer."""

    def __init__(
        self,
        own: Self,
        ring: Keyring,
        suites: int,
        hello: Callable[[], bytes],
        open_: Callable[..., Any] = open_socket,
        secured: Secured | None = None,
        *,
        most: int = Limits().call,
    ) -> None:
        self._own = own
        self._ring = ring
        self._suites = suites
        self._hello = hello
        self._open = open_
        self._secured = secured
        self._most = most
        self._links: WeakSet[Link] = WeakSet()
        self._lock = threading.Lock()
        self.spare_files: Callable[[], bool] = lambda: False
        """Lets go of files that are kept back; whether there were any."""

    @property
    def kid(self) -> bytes:
        """The id of the key that is offered first."""
        return self._ring.first.kid

    def dial(
        self, host: str, port: int, wanted: Self, deadline: float, *, sure: bool = False, patience: float | None = None
    ) -> Link:
        """An authenticated link to the wanted peer at host and port.

        Args:
            host: name or address.
            port: TCP port.
            wanted: the peer that must answer, or zeros for whoever listens there.
            deadline: monotonic seconds.
            sure: look whether anybody still listens there before a secret is blamed for a silent end.
            patience: seconds within which that machine must answer at all, if less than the deadline leaves.

        Raises:
            PeerUnreachable: nobody, or somebody else, answered.
            AuthenticationError: the listener closed the handshake or failed it.
            PeerBusy: it takes no more links.
        """
        where, begun = f"{host}:{port}", time.monotonic()
        soon = deadline if patience is None else min(deadline, begun + patience)
        try:
            sock, binding = self._connect(host, port, soon, where), b""
        except Unreachable as error:
            if error.how != NO_FILES or not self.spare_files():
                raise
            sock, binding = self._connect(host, port, soon, where), b""
        try:
            if self._secured:
                sock, binding = self._secure(sock, host, deadline, where)
            session, leftover = self._shake(sock, wanted, deadline, where, binding)
            if session.verdict == handshake.ACCEPTED:
                link = Link(
                    sock, frames.protection(session), session.foreign, session.suite, leftover, session.kid, self._most
                )
                self._keep(link, where)
                link.friendly = {"host": host, "port": port}
                link.send(link.protection.pack(frames.HELLO, self._hello()), deadline)
                return link
        except CallTimeout:  # the last of the handshake came as the deadline passed
            sock.close()
            raise _silent(where, deadline - begun) from None
        except PeerLost as error:
            sock.close()
            raise self._broken_off(where, error) from error
        except EOFError:
            sock.close()
            if sure:
                self._look_for_a_listener(host, port, deadline, where)
            raise AuthenticationError(
                f"{where} closed our handshake: another secret, namespace or version; its log says which"
            ) from None
        except BaseException:
            sock.close()
            raise
        sock.close()
        said = handshake.VERDICTS[session.verdict]
        if session.verdict in {handshake.FULL, handshake.DRAINING}:
            raise PeerBusy(f"the peer at {where} takes no link now: {said}; try later or elsewhere")
        how = ITSELF if session.verdict == handshake.SELF else ANOTHER
        raise _unreachable(how, f"{where}: {said}, not the peer that was dialled; ask for a fresh listing")

    def cut(self, good: Container[bytes]) -> None:
        """End every link under another key than these, whatever waits for its answer."""
        with self._lock:
            ended = [link for link in self._links if link.kid not in good]
            for link in ended:
                link.cut_off()
        say_cut_off(ended)

    def _keep(self, link: Link, where: str) -> None:
        """Know it from now on; the secrets may have changed while it came about, and ``cut`` been here."""
        with self._lock:
            if self._ring.get(link.kid) is None:
                raise AuthenticationError(f"{where} knows a secret only that is accepted here no more")
            self._links.add(link)

    def abandon(self) -> None:
        """In a forked child: let go of the parent's links, those included over which its threads wait for an answer."""
        for link in self._links:
            link.disown()

    def _connect(self, host: str, port: int, deadline: float, where: str) -> Any:
        try:
            return self._open(host, port, deadline)
        except address.UnknownName as error:
            text = f"cannot reach {where}: the name does not resolve here ({error})"
            raise _unreachable(UNKNOWN_NAME, text) from error
        except ConnectionRefusedError as error:
            raise _unreachable(REFUSED, f"cannot reach {where}: nobody listens there") from error
        except ConnectionError as error:
            text = f"cannot reach {where}: it broke off as we came ({error}): its process ended, or takes no more links"
            raise _unreachable(BROKEN_OFF, text) from error
        except OSError as error:
            if files.none_left(error):
                text = f"cannot reach {where}: no more files may be open here ({files.limit()}): raise that limit"
                raise _unreachable(NO_FILES, text) from error
            reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            raise _unreachable(
                UNANSWERED,
                f"cannot reach {where}: {reason}; is there a route, and is HUBNET_ADVERTISE right on that peer?",
            ) from error

    def _look_for_a_listener(self, host: str, port: int, deadline: float, where: str) -> None:
        """A process that is killed in the middle of a handshake hangs up as silently as one that refuses us.

        Its listening socket may end a moment after the link did, and whoever came in between is hung up on once more; whoever
        listens waits for our first word.

        Raises:
            PeerUnreachable: nobody listens there any more.
        """
        end, pause = min(deadline, time.monotonic() + _ENDING), _LOOK_AGAIN
        while time.monotonic() < end:
            try:
                sock = self._connect(host, port, deadline, where)
            except Unreachable as error:
                if error.how == REFUSED:
                    raise
                if error.how != BROKEN_OFF:  # as the listening socket ends while we come
                    return
            else:
                try:
                    sock.settimeout(_LISTENS)
                    sock.recv(1)
                except TimeoutError:
                    return
                except OSError:
                    pass
                finally:
                    sock.close()
            time.sleep(pause)  # the system is closing it: nothing to wait on
            pause *= 2

    def _broken_off(self, where: str, error: Exception) -> Unreachable:
        mismatch = "has no TLS and we have" if self._secured else "has TLS and we have not"
        text = f"{where} broke off our handshake ({error}): its process ended, or takes no more links, or {mismatch}"
        return _unreachable(BROKEN_OFF, text)

    def _secure(self, sock: Any, host: str, deadline: float, where: str) -> tuple[Any, bytes]:
        assert self._secured
        begun = time.monotonic()
        limit = min(deadline, begun + HANDSHAKE_LIMIT)
        try:
            return self._secured.dial(sock, host, limit)
        except TimeoutError:
            raise _silent(where, limit - begun) from None
        except OSError as error:
            if not machine.is_of_tls(error):
                raise self._broken_off(where, error) from error
            text = f"no TLS with {where} ({error}): HUBNET_TLS_CA or HUBNET_TLS_CERT differs, or is not set there"
            raise AuthenticationError(text) from error

    def _shake(
        self, sock: Any, wanted: Self, deadline: float, where: str, binding: bytes = b""
    ) -> tuple[handshake.Session, bytes]:
        side = Initiator(self._own, wanted, self._ring, self._suites, os.urandom, binding)
        begun = time.monotonic()
        limit = min(deadline, begun + HANDSHAKE_LIMIT)
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
            raise _silent(where, limit - begun) from None
        except EOFError:
            if time.monotonic() >= limit:  # we were stopped ourselves, and the other end does not wait for long
                raise _silent(where, limit - begun) from None
            raise
        except OSError as error:
            if machine.is_of_tls(error):
                text = (
                    f"{where} does not accept our certificate ({error}): HUBNET_TLS_CA differs there, or it has expired"
                )
                raise AuthenticationError(text) from error
            raise self._broken_off(where, error) from error
        except RemoteProtocolError as error:
            raise RemoteProtocolError(f"{where} is no hubnet peer, or has TLS and we have not: {error}") from error
        return side.session, side.leftover
