"""Who knows where Redis is: Sentinels, which follow a master, or a Cluster's nodes, which know each slot's owner.

Each time somebody connects, one of them is asked; the one that answered last comes first. All keys of a namespace share one hash
tag, so in a Cluster one node has all of them, and what it publishes all nodes hear.
"""

from __future__ import annotations

import binascii
import time
from collections.abc import Callable
from typing import Any

from hubnet.errors import BrokerUnavailable
from hubnet.redis_url import Guided

LIMIT = 1.0
"""Seconds for each that is asked: the next one may answer at once."""
_MOST_KNOWN = 64
_SLOTS = 16384
Ask = Callable[[str, tuple[bytes, ...], float], Any]
"""(URL, command, deadline) -> the answer; BrokerUnavailable where there is none."""


class Guides:
    """Those of one URL.

    Args:
        said: the URL.
        namespace: whose keys are looked for in a Cluster.
        shown: the URL without its password.
    """

    def __init__(self, said: Guided, namespace: str, shown: str) -> None:
        self._said = said
        self._slot = binascii.crc_hqx(namespace.encode(), 0) % _SLOTS
        self._shown = shown
        self._guides = list(said.guides)

    def server(self, ask: Ask, deadline: float | None = None) -> str:
        """The URL of the Redis that takes our writes now, as the first says that answers by the deadline (monotonic).

        Raises:
            BrokerUnavailable: none of them answers, or knows.
        """
        failure = "out of time"
        for guide in list(self._guides):
            end = time.monotonic() + LIMIT if deadline is None else min(time.monotonic() + LIMIT, deadline)
            if end <= time.monotonic():
                break
            try:
                host, port = self._ask_one(guide, ask, end)
            except (BrokerUnavailable, OSError) as error:
                failure = f"{guide[0]}:{guide[1]}: {error.__cause__ or error}"
                continue
            self._guides.remove(guide)
            self._guides.insert(0, guide)
            return self._said.server(host, port)
        raise BrokerUnavailable(f"nobody of {self._shown} tells where Redis is: {failure}; check HUBNET_REDIS_URL")

    def _ask_one(self, guide: tuple[str, int], ask: Ask, end: float) -> tuple[str, int]:
        url = self._said.guide(*guide)
        if self._said.kind == "cluster":
            return self._owner(guide[0], ask(url, (b"CLUSTER", b"SLOTS"), end))
        found = ask(url, (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._said.service.encode()), end)
        if not found:
            raise BrokerUnavailable(f"this Sentinel knows no service {self._said.service!r}")
        return found[0].decode(), int(found[1])

    def _owner(self, asked: str, ranges: list[Any]) -> tuple[str, int]:
        """The node that owns our slot; all that are named may be asked next time."""
        nodes = [(_host(node, asked), int(node[1])) for first, last, *nodes in ranges for node in nodes]
        for node in dict.fromkeys(nodes):
            if node not in self._guides and len(self._guides) < _MOST_KNOWN:
                self._guides.append(node)
        for first, last, owner, *_ in ranges:
            if first <= self._slot <= last:
                return _host(owner, asked), int(owner[1])
        raise BrokerUnavailable(f"no node of the Cluster has slot {self._slot} just now")


def _host(node: list[Any], asked: str) -> str:
    """A node that does not know its own name is where it was asked."""
    name = (node[0] or b"").decode()
    return asked if name in {"", "?"} else name
