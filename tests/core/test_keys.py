"""Secrets and keys: how a secret is spelled, which are refused, and what is derived from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core.keys import Keyring, NetKeys, derive, expand, extract, new_token, seed_of
from hubnet.errors import ConfigError
from tests.core.ends import OTHER_TOKEN, TOKEN

PHRASE = "correct horse battery staple"
PHRASE_SEED = bytes.fromhex(
    "e3eb72ca3f227d20bdcd2d10191c212d98c318cf2fb3623321cf930c558ad68b"
)  # in namespace "default"


@given(st.binary(min_size=32, max_size=32))
def test_a_token_spells_its_32_bytes(random32):
    token = new_token(random32)
    assert token.startswith("hubnet1-")
    assert token == token.lower()
    assert seed_of(token, "default") == seed_of(token, "other") == random32


@pytest.mark.parametrize("around", ["'{}'", '"{}"', "HUBNET_SECRET={}", "my {0}"])
def test_a_token_with_something_beside_it_is_no_passphrase(around):
    """It would make another secret than the token alone, on the one machine where the quotes stayed."""
    with pytest.raises(ConfigError, match="stands alone") as caught:
        seed_of(around.format(TOKEN), "default")
    assert TOKEN[8:] not in str(caught.value)


@given(st.integers(0, 57), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_mistyped_token_is_refused_without_repeating_it(at, character):
    body = TOKEN[len("hubnet1-") :]
    typed = "hubnet1-" + body[:at] + character + body[at + 1 :]
    if typed.lower() == TOKEN:
        return
    with pytest.raises(ConfigError, match="HUBNET_SECRET") as caught:
        seed_of(typed, "default")
    assert typed[8:] not in str(caught.value)


@pytest.mark.parametrize(
    "cut",
    [
        TOKEN[:-1],
        TOKEN + "a",
        "hubnet1-",
        TOKEN[:20],
        TOKEN * 2,
        "hubnet1-é",
    ],
)
def test_a_cut_or_lengthened_token_is_refused(cut):
    with pytest.raises(ConfigError, match="HUBNET_SECRET"):
        seed_of(cut, "default")


@pytest.mark.parametrize(
    "secret",
    ["", " ", "\n", "\ufeff", "\ufeff\r\n", "a", "secret", "changeme", "aaaaaaaaaaaaaaaaaaaa", "abababababababababab",
     "password12345678", "Password!!!!!!!!!!", "fifteen letters", "   short   padded by   ".strip()[:15]],
)  # fmt: skip
def test_blank_short_and_common_passphrases_are_refused_without_repeating_them(secret):
    with pytest.raises(ConfigError, match="HUBNET_SECRET") as caught:
        seed_of(secret, "default")
    if len(secret.strip()) > 6 and secret != "changeme":
        assert secret not in str(caught.value)


def test_a_passphrase_means_the_same_in_every_unicode_spelling():
    assert seed_of("crème brûlée au café", "d") == seed_of("cre\u0300me bru\u0302le\u0301e au cafe\u0301", "d")


def test_white_space_and_a_byte_order_mark_around_a_passphrase_do_not_count():
    assert seed_of(f"\ufeff{PHRASE}\r\n", "default") == PHRASE_SEED


def test_a_passphrase_gives_another_seed_in_each_namespace():
    assert seed_of(PHRASE, "other") != PHRASE_SEED


@pytest.mark.parametrize("around", ["\ufeff{}", " {}", "{}\n", "{} ", "\t{}\r\n"])
def test_a_mark_or_white_space_around_a_token_does_not_count(around):
    """Taken for a passphrase it would be another secret, without a word."""
    assert seed_of(around.format(TOKEN), "default") == bytes(range(32))


def test_a_token_in_capitals_is_the_same_secret():
    assert seed_of(TOKEN.upper(), "default") == bytes(range(32))


def test_no_key_serves_two_purposes_or_two_namespaces():
    seen = []
    for namespace in ("default", "other", "", "efault"):
        keys = derive(bytes(range(32)), namespace)
        seen += [keys.link, keys.event, keys.record]
    assert len(set(seen)) == len(seen)
    assert bytes(32) not in seen


def test_the_key_id_does_not_tell_the_namespace_of_a_token():
    assert derive(bytes(32), "one").kid == derive(bytes(32), "two").kid


def test_keys_are_not_shown():
    keys = derive(bytes(range(32)), "default")
    shown = f"{keys!r} {keys} {[keys]}"
    for key in keys[1:]:
        assert key.hex() not in shown
        assert repr(key) not in shown


def test_the_derivation_is_hkdf_of_rfc_5869():
    """Test case 1 of the RFC's appendix A."""
    prk = extract(bytes.fromhex("000102030405060708090a0b0c"), bytes([0x0B]) * 22)
    assert prk.hex() == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    okm = expand(prk, bytes.fromhex("f0f1f2f3f4f5f6f7f8f9"), 42)
    assert okm.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"


def test_the_keys_of_a_fixed_token_are_those_of_version_1():
    """Known answers: a change here locks every peer out of its net."""
    assert TOKEN == "hubnet1-aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dyprmxjtjy"
    keys = derive(seed_of(TOKEN, "default"), "default")
    assert [key.hex() for key in keys] == [
        "4b6b4b8c27c0cb2c",
        "cf3ccbe08fa00b4e3d5eb2ab5b494365dee8b15f3224fb3826394b02336a9dc1",
        "ae768e775cbecc95f608bf1d84591a5822134bc677537e5a57e2eef0b5dcc226",
        "9a77001f659c367bd1585f4ddb98b4931bea1f1692da5008ea70acb8f40c127f",
    ]


def test_the_seed_of_a_fixed_passphrase_is_that_of_version_1():
    assert seed_of(PHRASE, "default") == PHRASE_SEED


def test_the_first_secret_of_a_ring_is_used_and_all_are_accepted():
    ring = Keyring.of([TOKEN, OTHER_TOKEN], "default")
    first, second = (derive(seed_of(secret, "default"), "default") for secret in (TOKEN, OTHER_TOKEN))
    assert ring.first == first
    assert ring.get(first.kid) == first
    assert ring.get(second.kid) == second
    assert ring.get(bytes(8)) is None


def test_an_empty_ring_says_which_variable_is_missing():
    with pytest.raises(ConfigError, match="HUBNET_SECRET"):
        Keyring([])


def test_a_secret_given_twice_does_no_harm():
    assert isinstance(Keyring.of([TOKEN, TOKEN], "d").first, NetKeys)
