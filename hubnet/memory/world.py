"""What a peer of a net in memory stands on, in place of what a machine gives: its broker, register, listener and dialling.

It has the interface of ``hubnet.world``, so that the same peer runs on either.
"""

from __future__ import annotations

from typing import Any

from hubnet.core.register import Store
from hubnet.environment import Settings, host_and_port
from hubnet.memory.broker import MemoryBroker, MemoryStore, Server
from hubnet.memory.network import Listener
from hubnet.memory.stream import End


class MemoryWorld:
    """What one peer of a net in memory stands on."""

    def __init__(self, server: Server, node: str, host: str) -> None:
        self._server = server
        self._node = node
        self._host = host

    def prepare(self, settings: Settings) -> None:
        """There is nothing to import that was not."""

    def look_up(self, settings: Settings) -> None:
        """There are no names."""

    def broker(self, settings: Settings) -> MemoryBroker:
        return MemoryBroker(self._server, self._node)

    def store(self, broker: Any, names: Any) -> Store:
        return MemoryStore(self._server, self._node)

    def listen(self, settings: Settings, broker: Any) -> tuple[Listener, str, int]:
        listener = self._server.network.listen(self._node, self._host)
        if settings.advertise:
            return listener, *host_and_port(settings.advertise, default_port=listener.port)
        return listener, listener.host, listener.port

    def open(self, host: str, port: int, deadline: float) -> End:
        return self._server.network.connect(self._node, host, port, deadline)

    def secured(self, settings: Settings) -> None:
        """There is no line to tap."""

    def machine_id(self) -> str:
        return f"memory/{self._host}"
