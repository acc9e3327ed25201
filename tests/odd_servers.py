"""Servers in the place of Redis: a real one on a Unix socket, one that says nothing, one that is no Redis."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hubnet.redis_socket import answers
from tests import requirements_
from tests.waiting import eventually


@contextmanager
def on_unix_socket(folder: Path, password: str = "") -> Iterator[str]:
    """The URL of a server that listens on a Unix socket in this folder and on no port."""
    path = folder / "s"
    config = f'port 0\nunixsocket "{path}"\nunixsocketperm 700\nsave ""\ndir "{folder}"\n'
    config += f"requirepass {password}\n" if password else ""
    process = subprocess.Popen(
        [requirements_.server_binary(), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )  # fmt: skip
    try:
        assert process.stdin is not None
        process.stdin.write(config.encode())
        process.stdin.close()
        url = f"unix://:{password}@{path}" if password else f"unix://{path}"
        eventually(lambda: answers(url))
        yield url
    finally:
        process.kill()
        process.wait()


@contextmanager
def silent() -> Iterator[int]:
    """The port of one that takes connections, by its backlog, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        yield int(listening.getsockname()[1])


class Stranger:
    """One that says the same to everybody who connects, whatever they said.

    Attributes:
        port: where it listens.
        visits: how many have connected.
    """

    def __init__(self, words: bytes, port: int = 0, *, letters_every: float | None = None) -> None:
        self._words = words
        self._letters_every = letters_every
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listening.getsockname()[1])
        self.visits = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set():
            link, _ = self._listening.accept()
            self.visits += 1
            with link:
                try:
                    link.recv(1000)
                    self._speak(link)
                    link.shutdown(socket.SHUT_WR)
                    while link.recv(1000):  # a close with unread bytes would be a reset, and the words might be lost
                        pass
                except OSError:
                    pass  # it went away

    def _speak(self, link: socket.socket) -> None:
        if self._letters_every is None:
            link.sendall(self._words)
            return
        for letter in self._words:
            link.sendall(bytes((letter,)))
            if self._closed.wait(self._letters_every):
                return

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()  # wakes the thread
        except OSError:
            pass
        self._thread.join()
        self._listening.close()

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
