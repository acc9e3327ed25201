"""A net in memory for tests that talk to processes: this process has it, with a peer and a thread for each of their actors.

It is told what to do over a socket: ("add", number, settings) comes with the socket on which that actor is asked from now on;
("stop" | "kill" | "pause" | "resume", number, None) is done to its peer. Each message is answered: None, or what went wrong.
"""

from __future__ import annotations

import faulthandler
import logging
import pickle
import socket
import sys
import threading
from typing import Any

from hubnet.core.connections import Connection
from hubnet.testing import LocalNet, LocalPeer
from tests.api.actor import serve

HOST = "127.0.0.1"
_AS_ON_MACHINES = {"lease": 10.0, "timeout": 30.0}


class _Net(LocalNet):
    """One whose peers start as processes do, by their first registration or use; this process itself has none."""

    def __enter__(self) -> _Net:
        self._state = "open"
        self._server.start()
        return self

    def process(self, **settings: Any) -> LocalPeer:
        """A peer that has not started."""
        made = self._made("process", None, **{"host": HOST, **settings})
        self._peers.append(made)
        return made


def host(number: int) -> None:
    """Have a net for as long as the test holds the other end of this socket."""
    faulthandler.enable()
    logging.basicConfig(level=logging.WARNING)
    control = socket.socket(fileno=number)
    peers: dict[int, LocalPeer] = {}
    with _Net(hubs=0, **_AS_ON_MACHINES) as net:
        while True:
            told, sockets, _, _ = socket.recv_fds(control, 1 << 16, 1)
            if not told:
                return
            try:
                _do(net, peers, sockets, *pickle.loads(told))
                answer = None
            except Exception as error:
                answer = repr(error)
            control.send(pickle.dumps(answer))


def _do(net: _Net, peers: dict[int, LocalPeer], sockets: list[int], what: str, which: int, settings: Any) -> None:
    if what != "add":
        {"stop": net.stop, "kill": net.kill, "pause": net.pause, "resume": net.mend}[what](peers[which])
        return
    peers[which] = net.process(**settings)
    conversation = socket.socket(fileno=sockets[0])
    threading.Thread(target=_act, args=(peers[which], conversation), daemon=True).start()


def _act(peer: LocalPeer, conversation: socket.socket) -> None:
    """Do what one actor is asked, as its peer."""
    names: dict[str, Any] = {"__name__": "__main__", "__file__": sys.argv[0]}
    names["_serve_what_it_imported"] = lambda: _serve_all(peer, names)
    with conversation, peer:
        serve(conversation.makefile("rb"), conversation.makefile("wb"), names)


def _serve_all(peer: LocalPeer, names: dict[str, Any]) -> None:
    """A module is imported once in this process, for whoever came first: the others are given its functions."""
    served = peer._peer.tables.connections.by_name
    for value in list(names.values()):
        connection = getattr(value, "connection", None)
        if isinstance(connection, Connection) and connection.name not in served:
            peer.serve(value)


if __name__ == "__main__":
    host(int(sys.argv[1]))
