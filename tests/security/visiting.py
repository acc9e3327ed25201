"""Visiting a listener as a stranger does: with a socket, and all but the secret."""

from __future__ import annotations

import socket

from hubnet.core import frames, handshake
from hubnet.links import arrivals
from hubnet.links.link import Link
from tests.links.loopback import End, soon
from tests.security import by_hand
from tests.security.by_hand import Who
from tests.security.member import Member

KEYS = by_hand.keys_of(bytes(32), "tests")
LEARNT = KEYS._replace(link=bytes(32))  # the key id travels in the open; the key does not
NONCE, PRIVATE = b"\x51" * 32, b"\x52" * 32
SLACK = 20.0
M2_SIZE = {handshake.TAGGED: 48, handshake.SEALED: 80}
M3_SIZE, M4_SIZE = 128, 81


def visit(there: Member) -> socket.socket:
    """A connection of a stranger's."""
    sock = socket.create_connection(("127.0.0.1", there.port))
    sock.settimeout(arrivals.LIMIT + SLACK)
    return sock


def say(sock: socket.socket, data: bytes) -> None:
    """Send, whatever becomes of it."""
    try:
        sock.sendall(data)
    except OSError:
        pass  # it was closed: what it said is still to be read


def read(sock: socket.socket, size: int) -> bytes:
    """This much, or what comes before the end."""
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


def all_that_is_said(sock: socket.socket) -> bytes:
    """Until it is closed; one that is not is a TimeoutError."""
    said = b""
    try:
        while more := sock.recv(4096):
            said += more
    except ConnectionError:
        pass  # closed with words of ours unread
    return said


def dialler(suites: int, there: Member, keys: by_hand.Keys = LEARNT) -> by_hand.Dialler:
    """A hand that writes the handshake\'s messages."""
    own = Who(b"\x53" * 32, b"\x54" * 16)
    return by_hand.Dialler(keys, suites, own, Who(*there.own), nonce=NONCE, private=PRIVATE)


def limited(end: End, suite: int) -> End:
    """The same caller, with one suite only."""
    end.dialler._suites = suite
    return end


def dialled(end: End, there: Member) -> Link:
    """A link of a member's, for the test to write on."""
    return end.dialler.dial("127.0.0.1", there.port, there.own, soon())


def dialled_without_hello(end: End, there: Member) -> Link:
    """The same by one that has proved the secret and has not said who it is."""
    sock = socket.create_connection(("127.0.0.1", there.port))
    session, leftover = end.dialler._shake(sock, there.own, soon(), "there")
    return Link(sock, frames.protection(session), session.foreign, session.suite, leftover)
