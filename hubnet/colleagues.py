"""What a hub asks of others: their look at a silent peer, and a word to a peer that is in the way.

Other hubs are asked side by side, for one of them may reach whom the rest do not: the peer's own choices first, and no more than
three. Those that have not answered when their time is up are not waited for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from hubnet.core import membership
from hubnet.core.connections import Connection
from hubnet.core.membership import HubEntry, Record, Seen
from hubnet.errors import HubnetError, NotAllowed
from hubnet.links.calling import Caller
from hubnet.links.complaints import Complaints
from hubnet.links.context import here
from hubnet.registry import Registry

LOOK, WARN = "hubnet:look", "hubnet:warn"
_LIMIT = 1.5
_PAUSE = 0.05
_MOST_ASKED = 3
_MOST_FURTHER = 128
"""Questions beside the first one about each peer that may be under way: a switch that dies takes hundreds of peers at once."""
_log = logging.getLogger("hubnet")
_complaints = Complaints()


class Asked:
    """One question to several hubs: what each of them sees of a peer."""

    def __init__(self, hubs: int, until: float) -> None:
        self._waiting = hubs
        self._until = until
        self._said: list[Seen | None] = []

    def say(self, seen: Seen | None) -> None:
        """The answer of one of them, or None: it has none."""
        self._said.append(seen)

    def wait(self) -> Iterator[float]:
        """Seconds to wait, again and again, until nobody's answer could change anything any more."""
        while len(self._said) < self._waiting and Seen.ALIVE not in self._said and time.monotonic() < self._until:
            yield _PAUSE

    def together_with(self, seen: Seen) -> Seen:
        """What was seen by all who have answered so far, and by the one who asks."""
        return membership.seen_by_all([seen, *(one for one in self._said if one)])


class Colleagues:
    """The other peers, as one hub speaks to them."""

    def __init__(self, own_id: bytes, caller: Caller, registry: Registry) -> None:
        self._own_id = own_id
        self._caller = caller
        self._registry = registry
        self._further = threading.Semaphore(_MOST_FURTHER)

    def ask(self, record: Record, limit: float) -> Asked:
        """Have other hubs look at a peer within so many seconds: we alone may be cut off from it."""
        peer_id = str(record["id"]).encode()
        try:
            hubs = [hub for hub in self._registry.hubs() if hub.peer_id not in {self._own_id, peer_id}]
            hubs = membership.choose_hubs(peer_id, hubs, float("inf"))[:_MOST_ASKED]
        except HubnetError as error:
            _log.debug("nobody to ask for a look: %s", error)
            hubs = []
        asked = Asked(len(hubs), time.monotonic() + limit + membership.ON_THE_WAY)
        for number, hub in enumerate(hubs):
            if number and not self._further.acquire(blocking=False):
                asked.say(None)
                continue
            tell = partial(self._said_further, asked) if number else asked.say
            try:
                self.aside(partial(self._look_of, hub, record, limit), tell)
            except RuntimeError as error:  # no more threads are to be had
                _log.debug("hub %s:%s is not asked: %s", hub.host, hub.port, error)
                tell(None)
        return asked

    def _said_further(self, asked: Asked, seen: Seen | None) -> None:
        self._further.release()
        asked.say(seen)

    @staticmethod
    def aside(work: Callable[[], Seen | None], tell: Callable[[Seen | None], None]) -> None:
        """Do it in a thread of its own, and tell what came of it."""
        threading.Thread(target=lambda: tell(work()), name="hubnet-ask", daemon=True).start()

    def _look_of(self, hub: HubEntry, record: Record, limit: float) -> Seen | None:
        within = limit + membership.ON_THE_WAY
        try:
            return Seen[self._caller.call(_to(LOOK), hub.peer_id, (record, limit), {}, within)]
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
