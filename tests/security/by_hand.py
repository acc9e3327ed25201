"""The wire by hand: handshake, frames, envelopes and records out of hashes and ciphers alone, as the plan has them.

Nothing of hubnet is used here. So what it computes can stand against what hubnet sends, and an attacker who has to lie
in some field of a message has the whole wire in hand. Where the plan is silent: lengths in a transcript are four bytes,
big-endian, at every step; ids travel as digests; the wanted incarnation stands behind the wanted id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

TAGGED, SEALED, HASHED, TAGGED_WHOLE, HASHED_WHOLE = 1, 2, 4, 8, 16
NAMES = {
    "tagged": TAGGED,
    "sealed": SEALED,
    "hashed": HASHED,
    "tagged whole": TAGGED_WHOLE,
    "hashed whole": HASHED_WHOLE,
}
SUITES, BOTH = tuple(NAMES.values()), TAGGED | SEALED
EACH_KIND = (TAGGED, SEALED)  # proved or sealed: where a real process takes long
ACCEPTED = 0
MIB = 1 << 20


# -- secrets and keys ------------------------------------------------------------------------------------------------


def extract(salt: bytes, material: bytes) -> bytes:
    """HKDF-Extract."""
    return hmac.new(salt, material, hashlib.sha256).digest()


def expand(key: bytes, label: bytes, length: int = 32) -> bytes:
    """HKDF-Expand."""
    return HKDFExpand(SHA256(), length, label).derive(key)


def token_of(seed: bytes) -> str:
    """How 32 random bytes are spelled."""
    checked = seed + hashlib.sha256(b"hubnet/1 token" + seed).digest()[:4]
    return "hubnet1-" + base64.b32encode(checked).decode().rstrip("=").lower()


def passphrase_seed(text: str, namespace: str) -> bytes:
    """The 32 bytes behind a passphrase."""
    salt = hashlib.sha256(b"hubnet/1 passphrase" + namespace.encode()).digest()
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=3).derive(text.encode())


class Keys(NamedTuple):
    """The keys of one secret in one namespace."""

    kid: bytes
    link: bytes
    event: bytes
    record: bytes


def keys_of(seed: bytes, namespace: str) -> Keys:
    """One key for each purpose."""
    net, name = extract(b"hubnet/1", seed), namespace.encode()
    return Keys(expand(net, b"kid", 8), *(expand(net, purpose + name) for purpose in (b"link", b"event", b"record")))


# -- the handshake ---------------------------------------------------------------------------------------------------


class Who(NamedTuple):
    """An end: the digest of its id, and its incarnation."""

    digest: bytes
    incarnation: bytes


def point_of(private: bytes) -> bytes:
    """The public X25519 key of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def shared_secret(private: bytes, point: bytes) -> bytes:
    """What two ends of an X25519 exchange share."""
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(point))


def offer(
    kids: Sequence[bytes], nonce: bytes, point: bytes = b"", *, suites: int, lowest: int = 1, highest: int = 1
) -> bytes:
    """M1."""
    return b"HUB1" + bytes((lowest, highest, suites, len(kids))) + b"".join(kids) + nonce + point


def choice(kid: bytes, nonce: bytes, point: bytes = b"", *, suite: int, version: int = 1) -> bytes:
    """M2."""
    return b"HUB1" + bytes((version, suite, 0, 0)) + kid + nonce + point


def chained(*parts: bytes) -> bytes:
    """SHA-256 over parts, each behind its length."""
    return hashlib.sha256(b"".join(struct.pack(">I", len(part)) + part for part in parts)).digest()


class Agreement:
    """What the two ends have in common after M2, if they have the key in common."""

    def __init__(self, link_key: bytes, m1: bytes, m2: bytes, shared: bytes = bytes(32), binding: bytes = b"") -> None:
        self.transcript = chained(b"hubnet/1", m1, m2, binding)
        early = extract(b"hubnet/1", link_key)
        self.secret = extract(expand(early, b"hubnet/1 derived"), shared)

    def proof(self, direction: bytes, transcript: bytes, block: bytes) -> bytes:
        """The tag at the end of M3 ("i>r") or M4 ("r>i")."""
        key = expand(self.secret, b"finished " + direction + transcript)
        return hmac.new(key, hashlib.sha256(transcript + block).digest(), hashlib.sha256).digest()

    def m3(self, own: Who, wanted: Who) -> bytes:
        """The dialler's proof."""
        block = own.digest + own.incarnation + wanted.digest + wanted.incarnation
        return block + self.proof(b"i>r", self.transcript, block)

    def m4(self, m3: bytes, own: Who, verdict: int = ACCEPTED) -> bytes:
        """The listener's proof."""
        block = own.digest + own.incarnation + bytes((verdict,))
        return block + self.proof(b"r>i", chained(self.transcript, m3), block)

    def traffic(self, m3: bytes, m4: bytes) -> tuple[bytes, bytes]:
        """The keys from dialler to listener, and back."""
        transcript = chained(chained(self.transcript, m3), m4)
        return expand(self.secret, b"traffic i>r" + transcript), expand(self.secret, b"traffic r>i" + transcript)


class Dialler:
    """A dialling side that says whatever it is told to say.

    Attributes:
        keys: what it knows; an attacker's are wrong.
        suites: what it offers, as bits.
        own, wanted: who it says it is, and wants.
    """

    def __init__(self, keys: Keys, suites: int, own: Who, wanted: Who, *, nonce: bytes, private: bytes) -> None:
        self.keys, self.suites, self.own, self.wanted = keys, suites, own, wanted
        self.nonce, self.private = nonce, private

    def m1(self, kids: Sequence[bytes] = (), *, lowest: int = 1, highest: int = 1) -> bytes:
        """The offer, of its own key id if no others are given."""
        point = point_of(self.private) if self.suites & SEALED else b""
        kids = kids or [self.keys.kid]
        return offer(kids, self.nonce, point, suites=self.suites, lowest=lowest, highest=highest)

    def agreement(self, m1: bytes, m2: bytes, binding: bytes = b"") -> Agreement:
        """What follows from an offer and its answer."""
        shared = shared_secret(self.private, m2[-32:]) if m2[5] == SEALED else bytes(32)
        return Agreement(self.keys.link, m1, m2, shared, binding)

    def m3(self, m1: bytes, m2: bytes) -> bytes:
        """The proof, honest or not."""
        return self.agreement(m1, m2).m3(self.own, self.wanted)


class Listener:
    """A listening side that says whatever it is told to say."""

    def __init__(self, keys: Keys, own: Who, *, nonce: bytes, private: bytes) -> None:
        self.keys, self.own = keys, own
        self.nonce, self.private = nonce, private

    def m2(self, suite: int) -> bytes:
        """The choice of a suite."""
        point = point_of(self.private) if suite == SEALED else b""
        return choice(self.keys.kid, self.nonce, point, suite=suite)

    def agreement(self, m1: bytes, m2: bytes) -> Agreement:
        """What follows from an offer and its answer."""
        shared = shared_secret(self.private, m1[-32:]) if m2[5] == SEALED else bytes(32)
        return Agreement(self.keys.link, m1, m2, shared)

    def m4(self, m1: bytes, m2: bytes, m3: bytes, verdict: int = ACCEPTED) -> bytes:
        """The proof, honest or not."""
        return self.agreement(m1, m2).m4(m3, self.own, verdict)


# -- frames ----------------------------------------------------------------------------------------------------------


def header(length: int, kind: int, buffers: int, named: int, depth: int = 0, patience: int = 0, left: int = 0) -> bytes:
    """The 24 bytes before everything else in a frame."""
    return struct.pack("<IBBHHHIQ", length, kind, 0, buffers, named, depth, patience, left)


class TaggedFrames:
    """Suites 1 and 3, one direction; `whole` proves the buffers as well."""

    def __init__(self, key: bytes, *, hashed: bool, whole: bool) -> None:
        self._key = key
        self._hashed, self._whole = hashed, whole
        self._history = b""

    def frame(self, kind: int, body: bytes, name: bytes = b"", buffers: Sequence[bytes] = ()) -> bytes:
        """The next frame and its buffers."""
        rest = name + b"".join(struct.pack("<Q", len(buffer)) for buffer in buffers) + body
        said = header(len(rest) + 16, kind, len(buffers), len(name)) + rest
        out = self._proved(said)
        if not self._whole:
            return out + b"".join(buffers)
        pieces = [buffer[at : at + MIB] for buffer in buffers for at in range(0, len(buffer), MIB)]
        return out + b"".join(self._proved(piece) for piece in pieces)

    def _proved(self, said: bytes) -> bytes:
        self._history += said
        if self._hashed:
            return said + hmac.new(self._key, b"hubnet/1 frame" + self._history, hashlib.sha256).digest()[:16]
        return said + hashlib.blake2b(self._history, digest_size=16, key=self._key, person=b"hubnet/1 frame").digest()


class SealedFrames:
    """Suite 2, one direction."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._counter = 0

    def frame(self, kind: int, body: bytes, name: bytes = b"", buffers: Sequence[bytes] = ()) -> bytes:
        """The next frame and its buffers."""
        rest = name + b"".join(struct.pack("<Q", len(buffer)) for buffer in buffers) + body
        head = header(len(rest) + 16, kind, len(buffers), len(name))
        pieces = [buffer[at : at + MIB] for buffer in buffers for at in range(0, len(buffer), MIB)]
        return head + self._sealed(rest, head) + b"".join(self._sealed(piece, b"") for piece in pieces)

    def _sealed(self, data: bytes, said: bytes) -> bytes:
        nonce = bytes(4) + struct.pack(">Q", self._counter)
        self._counter += max(1, -(-len(data) // MIB))
        return self._cipher.encrypt(nonce, data, said)


def frames_of(suite: int, key: bytes) -> TaggedFrames | SealedFrames:
    """One direction of a link."""
    if suite == SEALED:
        return SealedFrames(key)
    return TaggedFrames(key, hashed=suite in {HASHED, HASHED_WHOLE}, whole=suite in {TAGGED_WHOLE, HASHED_WHOLE})


# -- events and records ----------------------------------------------------------------------------------------------


def envelope(
    keys: Keys, sender: tuple[bytes, bytes, bool, str], channel: bytes, first: int, bodies: Sequence[bytes]
) -> bytes:
    """Events of one publisher (id, incarnation, whether it is a hub, its machine) under one proof."""
    peer_id, incarnation, hub, machine = sender
    said = json.dumps({"id": peer_id.decode(), "hub": hub, "machine": machine}, separators=(",", ":")).encode()
    head = b"HUBE" + struct.pack("<BBHIQ", 1, 0, len(said), len(bodies), first) + keys.kid + incarnation
    message = head + said + b"".join(struct.pack("<I", len(body)) for body in bodies) + b"".join(bodies)
    place = struct.pack("<I", len(channel)) + channel
    return message + hmac.new(keys.event, b"hubnet/1 event" + place + message, hashlib.sha256).digest()[:16]


def record(keys: Keys, place: str, said: dict[str, object]) -> str:
    """A signed record in its place."""
    where = place.encode()
    body = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    place_and_body = struct.pack(">I", len(where)) + where + body
    proof = hmac.new(keys.record, b"hubnet/1 record" + place_and_body, hashlib.sha256).digest()[:16]
    return json.dumps({**said, "signature": f"{keys.kid.hex()}:{proof.hex()}"}, sort_keys=True)
