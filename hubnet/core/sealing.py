"""AES-256-GCM and X25519, where the package cryptography is installed.

It is imported only when asked for: that costs 29 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_available: bool | None = None


def available() -> bool:
    """Whether this interpreter can seal."""
    global _available
    if _available is None:
        try:
            Exchange(bytes(32))  # used once, because the package imports its backend on first use
            cipher(bytes(32))
            _available = True
        except ImportError:
            _available = False
    return _available


def cipher(key: bytes) -> AESGCM:
    """AES-256-GCM under this key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


class Exchange:
    """One side's ephemeral X25519 key."""

    def __init__(self, private: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        self._private = X25519PrivateKey.from_private_bytes(private)
        self.public: bytes = self._private.public_key().public_bytes_raw()

    def shared(self, foreign: bytes) -> bytes:
        """The shared secret with the other side's public key.

        Raises:
            ValueError: the point is of low order.
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        return self._private.exchange(X25519PublicKey.from_public_bytes(foreign))
