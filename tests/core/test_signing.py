"""Signed records: one place, one content, one net."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core.keys import Keyring
from hubnet.core.signing import canonical, sign, verify
from hubnet.errors import AuthenticationError
from tests.core.ends import OTHER_TOKEN, RING, TOKEN, flipped

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
RECORDS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "signature"),
    VALUES | st.lists(VALUES, max_size=3) | st.dictionaries(st.text(max_size=4), VALUES, max_size=3),
    max_size=6,
)
RECORD = {"host": "10.0.0.1", "port": 3010, "group": "réndér", "load": 0.1, "tags": ["a", "b"]}


@given(RECORDS, st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_a_signed_record_comes_back_as_it_was(record, place):
    text = sign(record, place, RING)
    assert verify(text, place, RING) == record
    assert verify(text.encode(), place, RING) == record


def test_a_record_is_readable_json_of_ascii():
    text = sign(RECORD, "key|field", RING)
    assert text.isascii()
    assert json.loads(text).items() >= RECORD.items()


def test_signing_again_replaces_the_signature():
    once = json.loads(sign(RECORD, "a", RING))
    assert verify(sign(once, "b", RING), "b", RING) == RECORD


def test_equal_records_have_one_spelling():
    assert canonical({"a": 1, "b": {"d": 1, "c": 2}}) == canonical({"b": {"c": 2, "d": 1}, "a": 1})


@pytest.mark.parametrize("place", ["key|other", "other|field", "key|fiel", "key|fieldd", "", "k|eyfield"])
def test_a_record_stands_in_its_place_and_nowhere_else(place):
    with pytest.raises(AuthenticationError):
        verify(sign(RECORD, "key|field", RING), place, RING)


def test_no_flipped_bit_changes_what_a_record_says():
    """White space and the spelling of names are not signed; what they say is."""
    text = sign(RECORD, "key|field", RING).encode()
    for bit in range(len(text) * 8):
        try:
            said = verify(flipped(text, bit), "key|field", RING)
        except AuthenticationError:
            continue
        assert said == RECORD


@pytest.mark.parametrize("ring", [Keyring.of([OTHER_TOKEN], "default"), Keyring.of([TOKEN], "other")])
def test_another_net_does_not_believe_it(ring):
    with pytest.raises(AuthenticationError):
        verify(sign(RECORD, "key|field", RING), "key|field", ring)


def test_every_accepted_secret_verifies():
    ring = Keyring.of([OTHER_TOKEN, TOKEN], "default")
    assert verify(sign(RECORD, "p", RING), "p", ring) == RECORD


JUNK = [
    "", "null", "1", "[]", '"text"', "{}", '{"signature": 5}', '{"signature": ""}', '{"signature": ":"}',
    '{"signature": "zz:zz"}', '{"signature": null}', '["signature"]', b"\xff\xfe", '{"a": NaN}', "{",
    f'{{"signature": "{RING.first.kid.hex()}:"}}', f'{{"signature": "{RING.first.kid.hex()}:{"00" * 16}"}}',
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_an_authentication_error(junk):
    with pytest.raises(AuthenticationError):
        verify(junk, "p", RING)


def test_deeply_nested_junk_is_an_authentication_error():
    with pytest.raises(AuthenticationError):
        verify("[" * 100_000, "p", RING)


@given(st.data())
def test_mutated_records_are_an_authentication_error_or_say_the_same(data):
    out = bytearray(sign(RECORD, "p", RING).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, len(out)))
        out[where : where + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    try:
        assert verify(bytes(out), "p", RING) == RECORD
    except AuthenticationError:
        pass


def test_the_signature_of_a_fixed_record_is_that_of_version_1():
    """A known answer: a change here makes every record of a running net invalid."""
    assert (
        json.loads(sign(RECORD, "key|field", RING))["signature"] == "4b6b4b8c27c0cb2c:08e101f52c855dfa78435a3c0011bcd5"
    )
