"""Hear the publishers of one group. In a terminal of its own: python subscriber.py cellar"""

import sys

import hubnet


@hubnet.subscribe("temperature", groups=sys.argv[1])
def on_temperature(room: str, celsius: float) -> None:
    print(f"{room} {celsius:.1f}", flush=True)


if __name__ == "__main__":
    hubnet.serve()
