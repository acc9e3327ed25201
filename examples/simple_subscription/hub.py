"""The hub that publisher and subscribers meet at, and the one that hears everything.

In a terminal: HUBNET_IS_HUB=1 python hub.py
"""

import hubnet


@hubnet.subscribe("temperature")
def on_temperature(room: str, celsius: float) -> None:
    print(f"hub: {room} {celsius:.1f}", flush=True)


if __name__ == "__main__":
    hubnet.serve()
