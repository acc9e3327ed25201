"""hubnet turns Python functions into calls and events between processes on many machines.

Decorate with ``connect``, ``event``, ``subscribe`` and ``flag``; ask with ``peers`` and ``wait_for``; stay with ``serve``.
"""

from typing import Any

from hubnet.api import Listing, RemotePeer, flush, peer_group, peers, serve, wait_for
from hubnet.connect import connect
from hubnet.core.gap import Gap
from hubnet.defaults import connections, info, invalid_connection, null, null_response, pass_through, stats
from hubnet.describe import describe
from hubnet.environment import configure
from hubnet.errors import (
    AuthenticationError,
    BrokerUnavailable,
    CallCancelled,
    CallError,
    CallTimeout,
    ConfigError,
    DecodeError,
    EncodeError,
    HubnetError,
    InvalidConnection,
    LocalProtocolError,
    NoHub,
    NoPeer,
    NotAllowed,
    PeerBusy,
    PeerLost,
    PeerUnreachable,
    ProtocolError,
    RemoteError,
    RemoteProtocolError,
    UnknownFlag,
)
from hubnet.event import event
from hubnet.flag import flag
from hubnet.peer import VERSION, Peer, process_peer
from hubnet.subscribe import subscribe

__all__ = [
    "connect", "event", "subscribe", "flag",
    "Peer", "RemotePeer", "Listing", "peers", "peer_group", "wait_for", "serve", "configure", "describe", "stats", "flush", "Gap",
    "info", "connections", "pass_through", "null", "null_response", "invalid_connection",
    "AuthenticationError", "BrokerUnavailable", "CallCancelled", "CallError", "CallTimeout", "ConfigError", "DecodeError",
    "EncodeError", "HubnetError", "InvalidConnection", "LocalProtocolError", "NoHub", "NoPeer", "NotAllowed", "PeerBusy",
    "PeerLost", "PeerUnreachable", "ProtocolError", "RemoteError", "RemoteProtocolError", "UnknownFlag",
    "__version__",
]  # fmt: skip

__version__ = VERSION
_CONSTANTS = {
    "PORT_START": "port",
    "PORT_RANGE": "port_range",
    "IS_HUB": "is_hub",
    "THREAD_LIMIT": "thread_limit",
    "DEV": "dev",
}


def __getattr__(name: str) -> Any:
    """The reference API's constants, read from the settings of the peer that asks, when it does."""
    if name in _CONSTANTS:
        return getattr(process_peer().settings, _CONSTANTS[name])
    if name == "GROUP":
        return process_peer().settings.group or "None"
    if name == "HOST_IP":
        return Peer().host
    if name == "LOGGER":
        import logging

        return logging.getLogger("hubnet")
    raise AttributeError(f"module 'hubnet' has no attribute {name!r}")
