"""A crowd of strangers in one process, on one core: half-open links and slow senders, as fast as it can.

Run as a program with a port, a core and a number. It connects that often; a stranger in two says nothing, one sends the
first message of the handshake, the rest a byte of it at a time. Who is closed is replaced until the number is reached, and then
those that are left go on sending until standard input ends. It says how many came, and whether any heard a byte it should not.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import sys
import time

from tests.security import by_hand

KEYS = by_hand.keys_of(bytes(32), "tests")
OFFER = by_hand.offer([KEYS.kid], b"\x61" * 32, by_hand.point_of(b"\x62" * 32), suites=by_hand.BOTH)
SILENT, ASKING, SLOW = range(3)
KINDS = (SILENT, ASKING, SILENT, SLOW)
_EVERY = 0.2


class Crowd:
    """Strangers and what they have sent so far."""

    def __init__(self, port: int, most: int) -> None:
        self._port, self._most = port, most
        self._poll = select.poll()
        self._there: dict[int, tuple[socket.socket, int]] = {}
        self._slow: dict[int, int] = {}
        self.came = 0
        self.heard = 0

    def come(self) -> None:
        """One more, if there are not enough yet."""
        if self.came >= self._most:
            return
        kind = KINDS[self.came % len(KINDS)]
        try:
            sock = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        except ConnectionError:
            return  # turned away by the kernel
        self.came += 1
        sock.setblocking(False)
        self._there[sock.fileno()] = sock, kind
        self._poll.register(sock, select.POLLIN)
        if kind == ASKING:
            self._say(sock, OFFER)
        elif kind == SLOW:
            self._slow[sock.fileno()] = 0

    def look(self, seconds: float) -> None:
        """See who was closed, and what was answered to whom."""
        for fd, _ in self._poll.poll(seconds * 1000):
            sock, kind = self._there[fd]
            try:
                data = sock.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._poll.unregister(fd)
                self._slow.pop(fd, None)
                del self._there[fd]
                sock.close()
            elif kind != ASKING:
                self.heard += len(data)

    def go_on(self) -> None:
        """Each slow sender sends its next byte; never the last, which would be answered."""
        for fd, sent in self._slow.items():
            if sent < len(OFFER) - 1:
                self._say(self._there[fd][0], OFFER[sent : sent + 1])
                self._slow[fd] = sent + 1

    @staticmethod
    def _say(sock: socket.socket, data: bytes) -> None:
        try:
            sock.send(data)
        except OSError:
            pass  # it was closed: look() will see


def main(port: str, core: str, number: str) -> None:
    """Come, and stay until standard input ends."""
    os.sched_setaffinity(0, {int(core)})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd(int(port), int(number))
    next_byte = time.monotonic()
    told = False
    while not select.select([sys.stdin], [], [], 0)[0]:
        for _ in range(50):
            crowd.come()
        crowd.look(0 if crowd.came < int(number) else 0.05)
        if time.monotonic() >= next_byte:
            crowd.go_on()
            next_byte = time.monotonic() + _EVERY  # who is late does not make up for it: that would be no slow sender
        if not told and crowd.came >= int(number):
            print(crowd.came, flush=True)
            told = True
    print(crowd.heard, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
