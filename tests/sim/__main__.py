"""Run seeds, or every sabotage: ``python -m tests.sim --seed S``, ``--seeds A..B``, ``--sabotages``."""

from __future__ import annotations

import argparse
import inspect
import sys
import time

from tests.sim.rules import run
from tests.sim.sabotages import SABOTAGES
from tests.sim.world import Broken


def caught(name: str, seeds: range) -> int | None:
    """The first seed at which a sabotage is noticed."""
    where, rule, change = SABOTAGES[name]
    real = inspect.getattr_static(where, rule, None)  # a static method as such, so that it can be put back
    setattr(where, rule, change(getattr(where, rule, None)))
    try:
        for seed in seeds:
            try:
                run(seed)
            except Broken:
                return seed
        return None
    finally:
        setattr(where, rule, real) if real is not None else delattr(where, rule)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", default="0..1999")
    parser.add_argument("--sabotages", action="store_true")
    wish = parser.parse_args()
    first, _, last = wish.seeds.partition("..")
    seeds = range(int(first), int(last) + 1) if wish.seed is None else range(wish.seed, wish.seed + 1)
    if wish.sabotages:
        found = {name: caught(name, seeds) for name in SABOTAGES}
        print("\n".join(f"{'MISSED' if seed is None else f'seed {seed}':>10}  {name}" for name, seed in found.items()))
        return int(None in found.values())
    begun, simulated = time.monotonic(), 0.0
    for seed in seeds:
        try:
            simulated += run(seed)
        except Broken as error:
            print(f"seed {seed}: {error}; again: python -m tests.sim --seed {seed}")
            return 1
    took = time.monotonic() - begun
    print(f"{len(seeds)} seeds, {simulated:.0f} s simulated in {took:.1f} s: {simulated / took:.0f} times real time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
