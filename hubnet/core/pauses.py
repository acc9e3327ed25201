"""Pauses: how long whoever has lost a hub or Redis waits before it tries again.

All who had it lose it at the same moment, and it would fall again if all came back at one. So nobody waits for a fixed time: each
draws its own between two bounds, before the first try already, and none waits for longer than a second. Here are the bounds, in
seconds; ``machine.jitter`` draws.
"""

from __future__ import annotations

Bounds = tuple[float, float]
LONGEST = 1.0
BEFORE_REDIS: Bounds = (0.1, LONGEST)
"""Before Redis is tried again, by whoever publishes, subscribes or reads streams."""
BEFORE_ASKING: Bounds = (0.05, 0.5)
"""Before all hubs are asked once more, while somebody waits for the answer; less if a hub comes."""


def before_hub(failures: int) -> Bounds:
    """Before a peer looks for a hub again, after so many failures in a row.

    After the first its hub has just gone, and another one is likely there: all peers of that hub come at once, spread over no
    more than it takes to register them. Later nobody is there, and a look each second at the most will do.
    """
    return (0.0, 0.3) if failures <= 1 else (0.1, LONGEST)
