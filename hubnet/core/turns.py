"""Turns: how many seconds each hub gets to answer a question, while there are others to ask.

The first may be stopped, and who asks may not have long, so all have a short turn, and then the last good one has what is left.
Turns are longer where hubs are slow, or each question would go to all of them just when they have much to do. Whoever was not
reached is asked last for a while. Times are the caller's, in seconds of its monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from hubnet.core.membership import HubEntry

SHORT = 0.5
_LONGEST = 5.0


class Turns:
    """What one peer knows of how its hubs answer.

    Args:
        set_back: seconds for which a hub that was not reached is asked last.
    """

    def __init__(self, set_back: float) -> None:
        self._set_back = set_back
        self._silent_until: dict[bytes, float] = {}
        self._turn = SHORT

    def in_order(self, hubs: Iterable[HubEntry], now: float) -> list[HubEntry]:
        """Those that may answer first; otherwise their order stays."""
        return sorted(hubs, key=lambda hub: self._is_silent(hub, now))

    def time_for(self, hub: HubEntry, hubs: list[HubEntry], now: float, left: float, rounds: int) -> float:
        """The seconds that a hub gets of those that are left, after so many rounds of all of them."""
        good = [one for one in hubs if not self._is_silent(one, now)] or hubs
        whole = len(hubs) == 1 or (rounds > 0 and hub is good[-1])
        return min(left, _LONGEST) if whole else min(left / 2, self._turn)

    def answered(self, seconds: float) -> None:
        """A hub took so long for its answer: another one may."""
        self._turn = max(SHORT, 2 * seconds)

    def not_reached(self, hub: HubEntry, now: float) -> None:
        """Nothing was heard of it at all."""
        self._silent_until[hub.peer_id] = now + self._set_back

    def round_over(self, rounds: int) -> None:
        """All have had their turns so often, in vain."""
        self._turn = max(self._turn, min(SHORT * 2.0 ** min(rounds, 10), _LONGEST))

    def _is_silent(self, hub: HubEntry, now: float) -> bool:
        return self._silent_until.get(hub.peer_id, 0.0) > now
