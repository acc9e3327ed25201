"""Envelopes: what one publisher packs another peer opens, and nothing else opens."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core.envelopes import Opener, Packer, Sender
from hubnet.core.keys import Keyring
from hubnet.errors import AuthenticationError
from tests.core.ends import ALICE_ID, OTHER_TOKEN, RING, TOKEN, flipped

SENDER = Sender(ALICE_ID, b"alice's process.", True, "boot/ns")
CHANNEL = b"hubnet:default:event:render:frame_done"


def packed(bodies=(b"one", b"", b"three"), first=7, channel=CHANNEL, ring=RING, sender=SENDER) -> bytes:
    return Packer(sender, ring).pack(channel, first, list(bodies))


@given(st.lists(st.binary(max_size=80), max_size=20), st.integers(0, 2**63), st.binary(max_size=60))
def test_what_was_packed_comes_out(bodies, first, channel):
    envelope = Opener(RING).open(channel, packed(bodies, first, channel))
    assert envelope.sender == SENDER
    assert (envelope.first, envelope.size) == (first, len(bodies))
    assert [bytes(body) for body in envelope.bodies()] == bodies


def test_an_envelope_of_no_events_tells_the_next_number():
    envelope = Opener(RING).open(CHANNEL, packed([], first=41))
    assert (envelope.first, envelope.size, list(envelope.bodies())) == (41, 0, [])


def test_an_opener_tells_its_publishers_apart():
    opener = Opener(RING)
    for number in range(3):
        sender = SENDER._replace(incarnation=b"%016d" % number, hub=bool(number % 2), machine=f"m{number}")
        for _ in range(2):
            assert opener.open(CHANNEL, packed(sender=sender)).sender == sender


def test_an_opener_reads_what_a_publisher_says_of_itself_once():
    opener = Opener(RING)
    assert opener.open(CHANNEL, packed()).sender is opener.open(CHANNEL, packed()).sender


@pytest.mark.parametrize("channel", [b"", CHANNEL[:-1], CHANNEL + b"x", b"hubnet:other:event:render:frame_done"])
def test_an_envelope_opens_on_its_channel_only(channel):
    with pytest.raises(AuthenticationError):
        Opener(RING).open(channel, packed())


def test_bytes_cannot_move_between_channel_and_envelope():
    data = packed(channel=b"ab")
    with pytest.raises(AuthenticationError):
        Opener(RING).open(b"abH", data[1:])


@pytest.mark.parametrize("ring", [Keyring.of([OTHER_TOKEN], "default"), Keyring.of([TOKEN], "other")])
def test_another_net_does_not_open_it(ring):
    with pytest.raises(AuthenticationError):
        Opener(ring).open(CHANNEL, packed())


def test_every_accepted_secret_opens():
    opener = Opener(Keyring.of([OTHER_TOKEN, TOKEN], "default"))
    assert opener.open(CHANNEL, packed()).size == 3
    assert opener.open(CHANNEL, packed(ring=Keyring.of([OTHER_TOKEN], "default"))).size == 3


def test_keys_of_links_and_records_sign_no_envelope():
    for key in (RING.first.link, RING.first.record):
        with pytest.raises(AuthenticationError):
            Opener(RING).open(CHANNEL, packed(ring=Keyring([RING.first._replace(event=key)])))


def test_every_single_flipped_bit_is_refused():
    opener, data = Opener(RING), packed()
    for bit in range(len(data) * 8):
        with pytest.raises(AuthenticationError):
            opener.open(CHANNEL, flipped(data, bit))


def test_every_cut_and_every_extension_is_refused():
    opener, data = Opener(RING), packed()
    for length in range(len(data)):
        with pytest.raises(AuthenticationError):
            opener.open(CHANNEL, data[:length])
    with pytest.raises(AuthenticationError):
        opener.open(CHANNEL, data + b"\0")


@given(st.data())
def test_mutated_envelopes_raise_nothing_but_authentication_errors(data):
    valid = packed()
    out = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(out)))
        out[where : where + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    if bytes(out) != valid:
        with pytest.raises(AuthenticationError):
            Opener(RING).open(CHANNEL, bytes(out))


@given(st.binary(max_size=200))
def test_noise_is_an_authentication_error(noise):
    for data in (noise, b"HUBE" + noise):
        with pytest.raises(AuthenticationError):
            Opener(RING).open(CHANNEL, data)


def test_a_fixed_envelope_is_that_of_version_1():
    """A known answer: a change here is a change of the wire."""
    assert hashlib.sha256(packed()).hexdigest()[:32] == "c1f9587213c0518e4aac2f623f0333fb"
