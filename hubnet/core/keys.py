"""From the shared secret to one key per purpose.

A secret is a token (32 random bytes, spelled with a prefix and a checksum) or a passphrase, which is stretched. No key
is ever used for two purposes: links, events and records each have their own, and each namespace has others again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32decode, b32encode
from collections.abc import Iterable
from typing import NamedTuple

from hubnet.errors import ConfigError

TOKEN_PREFIX = "hubnet1-"  # noqa: S105 - a prefix, no secret
_SALT = b"hubnet/1"
_COMMON = (
    "password", "passwd", "secret", "changeme", "hubnet", "monster", "default", "letmein", "admin", "welcome", "iloveyou",
    "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertz", "azerty", "01234567890", "0987654321",
    "abcdef",
)  # fmt: skip
_LEAST_UNCOMMON = 6


class NetKeys(NamedTuple):
    """The keys that one secret gives in one namespace; never shown."""

    kid: bytes
    link: bytes
    event: bytes
    record: bytes

    def __repr__(self) -> str:
        return f"NetKeys(kid={self.kid.hex()})"


def extract(salt: bytes, material: bytes) -> bytes:
    """HKDF-Extract with SHA-256."""
    return hmac.digest(salt, material, "sha256")


def expand(key: bytes, label: bytes, length: int = 32) -> bytes:
    """HKDF-Expand with SHA-256, at most 255 blocks of 32 bytes."""
    block, out, number = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(key, block + label + bytes((number,)), "sha256")
        out, number = out + block, number + 1
    return out[:length]


def new_token(random32: bytes) -> str:
    """Spell 32 random bytes as a secret that can be typed and checked."""
    checksum = hashlib.sha256(b"hubnet/1 token" + random32).digest()[:4]
    return TOKEN_PREFIX + b32encode(random32 + checksum).decode().rstrip("=").lower()


def seed_of(secret: str, namespace: str) -> bytes:
    """The 32 bytes behind a token or a passphrase.

    Raises:
        ConfigError: mistyped token; blank, short or common passphrase. The text never repeats the secret.
    """
    secret = secret.strip("\ufeff \t\r\n")
    if secret.lower().startswith(TOKEN_PREFIX):
        return _token_seed(secret.lower())
    if re.search(TOKEN_PREFIX + "[a-z2-7]{32}", secret.lower()):
        raise ConfigError("HUBNET_SECRET: a token and something beside it, such as quotes: a token stands alone")
    import unicodedata  # costs a megabyte: only passphrases need it

    text = unicodedata.normalize("NFKC", secret)
    if len(text) < 16 or len(set(text)) < 5 or len(_uncommon(text)) < _LEAST_UNCOMMON:
        raise ConfigError(
            "HUBNET_SECRET: blank, short or common; allowed: a token as `hubnet secret new` prints it, "
            "or a passphrase of at least 16 characters"
        )
    salt = hashlib.sha256(b"hubnet/1 passphrase" + namespace.encode()).digest()
    return hashlib.scrypt(text.encode(), salt=salt, n=1 << 15, r=8, p=3, dklen=32, maxmem=1 << 27)


def _uncommon(text: str) -> str:
    """What is left of a passphrase without the words, rows and figures that are guessed first: beginnings of four count."""
    rest = text.lower()
    for word in sorted(_COMMON, key=len, reverse=True):
        for length in range(len(word), 3, -1):
            rest = rest.replace(word[:length], "")
    return rest.strip("0123456789!-_. ")


def _token_seed(token: str) -> bytes:
    body = token[len(TOKEN_PREFIX) :].upper()
    try:
        raw = b32decode(body + "=" * (-len(body) % 8))
    except ValueError:  # binascii.Error is one
        raw = b""
    if len(raw) != 36 or new_token(raw[:32]) != token.lower():
        raise ConfigError("HUBNET_SECRET: mistyped token, its checksum does not fit; copy it again, whole")
    return raw[:32]


def derive(seed: bytes, namespace: str) -> NetKeys:
    """The keys of this namespace."""
    net = extract(_SALT, seed)
    name = namespace.encode()
    return NetKeys(
        expand(net, b"kid", 8),
        expand(net, b"link" + name),
        expand(net, b"event" + name),
        expand(net, b"record" + name),
    )


class Keyring:
    """The accepted secrets of a peer: the first dials and signs, all verify. Others may take their place at any time.

    Attributes:
        keys: of all secrets by key id, the first one's first; another dict once they have changed.
    """

    def __init__(self, keys: Iterable[NetKeys]) -> None:
        self.replace(keys)

    def replace(self, keys: Iterable[NetKeys]) -> None:
        """Take these from now on, for whatever is dialled, accepted, signed or verified next."""
        by_kid = {key.kid: key for key in keys}
        if not by_kid:
            raise ConfigError("HUBNET_SECRET: no secret given; set it, or HUBNET_SECRET_FILE, on every peer of the net")
        self.keys = by_kid

    @property
    def first(self) -> NetKeys:
        """The key that signs."""
        return next(iter(self.keys.values()))

    def get(self, kid: bytes) -> NetKeys | None:
        """The key with this id, or None."""
        return self.keys.get(kid)

    @classmethod
    def of(cls, secrets: Iterable[str], namespace: str) -> Keyring:
        """The ring of these secrets in this namespace."""
        return cls(derive(seed_of(secret, namespace), namespace) for secret in secrets)
