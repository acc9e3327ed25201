"""What a hub asks of others: another hub's look at a silent peer, and a word to a peer that is in the way."""

from __future__ import annotations

import logging

from hubnet.core.connections import Connection
from hubnet.core.membership import Record, Seen
from hubnet.errors import HubnetError, NotAllowed
from hubnet.links.calling import Caller
from hubnet.links.complaints import Complaints
from hubnet.links.context import here
from hubnet.registry import Registry

LOOK, WARN = "hubnet:look", "hubnet:warn"
_LIMIT = 1.5
_ON_THE_WAY = 1.0
"""Seconds that a look takes beyond its own."""
_log = logging.getLogger("hubnet")
_complaints = Complaints()


class Colleagues:
    """The other peers, as one hub speaks to them."""

    def __init__(self, own_id: bytes, caller: Caller, registry: Registry) -> None:
        self._own_id = own_id
        self._caller = caller
        self._registry = registry

    def look(self, record: Record, limit: float) -> Seen | None:
        """What the first other hub that answers sees of a peer within its seconds, or None: we alone may be cut off from it."""
        try:
            hubs = self._registry.hubs()
        except HubnetError as error:
            _log.debug("nobody to ask for a look: %s", error)
            return None
        for hub in hubs:
            if hub.peer_id != self._own_id:
                try:
                    return Seen[self._caller.call(_to(LOOK), hub.peer_id, (record, limit), {}, limit + _ON_THE_WAY)]
                except (HubnetError, KeyError) as error:
                    _log.debug("hub %s:%s could not look: %s", hub.host, hub.port, error)
        return None

    def warn(self, peer_id: bytes, text: str) -> None:
        """Have a peer put something into its log."""
        try:
            self._caller.call(_to(WARN), peer_id, (text,), {}, _LIMIT)
        except HubnetError as error:
            _log.debug("could not warn a peer: %s", error)


def warned(text: str) -> None:
    """The door of WARN, on every peer: a hub's word, on one line and once a minute.

    Raises:
        NotAllowed: no hub speaks.
    """
    link = here.call.link
    if link is None or not link.friendly.get("hub"):
        raise NotAllowed("hubs alone have a word with other peers")
    if _complaints.about(link.foreign.incarnation.hex(), "a word"):
        _log.warning("a hub says: %.1000s", " ".join(text.split()))


def _to(tag: str) -> Connection:
    return Connection(tag, warned, idempotent=True)
