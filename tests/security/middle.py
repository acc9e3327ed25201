"""A hostile peer in the middle: a proxy on the way from diallers to a listener, through which every byte passes.

It has no key. What it makes of the bytes is a function of its owner's: told the link, the way, where in that way's stream the
bytes stand and the bytes, it says what to send where.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable

from tests.links.loopback import listener

FORTH, BACK = 0, 1  # to the listener, to the dialler


class Cut(Exception):
    """Both ends of this link are to be closed."""


class Passage:
    """One link on its way through.

    Attributes:
        number: how many came before it.
        ends: the sockets to write to, by way.
        passed: bytes that came so far, by way.
        over: it was cut.
    """

    def __init__(self, number: int, to_listener: socket.socket, to_dialler: socket.socket) -> None:
        self.number = number
        self.ends = (to_listener, to_dialler)
        self.passed = [0, 0]
        self.over = False

    def cut(self) -> None:
        """End it both ways; the threads that read from its ends close them, and unread words become a reset."""
        self.over = True
        for end in self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it was


Sent = Iterable[tuple[Passage, int, bytes]]
Treatment = Callable[[Passage, int, int, bytes], Sent]


class Middle:
    """The proxy, in threads.

    Attributes:
        passages: all links that ever came.
    """

    def __init__(self, behind: int, treat: Treatment) -> None:
        self.behind = behind
        self.treat = treat
        self.passages: list[Passage] = []
        self._listening = listener()
        self.port: int = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.behind))
            except OSError:
                near.close()
                continue
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            passage = Passage(len(self.passages), far, near)
            self.passages.append(passage)
            for way, source in ((FORTH, near), (BACK, far)):
                thread = threading.Thread(target=self._carry, args=(passage, way, source), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, passage: Passage, way: int, source: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                at = passage.passed[way]
                passage.passed[way] = at + len(data)
                for where, which, words in self.treat(passage, way, at, data):
                    where.ends[which].sendall(words)
            passage.ends[way].shutdown(socket.SHUT_WR)
        except (OSError, Cut):
            passage.cut()
        if passage.over:
            source.close()

    def cut(self) -> None:
        """Close all that goes through now; new ones may come."""
        for passage in list(self.passages):
            passage.cut()

    def close(self) -> None:
        """Be gone."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        for passage in self.passages:
            for end in passage.ends:
                end.close()

    def __enter__(self) -> Middle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# -- what it may do --------------------------------------------------------------------------------------------------


def passes(passage: Passage, way: int, at: int, data: bytes) -> Sent:
    """Nothing."""
    return [(passage, way, data)]


def drips(passage: Passage, way: int, at: int, data: bytes) -> Sent:
    """Let the bytes through one at a time, each as a packet of its own."""
    return ((passage, way, data[each : each + 1]) for each in range(len(data)))


def alters(one_way: int, position: int, bits: int) -> Treatment:
    """Change one byte."""

    def treat(passage: Passage, way: int, at: int, data: bytes) -> Sent:
        if way == one_way and at <= position < at + len(data):
            changed = bytearray(data)
            changed[position - at] ^= bits
            data = bytes(changed)
        return [(passage, way, data)]

    return treat


def takes_out(one_way: int, position: int, size: int) -> Treatment:
    """Leave out some bytes, and let the rest through."""

    def treat(passage: Passage, way: int, at: int, data: bytes) -> Sent:
        if way == one_way:
            data = data[: max(0, position - at)] + data[max(0, position + size - at) :]
        return [(passage, way, data)]

    return treat


def puts_in(one_way: int, position: int, words: bytes) -> Treatment:
    """Add bytes of its own where the stream has come to a place."""

    def treat(passage: Passage, way: int, at: int, data: bytes) -> Sent:
        if way == one_way and at <= position < at + len(data):
            return [(passage, way, data[: position - at]), (passage, way, words), (passage, way, data[position - at :])]
        return [(passage, way, data)]

    return treat


def speaks_for(one_way: int, position: int, words: bytes) -> Treatment:
    """Keep what one end says from a place on, and say something else instead."""

    def treat(passage: Passage, way: int, at: int, data: bytes) -> Sent:
        if way == one_way and at + len(data) > position:
            return [(passage, way, data[: max(0, position - at)]), (passage, way, words if at <= position else b"")]
        return [(passage, way, data)]

    return treat


def repeats(one_way: int, position: int) -> Treatment:
    """Say again all that was said from a place on, each time it was said."""

    def treat(passage: Passage, way: int, at: int, data: bytes) -> Sent:
        yield passage, way, data
        if way == one_way and at + len(data) > position:
            yield passage, way, data[max(0, position - at) :]

    return treat


def reflects(one_way: int, position: int) -> Treatment:
    """Send back what comes from a place on to who sent it."""

    def treat(passage: Passage, way: int, at: int, data: bytes) -> Sent:
        if way == one_way and at + len(data) > position:
            there = max(0, position - at)
            return [(passage, way, data[:there]), (passage, 1 - way, data[there:])]
        return [(passage, way, data)]

    return treat


def cuts(one_way: int, position: int) -> Treatment:
    """Let through what stands before a place, and close the link there."""

    def treat(passage: Passage, way: int, at: int, data: bytes) -> Sent:
        if way == one_way and at + len(data) > position:
            yield passage, way, data[: max(0, position - at)]
            raise Cut
        yield passage, way, data

    return treat
