"""Two ends of a handshake or link in one thread: the bytes of each are fed to the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from hubnet.core import frames, handshake
from hubnet.core.handshake import ANY_ID, ANY_INCARNATION, Initiator, Responder, Self, Session, digest_of
from hubnet.core.identity import generate_id
from hubnet.core.keys import Keyring, new_token
from hubnet.errors import AuthenticationError, RemoteProtocolError

TOKEN = new_token(bytes(range(32)))
OTHER_TOKEN = new_token(bytes(range(32, 64)))
RING = Keyring.of([TOKEN], "default")

BOTH = handshake.TAGGED | handshake.SEALED | handshake.HASHED | handshake.TAGGED_WHOLE | handshake.HASHED_WHOLE
SUITES = (handshake.TAGGED, handshake.SEALED, handshake.HASHED, handshake.TAGGED_WHOLE, handshake.HASHED_WHOLE)
NAMES = ("tagged", "sealed", "hashed", "tagged whole", "hashed whole")

ALICE_ID = generate_id(3010, "10.0.0.1", "render")
BOB_ID = generate_id(3011, "10.0.0.2", "render")
ALICE = Self(digest_of(ALICE_ID), b"alice's process.")
BOB = Self(digest_of(BOB_ID), b"bob's process...")
ANYBODY = Self(ANY_ID, ANY_INCARNATION)


def counted_random(seed: bytes) -> Callable[[int], bytes]:
    """Bytes that look random and are the same in every run."""
    count = 0

    def random(length: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(seed + bytes((count,))).digest(length)

    return random


def initiator(
    own: Self = ALICE,
    wanted: Self = BOB,
    ring: Keyring = RING,
    suites: int = BOTH,
    seed: bytes = b"initiator",
    binding: bytes = b"",
) -> Initiator:
    return Initiator(own, wanted, ring, suites, counted_random(seed), binding)


def responder(
    own: Self = BOB,
    ring: Keyring = RING,
    suites: int = BOTH,
    seed: bytes = b"responder",
    binding: bytes = b"",
    refusal: int = handshake.ACCEPTED,
) -> Responder:
    return Responder(own, ring, suites, counted_random(seed), binding, judge=lambda digest: refusal)


class Outcome(NamedTuple):
    """What became of a handshake: each side's session, what each raised, and the messages as they were sent."""

    near: Session | None
    far: Session | None
    near_error: Exception | None
    far_error: Exception | None
    sent: list[bytes]

    @property
    def error(self) -> Exception | None:
        return self.near_error or self.far_error

    @property
    def both(self) -> bool:
        return self.near is not None and self.far is not None


Tamper = Callable[[int, bytes], bytes]


def untouched(_: int, message: bytes) -> bytes:
    return message


def shake(near: Initiator, far: Responder, tamper: Tamper = untouched) -> Outcome:
    """Feed each end's bytes to the other until neither has anything to say; `tamper` sits between them.

    Only the two errors of the contract are caught: any other fails the test.
    """
    sent: list[bytes] = []
    errors: dict[int, Exception] = {}
    message, at_far = near.begin(), True
    while message:
        sent.append(message)
        arrived = tamper(len(sent), message)
        side = far if at_far else near
        try:
            message = side.receive(arrived)
        except (AuthenticationError, RemoteProtocolError) as error:
            errors[at_far] = error
            break
        at_far = not at_far
    return Outcome(near.session, far.session, errors.get(False), errors.get(True), sent)


@cache
def sessions(suite: int) -> tuple[Session, Session]:
    """The two sessions of an undisturbed handshake."""
    outcome = shake(initiator(suites=suite), responder(suites=suite))
    assert outcome.near is not None
    assert outcome.far is not None
    return outcome.near, outcome.far


def linked(suite: int) -> tuple[frames.Protection, frames.Protection]:
    """What protects the frames of the two ends of one link."""
    near, far = sessions(suite)
    return frames.protection(near), frames.protection(far)


def flipped(data: bytes, bit: int) -> bytes:
    """The same bytes with one bit changed."""
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)
