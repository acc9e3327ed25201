"""What one peer lets others make it hold."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Most of everything.

    Attributes:
        links: authenticated incoming links, in all and from one peer.
        strangers: links whose other end has not proved the secret, in all and from one address.
        call: bytes in the arguments of a call, or in its result.
    """

    links: tuple[int, int] = (10_000, 1_000)
    strangers: tuple[int, int] = (512, 256)
    call: int = 16 << 30
