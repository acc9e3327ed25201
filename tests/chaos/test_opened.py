"""What is open is named: a storm that leaves something behind says what."""

from __future__ import annotations

import socket

from .opened import connected_to, opened


def test_a_connection_is_named_by_whom_it_leads_to_and_is_gone_when_it_is_closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        before = opened()
        with socket.create_connection(("127.0.0.1", port)):
            now = opened()
            assert now - before == {f"connected to 127.0.0.1:{port}": 1}
            assert connected_to(port, now) == 1
        assert connected_to(port, opened()) == 0


def test_files_and_what_listens_are_told_from_connections(tmp_path):
    before = opened()
    path = tmp_path / "one"
    with socket.create_server(("127.0.0.1", 0)), path.open("w"):
        assert opened() - before == {"listening": 1, str(path): 1}
