"""Guessing a secret from what was overheard: how many guesses a second one core makes, for a token and for a passphrase.

    python -m benchmarks.guesses [--seconds S] [--core C]

Whoever records one conversation, event or record has what a guess is compared with: the key's id, which stands in all of them and
follows from the secret alone. No password-authenticated exchange hides it, so what protects a net is how much there is to guess:
a token's 256 bits, or what a passphrase has. Stretching makes each guess dearer, and never mends a poor passphrase.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from hubnet.core import handshake, keys
from hubnet.core.handshake import Initiator, Responder, Self
from hubnet.core.keys import Keyring, extract

KID_AT, KID_SIZE = 8, 8
YEAR = 365.25 * 86400
NAMESPACE = "default"


class Conversation(NamedTuple):
    """The four messages of one handshake, as whoever stands in between sees them."""

    m1: bytes
    m2: bytes
    m3: bytes
    m4: bytes


def recorded(secret: str, suites: int, namespace: str = NAMESPACE) -> Conversation:
    """An honest conversation of two members."""
    ring = Keyring.of([secret], namespace)
    one, other = (Self(hashlib.sha256(name).digest(), name.ljust(16)) for name in (b"one", b"other"))
    near, far = Initiator(one, other, ring, suites, os.urandom), Responder(other, ring, suites, os.urandom)
    m1 = near.begin()
    m2 = far.receive(m1)
    m3 = near.receive(m2)
    m4 = far.receive(m3)
    near.receive(m4)
    return Conversation(m1, m2, m3, m4)


def told_by_key_id(seed: bytes, seen: Conversation) -> bool:
    """Whether a seed is the one: by the key's id, in any suite, from the first message alone."""
    return keys.expand(extract(b"hubnet/1", seed), b"kid", KID_SIZE) == seen.m1[KID_AT : KID_AT + KID_SIZE]


def told_by_proof(seed: bytes, seen: Conversation, namespace: str = NAMESPACE) -> bool:
    """Whether a seed is the one: by the dialler's proof. Where X25519 takes part, only an end can tell by this."""
    th = handshake._hash(b"hubnet/1", seen.m1, seen.m2, b"")
    early = extract(b"hubnet/1", keys.derive(seed, namespace).link)
    secret = extract(keys.expand(early, b"hubnet/1 derived"), bytes(32))
    block, proof = seen.m3[:-32], seen.m3[-32:]
    return extract(keys.expand(secret, b"finished i>r" + th), hashlib.sha256(th + block).digest()) == proof


def found(words: Iterable[str], seen: Conversation, namespace: str = NAMESPACE) -> str | None:
    """The word of a dictionary that is the secret, if one is."""
    return next((word for word in words if told_by_key_id(keys.seed_of(word, namespace), seen)), None)


def per_second(guess: Callable[[int], object], seconds: float) -> float:
    """How many times it can be done."""
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        guess(done)
        done += 1
    return done / (time.perf_counter() - begin)


def rates(seconds: float) -> dict[str, float]:
    """Guesses a second of this process."""
    seen = recorded(keys.new_token(os.urandom(32)), handshake.TAGGED)
    return {
        "a token's seed": per_second(lambda number: told_by_key_id(number.to_bytes(32, "big"), seen), seconds),
        "a token's seed, by proof": per_second(lambda number: told_by_proof(number.to_bytes(32, "big"), seen), seconds),
        "a passphrase": per_second(lambda number: found([f"a passphrase, number {number}"], seen), seconds),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    measured = rates(options.seconds)
    for name, rate in measured.items():
        print(f"{name:28} {rate:12,.1f} guesses/s on one core")
    stretched = measured["a passphrase"]
    print("\na passphrase out of so many takes one core on average:")
    for bits, which in (
        (20, "a word and a year"),
        (40, "three words of 10 000"),
        (65, "five words of 8 000"),
        (128, ""),
    ):
        print(f"  2^{bits:<4} {2 ** (bits - 1) / stretched / YEAR:10.2g} years  {which}")
    token = 2.0**255 / measured["a token's seed"] / YEAR
    print(f"a token: 2^256, {token:.2g} years")


if __name__ == "__main__":
    main()
