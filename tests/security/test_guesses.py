"""Guessing offline, shown to be possible: nothing but the entropy of the secret protects it from who overheard a handshake."""

from __future__ import annotations

import hashlib

import pytest

from benchmarks import guesses
from hubnet.core import handshake, keys
from hubnet.core.keys import new_token, seed_of

PASSPHRASE = "render farm 2026"
WORDS = ["render farm 2025", PASSPHRASE, "render-farm-2026"]
SUITES = pytest.mark.parametrize("suite", [handshake.TAGGED, handshake.SEALED, handshake.TAGGED_WHOLE])


@pytest.fixture(scope="module")
def seeds() -> dict[str, bytes]:
    return {word: seed_of(word, guesses.NAMESPACE) for word in WORDS}


@SUITES
def test_a_dictionary_finds_a_poor_passphrase_in_a_recorded_handshake(suite, seeds, monkeypatch):
    """Attack 36. By the first message alone, X25519 or not: no handshake without a PAKE can hide it."""
    monkeypatch.setattr(keys, "seed_of", lambda word, _: seeds[word])  # stretched once for all suites
    seen = guesses.recorded(PASSPHRASE, suite)
    assert guesses.found(WORDS, seen) == PASSPHRASE
    assert guesses.found([word for word in WORDS if word != PASSPHRASE], seen) is None


@SUITES
def test_the_proof_tells_a_guess_where_no_x25519_takes_part(suite):
    """Attack 36. What is left to who overhears a sealed link is the key's id."""
    right, wrong = bytes(range(32)), bytes(32)
    seen = guesses.recorded(new_token(right), suite)
    assert guesses.told_by_proof(right, seen) == (suite != handshake.SEALED)
    assert not guesses.told_by_proof(wrong, seen)
    assert guesses.told_by_key_id(right, seen)
    assert not guesses.told_by_key_id(wrong, seen)


def test_a_guess_at_a_passphrase_costs_the_plans_stretching(monkeypatch):
    """Attack 36. 2^15, 8 and 3: 32 MiB and a quarter of a second; a table for one namespace is of no use in another."""
    asked = []
    monkeypatch.setattr(hashlib, "scrypt", lambda text, **how: asked.append((text, how)) or bytes(32))
    seed_of(PASSPHRASE, "one")
    seed_of(PASSPHRASE, "other")
    assert [(how["n"], how["r"], how["p"]) for _, how in asked] == [(1 << 15, 8, 3)] * 2
    assert asked[0][1]["salt"] != asked[1][1]["salt"]


def test_the_figures_are_measured():
    """Attack 36. How many guesses a second is the machine's business; that stretching makes them fewer is ours."""
    measured = guesses.rates(0.05)
    assert measured["a token's seed"] > 20 * measured["a passphrase"]
