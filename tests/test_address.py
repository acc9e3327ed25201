"""Names: the last good answer serves while a new one is late, whatever the port, and one is kept for each name."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from hubnet import address


def test_names_that_were_looked_up_last_are_kept_and_no_more(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, 1, 6, "", ("10.0.0.7", 1))])
    monkeypatch.setattr(address, "_last_good", {})
    monkeypatch.setattr(address, "_MOST_NAMES", 3)
    for name in "abcabde":
        address.resolve(name, 3010, time.monotonic() + 5)
    assert list(address._last_good) == ["b", "d", "e"]


def test_the_last_good_answer_of_a_name_serves_every_port_while_the_new_one_is_late(monkeypatch):
    over, ports = threading.Event(), range(3000, 3020)
    ip4, ip6 = (socket.AF_INET, ("10.0.0.7", 1)), (socket.AF_INET6, ("fd00::7", 1, 0, 3))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(ip[0], 1, 6, "", ip[1]) for ip in (ip6, ip4)])
    monkeypatch.setattr(address, "_last_good", {})
    for port in ports:
        address.resolve("render7.example", port, time.monotonic() + 5)
    assert len(address._last_good) == 1

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    monkeypatch.setattr(address, "_PATIENCE_WITH_LAST_GOOD", 0.05)
    try:
        for port in (ports[0], 4000):
            found = address.resolve("render7.example", port, time.monotonic() + 5)
            assert found == [(socket.AF_INET6, ("fd00::7", port, 0, 3)), (socket.AF_INET, ("10.0.0.7", port))]
        with pytest.raises(address.UnknownName, match=r"another\.example did not resolve in time"):
            address.resolve("another.example", 4000, time.monotonic() + 0.1)
    finally:
        over.set()
