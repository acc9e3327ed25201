"""What a handler's ``on_gap`` is told: events that it wanted and did not get."""

from __future__ import annotations

from typing import NamedTuple


class Gap(NamedTuple):
    """A hole in the events of a subscription, told between the events before and after it.

    Attributes:
        event: the event's name.
        lost: how many events are missing.
        publisher: id of the peer that published them; b"" where they are of several.
        reason: "lost": they never arrived; "queue": this handler's own queue was full.
    """

    event: str
    lost: int
    publisher: bytes
    reason: str
