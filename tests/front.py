"""What ends TLS before a server that has none, as such fronts do in many places."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading

from tests.test_tls import Paths

TLS_RECORD = b"\x16"


class Front:
    """Ends TLS before a server; both ends show certificates.

    Args:
        paths: what it shows, and whose certificates it takes.
        behind: the server's port on this machine.
        servers_pass: whoever speaks without TLS is let through as well: servers among themselves.

    Attributes:
        port: where it listens.
        passed: how many it has let through inside TLS.
        refused: why others were not.
        overheard: what was said to the server without TLS.
    """

    def __init__(self, paths: Paths, behind: int, *, servers_pass: bool = False) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(paths.cert, paths.key)
        self._context.load_verify_locations(paths.ca)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._behind = behind
        self._servers_pass = servers_pass
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.passed = 0
        self.refused: list[str] = []
        self.overheard = bytearray()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                link, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._welcome, args=(link,), daemon=True).start()

    def _welcome(self, link: socket.socket) -> None:
        link.settimeout(20)
        with link, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._behind)) as server:
            if self._servers_pass and link.recv(1, socket.MSG_PEEK) != TLS_RECORD:
                self._hand_on(link, server, self.overheard)
            elif secured := self._secured(link):
                self.passed += 1
                with secured:
                    self._hand_on(secured, server, bytearray())

    def _secured(self, link: socket.socket) -> ssl.SSLSocket | None:
        try:
            secured = self._context.wrap_socket(link, server_side=True)
        except OSError as error:
            self.refused.append(str(error))
            return None
        assert secured.getpeercert()
        return secured

    def _hand_on(self, link: socket.socket, server: socket.socket, heard: bytearray) -> None:
        """Both ways, by one thread: OpenSSL has one user at a time."""
        link.settimeout(None)
        self._open.append(link)
        while True:
            for one in select.select([link, server], [], [])[0]:
                data = one.recv(65536)  # all of a record, so that nothing waits where select does not look
                if not data:
                    return
                (server if one is link else link).sendall(data)
                if one is link:
                    heard += data

    def cut(self) -> int:
        """Break off all that passes now; how many."""
        gone, self._open = self._open, []
        for one in gone:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        return len(gone)

    def close(self) -> None:
        """Let nobody in any more, and break off who passes."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
