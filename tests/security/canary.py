"""A canary: a pickle that leaves a trace where it is rebuilt, so that a test can tell that nobody did."""

from __future__ import annotations

import pickle

sung: list[str] = []
"""Where canaries were rebuilt, in this process."""


class Canary:
    """Harmless until it is unpickled."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return sing, (self.where,)


def sing(where: str) -> None:
    """Leave the trace."""
    sung.append(where)


def pickled(where: str) -> bytes:
    """What an attacker would have rebuilt."""
    return pickle.dumps(Canary(where), 5)
