"""Sealing: X25519 and AES-256-GCM are those of the standards, and are looked for once."""

from __future__ import annotations

import builtins

import pytest

from hubnet.core import sealing

pytest.importorskip("cryptography")


def test_both_sides_of_an_exchange_share_a_secret_that_a_third_does_not():
    one, other, third = (sealing.Exchange(bytes((number,)) * 32) for number in (1, 2, 3))
    assert one.shared(other.public) == other.shared(one.public) != third.shared(one.public)
    assert len({one.public, other.public, third.public}) == 3


def test_the_exchange_is_that_of_rfc_7748():
    """Section 5.2: the u-coordinate 9 under the scalar 9, once."""
    nine = b"\x09" + bytes(31)
    assert sealing.Exchange(nine).public.hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"


def test_a_point_of_low_order_is_a_value_error():
    with pytest.raises(ValueError):
        sealing.Exchange(bytes(range(32))).shared(bytes(32))


def test_a_sealed_text_opens_with_its_header_only():
    cipher = sealing.cipher(bytes(32))
    sealed = cipher.encrypt(bytes(12), b"text", b"header")
    assert cipher.decrypt(bytes(12), sealed, b"header") == b"text"
    assert sealed.hex() == "bac23849f1809096a99a6f66852b1648a7d53b2c"


def test_without_the_package_sealing_is_not_available_and_that_is_asked_once(monkeypatch):
    asked = []
    true_import = builtins.__import__

    def no_cryptography(name, *args, **kwargs):
        if name.startswith("cryptography"):
            asked.append(name)
            raise ImportError(name)
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(sealing, "_available", None)
    monkeypatch.setattr(builtins, "__import__", no_cryptography)
    assert not sealing.available()
    assert not sealing.available()
    assert len(asked) == 1
