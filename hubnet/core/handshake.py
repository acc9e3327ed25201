"""The handshake: both ends prove the secret before anything else is read, the initiator first.

Theory of operation. Four messages of fixed layout, none over 256 bytes:

    M1 I→R  "HUB1" | versions | suites | key ids | nonce [| X25519]
    M2 R→I  "HUB1" | version | suite | key id | nonce [| X25519]        the responder proves nothing to strangers
    M3 I→R  own id, own incarnation, wanted id, wanted incarnation | tag
    M4 R→I  own id, own incarnation, verdict | tag

The initiator offers the key ids of all its secrets, in their order; the responder takes the first that it knows. Every byte
goes into the transcript hash under each tag, so nothing can be stripped or changed. Ids travel as SHA-256
digests, which keeps the layout fixed; a wanted id of zeros means "whoever listens there". A listener that is not the
one wanted says so in M4, under its tag. The traffic keys are fresh per link and direction. Each side is a small machine:

    initiator   (begin) → WAIT_M2 → WAIT_M4 → DONE
    responder             WAIT_M1 → WAIT_M3 → DONE

Suite 1 protects frames with keyed BLAKE2b; suite 2 adds X25519 to the keys and seals frames with AES-256-GCM; suite 3 is
suite 1 with HMAC-SHA256, for hosts whose Python has no BLAKE2. Suites 1 and 3 whole have the large buffers under the proof as
well, for those who ask for it. Inside TLS frames go bare: the handshake is bound to the listener's certificate. The responder
takes the first of 2, bare, 1, 3, 1 whole and 3 whole that both allow.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from importlib.util import find_spec
from struct import Struct
from typing import NamedTuple

from hubnet.core import sealing
from hubnet.core.keys import Keyring, NetKeys, expand, extract
from hubnet.errors import AuthenticationError, ConfigError, RemoteProtocolError

MAGIC = b"HUB1"
VERSION = 1
TAGGED, SEALED, HASHED, TAGGED_WHOLE, HASHED_WHOLE, BARE = 1, 2, 4, 8, 16, 32
_IN_ORDER = (SEALED, BARE, TAGGED, HASHED, TAGGED_WHOLE, HASHED_WHOLE)
_HAS_BLAKE2 = (
    find_spec("_blake2") is not None
)  # a Python may be built with the hashes that FIPS 140 allows, and no others
LIMIT = 256
MOST_KEYS = 4
ANY_ID = bytes(32)
ANY_INCARNATION = bytes(16)

ACCEPTED, NOT_ME, SELF, FULL, DRAINING = range(5)
VERDICTS = (
    "accepted",
    "another peer listens there",
    "that is this peer itself",
    "too many links",
    "draining",
)

_M1_HEAD = Struct("<4sBBBB")  # magic, lowest and highest version, suites as bits, number of key ids
_M2_HEAD = Struct("<4sBBxx8s")  # magic, version, suite, key id
_M3 = Struct("<32s16s32s16s32s")  # own id, own incarnation, wanted id, wanted incarnation, tag
_M4 = Struct("<32s16sB32s")  # own id, own incarnation, verdict, tag
_SALT = b"hubnet/1"


class OtherVersion(RemoteProtocolError):
    """It speaks hubnet, in no version that is spoken here."""


class Self(NamedTuple):
    """Who a side says that it is."""

    digest: bytes
    incarnation: bytes


class Session(NamedTuple):
    """What a finished handshake leaves: keys for one link, and who is at the other end."""

    suite: int
    send_key: bytes
    receive_key: bytes
    foreign: Self
    verdict: int
    kid: bytes

    def __repr__(self) -> str:
        return f"<session of suite {self.suite}, {VERDICTS[self.verdict]}>"


def digest_of(peer_id: bytes) -> bytes:
    """The fixed-size form of a peer id."""
    return hashlib.sha256(peer_id).digest()


def suites_for(wire: str, integrity: str = "header", *, in_tls: bool = False) -> int:
    """The suites to offer or accept under HUBNET_WIRE and HUBNET_INTEGRITY, as bits.

    Raises:
        AuthenticationError: sealing is demanded and cannot be done here.
        ConfigError: TLS is demanded and there is no certificate.
    """
    if wire == "tls" and not in_tls:
        raise ConfigError("HUBNET_WIRE=tls needs HUBNET_TLS_CERT, HUBNET_TLS_KEY and HUBNET_TLS_CA: `hubnet tls init`")
    if in_tls and wire != "sealed":
        return BARE
    if wire == "sealed":
        if not sealing.available():
            raise AuthenticationError("HUBNET_WIRE=sealed needs the package cryptography: pip install 'hubnet[crypto]'")
        return SEALED
    tagged = TAGGED_WHOLE | HASHED_WHOLE
    if integrity == "header":
        tagged |= TAGGED | HASHED
    if not _HAS_BLAKE2:
        tagged &= ~(TAGGED | TAGGED_WHOLE)
    return tagged | SEALED if wire == "auto" and sealing.available() else tagged


def _hash(*parts: bytes) -> bytes:
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(4, "big"))
        state.update(part)
    return state.digest()


class _Side:
    """What both sides share: collecting one message of known length at a time, and the key schedule.

    Attributes:
        session: once the handshake is done.
        leftover: what came behind the last message: the listener may say goodbye at once.
    """

    session: Session | None = None
    leftover = b""

    def __init__(self, own: Self, suites: int, random: Callable[[int], bytes], binding: bytes) -> None:
        self.own = own
        self._suites = suites
        self._nonce = random(32)
        self._exchange = sealing.Exchange(random(32)) if suites & SEALED else None
        self._binding = binding
        assert binding or not suites & BARE, "frames go bare in TLS alone"
        self._buffer = b""
        self._m1 = b""

    def receive(self, data: bytes) -> bytes:
        """Take what arrived; return what to send now, often nothing.

        Raises:
            RemoteProtocolError: this is no handshake.
            AuthenticationError: the other side did not prove the secret, or refused.
        """
        self._buffer += data
        length = self._expected(self._buffer)
        if length is None or len(self._buffer) < length:
            return b""
        message, self.leftover, self._buffer = self._buffer[:length], self._buffer[length:], b""
        answer = self._advance(message)
        if self.leftover and (self.session is None or answer):
            raise RemoteProtocolError("bytes after a handshake message")
        return answer

    def _expected(self, buffer: bytes) -> int | None:
        raise NotImplementedError

    def _advance(self, message: bytes) -> bytes:
        raise NotImplementedError

    def _schedule(self, keys: NetKeys, m2: bytes, suite: int, foreign_point: bytes) -> None:
        self._th = _hash(_SALT, self._m1, m2, self._binding)
        shared = bytes(32)
        if suite == SEALED:
            assert self._exchange is not None
            try:
                shared = self._exchange.shared(foreign_point)
            except ValueError:
                raise AuthenticationError("an X25519 point of low order") from None
        self._hs = extract(expand(extract(_SALT, keys.link), b"hubnet/1 derived"), shared)
        self._suite, self._kid = suite, keys.kid

    def _tag(self, label: bytes, transcript: bytes, block: bytes) -> bytes:
        key = expand(self._hs, b"finished " + label + transcript)
        return hmac.digest(key, hashlib.sha256(transcript + block).digest(), "sha256")

    def _finish(self, m3: bytes, m4: bytes, *, initiator: bool, foreign: Self, verdict: int) -> None:
        th3 = _hash(_hash(self._th, m3), m4)
        forth = expand(self._hs, b"traffic i>r" + th3)
        back = expand(self._hs, b"traffic r>i" + th3)
        send, receive = (forth, back) if initiator else (back, forth)
        self.session = Session(self._suite, send, receive, foreign, verdict, self._kid)


class Initiator(_Side):
    """The dialling side."""

    def __init__(
        self,
        own: Self,
        wanted: Self,
        ring: Keyring,
        suites: int,
        random: Callable[[int], bytes],
        binding: bytes = b"",
    ) -> None:
        super().__init__(own, suites, random, binding)
        self._wanted = wanted
        self._offered = dict(list(ring.keys.items())[:MOST_KEYS])

    def begin(self) -> bytes:
        """M1."""
        head = _M1_HEAD.pack(MAGIC, VERSION, VERSION, self._suites, len(self._offered))
        point = self._exchange.public if self._exchange else b""
        self._m1 = head + b"".join(self._offered) + self._nonce + point
        self._m3 = b""
        return self._m1

    def _expected(self, buffer: bytes) -> int | None:
        if self._m3:
            return _M4.size
        if len(buffer) < _M2_HEAD.size:
            return None
        magic, version, suite, _ = _M2_HEAD.unpack_from(buffer)
        if magic != MAGIC or version != VERSION or suite not in _IN_ORDER or not suite & self._suites:
            raise RemoteProtocolError("the listener does not speak hubnet's handshake, or an offer was altered")
        return _M2_HEAD.size + 32 + (32 if suite == SEALED else 0)

    def _advance(self, message: bytes) -> bytes:
        return self._on_m4(message) if self._m3 else self._on_m2(message)

    def _on_m2(self, message: bytes) -> bytes:
        _, _, suite, kid = _M2_HEAD.unpack_from(message)
        keys = self._offered.get(kid)
        if keys is None:
            raise AuthenticationError("the listener answered for a secret that was not offered")
        self._schedule(keys, message, suite, message[_M2_HEAD.size + 32 :])
        block = b"".join((*self.own, *self._wanted))
        self._m3 = block + self._tag(b"i>r", self._th, block)
        return self._m3

    def _on_m4(self, message: bytes) -> bytes:
        digest, incarnation, verdict, tag = _M4.unpack(message)
        expected = self._tag(b"r>i", _hash(self._th, self._m3), message[:-32])
        if not hmac.compare_digest(tag, expected):
            raise AuthenticationError("the listener did not prove the secret")
        if verdict >= len(VERDICTS):
            raise RemoteProtocolError(f"the listener answered with verdict {verdict}, which is not known here")
        foreign = Self(digest, incarnation)
        if verdict == ACCEPTED and not _meets(self._wanted, foreign):
            raise AuthenticationError("the listener proved the secret but is not the peer that was dialled")
        self._finish(self._m3, message, initiator=True, foreign=foreign, verdict=verdict)
        return b""


class Responder(_Side):
    """The listening side. It says nothing about the secret to anyone who has not proved it."""

    def __init__(
        self,
        own: Self,
        ring: Keyring,
        suites: int,
        random: Callable[[int], bytes],
        binding: bytes = b"",
        *,
        judge: Callable[[bytes], int] = lambda digest: ACCEPTED,
    ) -> None:
        """Make the listening side of one handshake.

        Args:
            own: who we are.
            ring: the secrets accepted.
            suites: what is accepted, as bits.
            random: 32 bytes of it at a time.
            binding: of TLS around it.
            judge: the verdict on a peer that has proved the secret, by the digest of its id.
        """
        super().__init__(own, suites, random, binding)
        self._ring = ring
        self._judge = judge

    def _expected(self, buffer: bytes) -> int | None:
        if self._m1:
            return _M3.size
        if not MAGIC.startswith(buffer[:4]):
            raise RemoteProtocolError("not hubnet's handshake")
        if len(buffer) < _M1_HEAD.size:
            return None
        magic, low, high, suites, kids = _M1_HEAD.unpack_from(buffer)
        if magic != MAGIC or not 1 <= kids <= MOST_KEYS or not suites & sum(_IN_ORDER):
            raise RemoteProtocolError("not hubnet's handshake")
        if not low <= VERSION <= high:
            raise OtherVersion(f"wire versions {low} to {high} offered, {VERSION} is spoken here")
        return _M1_HEAD.size + 8 * int(kids) + 32 + (32 if suites & SEALED else 0)

    def _advance(self, message: bytes) -> bytes:
        return self._on_m3(message) if self._m1 else self._on_m1(message)

    def _on_m1(self, message: bytes) -> bytes:
        _, _, _, offered, kids = _M1_HEAD.unpack_from(message)
        common = offered & self._suites
        if not common:
            raise AuthenticationError(
                "no protection in common: HUBNET_WIRE or HUBNET_INTEGRITY differ, or one end cannot seal"
            )
        keys = None
        for number in range(kids):
            start = _M1_HEAD.size + 8 * number
            keys = keys or self._ring.get(message[start : start + 8])
        if keys is None:
            raise AuthenticationError("an unknown secret")
        suite = next(one for one in _IN_ORDER if common & one)
        point = self._exchange.public if suite == SEALED and self._exchange else b""
        self._m1 = message
        m2 = _M2_HEAD.pack(MAGIC, VERSION, suite, keys.kid) + self._nonce + point
        self._schedule(keys, m2, suite, message[-32:])
        return m2

    def _on_m3(self, message: bytes) -> bytes:
        digest, incarnation, wanted_digest, wanted_incarnation, tag = _M3.unpack(message)
        if not hmac.compare_digest(tag, self._tag(b"i>r", self._th, message[:-32])):
            raise AuthenticationError("the secret was not proved (same key id, or another namespace)")
        if self._ring.get(self._kid) is None:
            raise AuthenticationError("a secret that is accepted no more")
        foreign = Self(digest, incarnation)
        verdict = self._judge(digest)
        if incarnation == self.own.incarnation:
            verdict = SELF
        elif not _meets(Self(wanted_digest, wanted_incarnation), self.own):
            verdict = NOT_ME
        block = b"".join((*self.own, bytes((verdict,))))
        m4 = block + self._tag(b"r>i", _hash(self._th, message), block)
        self._finish(message, m4, initiator=False, foreign=foreign, verdict=verdict)
        return m4


def _meets(wanted: Self, found: Self) -> bool:
    same_id = wanted.digest in (ANY_ID, found.digest)
    return same_id and wanted.incarnation in (ANY_INCARNATION, found.incarnation)
