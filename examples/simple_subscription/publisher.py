"""Measure, and tell whoever listens. In a terminal of its own: HUBNET_GROUP=cellar python publisher.py"""

import itertools
import math
import os
import time

import hubnet


@hubnet.event("temperature")
def measured(room: str, celsius: float) -> tuple[tuple[str, float], dict[str, float]]:
    """What subscribers get is what this returns."""
    return (room, round(celsius, 1)), {}


if __name__ == "__main__":
    for second in itertools.count():
        measured(os.environ.get("HUBNET_GROUP", "nowhere"), 20 + 5 * math.sin(second))
        time.sleep(float(os.environ.get("EVERY", "1")))
