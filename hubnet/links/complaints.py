"""Complaints about strangers, in a measured voice: whoever can reach our port could fill our log otherwise."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

EVERY = 60.0
MOST = 1000


class Complaints:
    """The same complaint about the same address once a minute, or as often as is given, with how often it was held back since."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, every: float = EVERY) -> None:
        self._clock = clock
        self._every = every
        self._last: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def about(self, address: str, what: str) -> str | None:
        """What to log now, or None: it was said a moment ago."""
        now, key = self._clock(), (address, what)
        with self._lock:
            said, held_back = self._last.pop(key, (None, 0))
            if said is not None and now - said < self._every:
                self._last[key] = said, held_back + 1
                return None
            self._last[key] = now, 0
            while len(self._last) > MOST:
                self._last.popitem(last=False)
        again = f" (and {held_back} times more since this was last said)" if held_back else ""
        return f"{address}: {what}{again}"
