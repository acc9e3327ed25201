"""Signatures of records: an HMAC over the record's canonical JSON, namespace and id included by key and field."""

from __future__ import annotations

import json
from hmac import compare_digest, digest
from typing import Any

from hubnet.core.keys import Keyring
from hubnet.errors import AuthenticationError

_FIELD = "signature"


def canonical(record: dict[str, Any]) -> bytes:
    """One spelling for equal records."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def sign(record: dict[str, Any], place: str, ring: Keyring) -> str:
    """The record as signed JSON that stands in this place (a hash and a field) and nowhere else."""
    keys = ring.first
    bare = {name: value for name, value in record.items() if name != _FIELD}
    proof = _proof(keys.record, place, canonical(bare))
    return json.dumps({**bare, _FIELD: f"{keys.kid.hex()}:{proof.hex()}"}, sort_keys=True)


def verify(text: str | bytes, place: str, ring: Keyring) -> dict[str, Any]:
    """The record out of signed JSON found in this place.

    Raises:
        AuthenticationError: it was not signed by a holder of the secret, or for another place.
    """
    try:
        record = json.loads(text)
        kid, _, proof = str(record.pop(_FIELD)).partition(":")
        keys = ring.get(bytes.fromhex(kid))
        good = keys is not None and compare_digest(_proof(keys.record, place, canonical(record)), bytes.fromhex(proof))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        good = False
    if not good:
        raise AuthenticationError(f"a record in {place} without a valid signature")
    assert isinstance(record, dict)
    return record


def _proof(key: bytes, place: str, body: bytes) -> bytes:
    where = place.encode()
    return digest(key, b"hubnet/1 record" + len(where).to_bytes(4, "big") + where + body, "sha256")[:16]
