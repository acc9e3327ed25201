"""Where a peer listens, and what it tells others to use."""

from __future__ import annotations

import errno
import socket

from hubnet.broker import Broker
from hubnet.environment import Settings, host_and_port
from hubnet.errors import ConfigError

_BACKLOG = 1024


def listen(settings: Settings, broker: Broker) -> tuple[socket.socket, str, int]:
    """A bound, listening socket, and the host and port to advertise.

    Raises:
        ConfigError: no free port in the range, or an address that is not ours.
        BrokerUnavailable: no route to Redis yet, so nobody can say which address others reach.
    """
    bind = settings.host or ("127.0.0.1" if broker.local else "0.0.0.0")  # noqa: S104 - links authenticate first
    host, port = host_and_port(settings.advertise, default_port=0) if settings.advertise else ("", 0)
    if not host:
        host = bind if bind not in {"0.0.0.0", "::"} else broker.route()  # noqa: S104
    sock = _bind(bind, settings)
    return sock, host, port or sock.getsockname()[1]


def _bind(bind: str, settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    ports = range(settings.port, min(settings.port + settings.port_range, 65536)) if settings.port else (0,)
    for port in ports:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((bind, port))
            sock.listen(_BACKLOG)
            return sock
        except OSError as error:
            sock.close()
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise ConfigError(
                    f"HUBNET_HOST={bind}: cannot listen there ({error.strerror}); give an address of this machine"
                ) from error
    raise ConfigError(
        f"no free port from {ports[0]} to {ports[-1]} on {bind}: widen HUBNET_PORT and HUBNET_PORT_RANGE, or HUBNET_PORT=0"
    )
