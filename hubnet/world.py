"""What a peer stands on: the machine's own sockets and Redis, or the memory of one process.

Everything above this seam is the same in both.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Protocol

from hubnet import broker, machine
from hubnet.broker import Broker
from hubnet.core.channels import Names
from hubnet.core.register import Store
from hubnet.environment import Settings
from hubnet.links import listening
from hubnet.links.dial import open_socket
from hubnet.scripts import RedisStore

if TYPE_CHECKING:
    from hubnet.links.encrypted import Secured


class World(Protocol):
    """One peer's surroundings."""

    def prepare(self, settings: Settings) -> None:
        """Import now what threads would import later, when a fork might fall into it."""

    def look_up(self, settings: Settings) -> None:
        """Ask now for addresses that a lock's holder would else wait for."""

    def broker(self, settings: Settings) -> Any:
        """Where events go and, for hubs, the register is: ``hubnet.broker.Broker`` or what has its interface."""

    def store(self, broker: Any, names: Names) -> Store:
        """Where the register is kept."""

    def listen(self, settings: Settings, broker: Any) -> tuple[Any, str, int]:
        """A listening socket, and the host and port to advertise."""

    def open(self, host: str, port: int, deadline: float) -> Any:
        """A connected socket."""

    def secured(self, settings: Settings) -> Secured | None:
        """What puts links into TLS, where the settings say so."""

    def machine_id(self) -> str:
        """Equal for peers that are on one machine."""


class RealWorld:
    """Sockets, and Redis."""

    def prepare(self, settings: Settings) -> None:
        import encodings.idna  # by every look-up of a name

        _ = encodings.idna
        broker.import_the_rest(hub=settings.is_hub)

    def look_up(self, settings: Settings) -> None:
        broker.look_up(settings)

    def broker(self, settings: Settings) -> Broker:
        return Broker(settings)

    def store(self, broker: Broker, names: Names) -> Store:
        return RedisStore(broker, names)

    def listen(self, settings: Settings, broker: Broker) -> tuple[socket.socket, str, int]:
        return listening.listen(settings, broker)

    def open(self, host: str, port: int, deadline: float) -> socket.socket:
        return open_socket(host, port, deadline)

    def secured(self, settings: Settings) -> Secured | None:
        files = settings.tls_cert, settings.tls_key, settings.tls_ca
        if not any(files):
            return None
        from hubnet.links.encrypted import Secured  # imports ssl, which costs milliseconds

        return Secured.of(*files)

    def machine_id(self) -> str:
        return machine.machine_id()
