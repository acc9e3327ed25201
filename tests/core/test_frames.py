"""Frames: both suites round trip, and nothing replayed, moved, altered or cut opens."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core import frames, handshake
from hubnet.core.frames import HEADER, HEADER_SIZE, PIECE, PROOF
from hubnet.errors import EncodeError, RemoteProtocolError
from tests.core import ends
from tests.core.ends import NAMES, SUITES, linked

suite_of_each = pytest.mark.parametrize("suite", SUITES, ids=NAMES)
KIND_OF = {suite: type(frames.protection(ends.sessions(suite)[0])) for suite in SUITES}


def received(side: frames.Protection, wire: bytes) -> tuple[tuple[int, ...], bytes, bytes, list[bytes], bytes]:
    """One frame off the wire: numbers of its header, name, body, buffers, and what follows it."""
    length, kind, zero, count, named, depth, patience, remaining = HEADER.unpack_from(wire)
    assert zero == 0
    end = HEADER_SIZE + length
    opened = frames.split(named, count, side.open(wire[:HEADER_SIZE], wire[HEADER_SIZE:end]))
    buffers = []
    for size in opened.buffer_lengths:
        memory = b""
        for at in range(0, size, PIECE):
            piece = min(PIECE, size - at)
            on_wire = side.buffer_size(piece)
            memory += bytes(side.open_piece(wire[end : end + on_wire]))
            end += on_wire
        buffers.append(memory)
    return (kind, depth, patience, remaining), opened.name, bytes(opened.body), buffers, wire[end:]


def one(side: frames.Protection, body: bytes = b"body", name: bytes = b"tag") -> bytes:
    return side.small(frames.prefix(frames.REQUEST, name), body)


def joined(pieces) -> bytes:
    return b"".join(bytes(piece) for piece in pieces)


NUMBERS = st.tuples(
    st.integers(1, 7), st.integers(0, 65535), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
)  # kind, depth, patience, remaining


@given(st.sampled_from(SUITES), NUMBERS, st.binary(max_size=300), st.binary(max_size=2000))
def test_small_frames_round_trip(suite, numbers, name, body):
    near, far = linked(suite)
    kind, depth, patience, remaining = numbers
    wire = near.small(frames.prefix(kind, name, depth, patience, remaining), body)
    assert HEADER.unpack_from(wire) == (len(wire) - HEADER_SIZE, kind, 0, 0, len(name), depth, patience, remaining)
    assert bytes(far.open_small(wire)) == name + body


@given(st.sampled_from(SUITES), NUMBERS, st.binary(max_size=100), st.lists(st.binary(max_size=300), max_size=4))
def test_an_opener_opens_every_frame_that_begins_as_it_was_told(suite, numbers, name, bodies):
    near, far = linked(suite)
    prefix = frames.prefix(numbers[0], name, *numbers[1:])
    open_next = far.opener(prefix)
    for body in bodies:
        assert open_next(near.small(prefix, body)) == body
    assert open_next(b"") is None
    assert bytes(far.open_small(one(near))) == b"tagbody"


@given(st.sampled_from(SUITES), NUMBERS, NUMBERS, st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=99))
def test_an_opener_leaves_a_frame_that_begins_otherwise_whole(suite, numbers, others, name, other, body):
    near, far = linked(suite)
    prefix, another = frames.prefix(numbers[0], name, *numbers[1:]), frames.prefix(others[0], other, *others[1:])
    wire = near.small(another, body)
    opened = far.opener(prefix)(wire)
    if another == prefix:
        assert opened == body
    elif opened is None:
        assert bytes(far.open_small(wire)) == other + body
    else:  # sealed, and the names differ only
        assert (suite, numbers, len(name)) == (handshake.SEALED, others, len(other))
        assert opened == (other, body, ())
    assert bytes(far.open_small(one(near))) == b"tagbody"


@suite_of_each
def test_an_opener_takes_no_part_of_a_frame_and_not_two(suite):
    near, far = linked(suite)
    prefix = frames.prefix(frames.REQUEST, b"tag")
    open_next = far.opener(prefix)
    wire, following = one(near), one(near)
    for end in range(len(wire)):
        assert open_next(wire[:end]) is None
    assert open_next(wire + following) is None
    assert [open_next(wire), open_next(following)] == [b"body", b"body"]


@suite_of_each
@pytest.mark.parametrize("place", ["body", "proof"])
def test_an_opener_refuses_what_has_no_proof(suite, place):
    near, far = linked(suite)
    wire = one(near)
    bit = 8 * (HEADER_SIZE + len(b"tag")) if place == "body" else 8 * len(wire) - 1
    with pytest.raises(RemoteProtocolError):
        far.opener(frames.prefix(frames.REQUEST, b"tag"))(ends.flipped(wire, bit))


@given(
    st.sampled_from(SUITES),
    NUMBERS,
    st.binary(max_size=100),
    st.binary(max_size=200),
    st.lists(st.binary(max_size=300), max_size=5),
)
def test_frames_with_buffers_round_trip_and_so_does_the_next(suite, numbers, name, body, buffers):
    near, far = linked(suite)
    kind, depth, patience, remaining = numbers
    pieces = near.pack(
        kind, body, name=name, depth=depth, patience=patience, remaining=remaining,
        buffers=[memoryview(buffer) for buffer in buffers],
    )  # fmt: skip
    wire = joined(pieces) + one(near)
    assert received(far, wire) == (numbers, name, body, buffers, wire[-(HEADER_SIZE + PROOF + 7) :])
    assert bytes(far.open_small(wire[-(HEADER_SIZE + PROOF + 7) :])) == b"tagbody"


@suite_of_each
@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE])
def test_buffers_around_the_size_of_a_piece_round_trip(suite, size):
    near, far = linked(suite)
    data = bytes(range(256)) * (size // 256 + 1)
    wire = joined(near.pack(frames.RESULT, b"", buffers=[memoryview(data)[:size], memoryview(b"next")]))
    assert received(far, wire)[3] == [data[:size], b"next"]


@suite_of_each
@pytest.mark.parametrize("size", [frames.SMALL - 1, frames.SMALL, 1 << 16, (1 << 20) + 7])
def test_large_bodies_round_trip_both_ways_of_opening(suite, size):
    near, far = linked(suite)
    body = b"x" * size
    for _ in range(2):
        assert received(far, joined(near.pack(frames.RESULT, body)))[2] == body
    assert bytes(far.open_small(joined(near.pack(frames.RESULT, body)))) == body


@suite_of_each
def test_a_frame_may_be_opened_out_of_memory_of_any_kind(suite):
    for kind in (bytes, bytearray, lambda data: memoryview(bytearray(data))):
        near, far = linked(suite)
        wire = one(near)
        assert bytes(far.open(wire[:HEADER_SIZE], kind(wire[HEADER_SIZE:]))) == b"tagbody"


@suite_of_each
def test_both_directions_count_for_themselves(suite):
    near, far = linked(suite)
    for number in range(5):
        body = b"%d" % number
        assert bytes(far.open_small(one(near, body))) == b"tag" + body
        assert bytes(near.open_small(one(far, body))) == b"tag" + body


def test_the_sealed_suite_hides_names_bodies_and_buffers():
    near, _ = linked(handshake.SEALED)
    wire = joined(near.pack(frames.REQUEST, b"THE BODY", name=b"THE NAME", buffers=[memoryview(b"THE BUFFER")]))
    wire += one(near, b"THE BODY", b"THE NAME")
    assert b"THE " not in wire


def test_equal_frames_never_look_equal_twice():
    near, _ = linked(handshake.SEALED)
    assert one(near)[HEADER_SIZE:] != one(near)[HEADER_SIZE:]


@suite_of_each
def test_a_session_decides_its_protection(suite):
    near, _ = ends.sessions(suite)
    assert type(frames.protection(near)) is KIND_OF[suite]


def test_too_many_buffers_are_refused_with_advice():
    for suite in SUITES:
        near, _ = linked(suite)
        with pytest.raises(EncodeError, match="4096"):
            near.pack(frames.REQUEST, b"", buffers=[memoryview(b"")] * 4097)


@suite_of_each
def test_a_frame_that_was_refused_before_it_was_sent_does_not_break_the_link(suite):
    near, far = linked(suite)
    with pytest.raises(EncodeError):
        near.pack(frames.REQUEST, b"", buffers=[memoryview(b"")] * 4097)
    assert bytes(far.open_small(one(near))) == b"tagbody"


# -- attacks ---------------------------------------------------------------------------------------------------------


def opens_by_neither_way(suite: int, wire: bytes, before: int = 0) -> None:
    """Only RemoteProtocolError comes out, whichever way a link takes."""
    for whole in (True, False):
        near, far = linked(suite)
        for _ in range(before):
            far.open_small(one(near))
        with pytest.raises(RemoteProtocolError):
            if whole:
                far.open_small(wire)
            else:
                far.open(wire[:HEADER_SIZE], wire[HEADER_SIZE:])


@suite_of_each
def test_every_single_flipped_bit_of_a_frame_is_refused(suite):
    near, _ = linked(suite)
    wire = one(near)
    for bit in range(len(wire) * 8):
        opens_by_neither_way(suite, ends.flipped(wire, bit))


@suite_of_each
def test_a_replayed_frame_is_refused(suite):
    near, far = linked(suite)
    wire = one(near)
    far.open_small(wire)
    with pytest.raises(RemoteProtocolError):
        far.open_small(wire)


@suite_of_each
def test_a_dropped_frame_is_noticed_at_the_next(suite):
    near, far = linked(suite)
    one(near)
    with pytest.raises(RemoteProtocolError):
        far.open_small(one(near))


@suite_of_each
def test_frames_in_another_order_are_refused(suite):
    near, far = linked(suite)
    _, second = one(near), one(near)
    with pytest.raises(RemoteProtocolError):
        far.open_small(second)


@suite_of_each
def test_a_reflected_frame_is_refused(suite):
    near, _ = linked(suite)
    with pytest.raises(RemoteProtocolError):
        near.open_small(one(near))


@suite_of_each
def test_a_frame_of_another_link_is_refused(suite):
    near, _ = linked(suite)
    other = ends.shake(ends.initiator(suites=suite, seed=b"other"), ends.responder(suites=suite))
    with pytest.raises(RemoteProtocolError):
        frames.protection(other.far).open_small(one(near))


@suite_of_each
def test_once_a_frame_was_refused_the_right_one_comes_too_late(suite):
    """The counter has moved on: nothing can be tried again on the same link."""
    near, far = linked(suite)
    wire = one(near)
    with pytest.raises(RemoteProtocolError):
        far.open_small(ends.flipped(wire, 200))
    with pytest.raises(RemoteProtocolError):
        far.open_small(wire)


@suite_of_each
def test_every_cut_of_a_frame_is_refused(suite):
    near, _ = linked(suite)
    wire = one(near)
    for length in range(len(wire)):
        opens_by_neither_way(suite, wire[:length])


@suite_of_each
def test_the_bounds_between_name_lengths_and_body_are_proved(suite):
    """The same bytes under a header that cuts them elsewhere."""
    near, _ = linked(suite)
    wire = bytearray(one(near))
    wire[8:10] = (2).to_bytes(2, "little")
    opens_by_neither_way(suite, bytes(wire))


def test_an_altered_buffer_is_refused_by_the_sealed_suite():
    near, far = linked(handshake.SEALED)
    wire = joined(near.pack(frames.RESULT, b"", buffers=[memoryview(b"buffer")]))
    with pytest.raises(RemoteProtocolError):
        received(far, wire[:-1] + bytes((wire[-1] ^ 1,)))


def test_swapped_pieces_of_buffers_are_refused_by_the_sealed_suite():
    near, far = linked(handshake.SEALED)
    *head, first, second = near.pack(frames.RESULT, b"", buffers=[memoryview(b"1"), memoryview(b"2")])
    with pytest.raises(RemoteProtocolError):
        received(far, joined([*head, second, first]))


def test_a_buffer_offered_as_a_frame_is_refused_by_the_sealed_suite():
    near, far = linked(handshake.SEALED)
    pieces = list(near.pack(frames.RESULT, b"", buffers=[memoryview(b"buffer")]))
    far.open(bytes(pieces[0]), pieces[1])
    with pytest.raises(RemoteProtocolError):
        far.open(b"\0" * HEADER_SIZE, pieces[2])


def test_suite_1_proves_lengths_of_buffers_but_not_their_bytes():
    """As documented: HUBNET_WIRE=sealed and HUBNET_INTEGRITY=full cover them."""
    near, far = linked(handshake.TAGGED)
    wire = joined(near.pack(frames.RESULT, b"", buffers=[memoryview(b"buffer")]))
    assert received(far, wire[:-6] + b"BUFFER")[3] == [b"BUFFER"]
    near, far = linked(handshake.TAGGED)
    head, *rest = near.pack(frames.RESULT, b"", buffers=[memoryview(b"buffer")])
    longer = bytearray(head)
    longer[HEADER_SIZE] += 1
    with pytest.raises(RemoteProtocolError):
        received(far, joined([longer, *rest]))


@pytest.mark.parametrize("suite", [handshake.SEALED, handshake.TAGGED_WHOLE], ids=["sealed", "tagged whole"])
@pytest.mark.parametrize("size", [1, PIECE, PIECE + 1])
def test_the_other_suites_prove_every_byte_of_a_buffer_and_their_order(suite, size):
    def wire_of(*buffers: bytes) -> tuple[frames.Protection, bytes]:
        near, far = linked(suite)
        return far, joined(near.pack(frames.RESULT, b"", buffers=[memoryview(buffer) for buffer in buffers]))

    far, wire = wire_of(bytes(size), b"\1" * size)
    assert received(far, wire)[3] == [bytes(size), b"\1" * size]
    half = len(wire) - far.buffer_size(size)
    for place in (half - far.buffer_size(size), half - 1, half, len(wire) - PROOF - 1, len(wire) - 1):
        far, wire = wire_of(bytes(size), b"\1" * size)
        altered = bytearray(wire)
        altered[place] ^= 1
        with pytest.raises(RemoteProtocolError):
            received(far, bytes(altered))
    far, wire = wire_of(bytes(size), b"\1" * size)
    begin = half - far.buffer_size(size)
    with pytest.raises(RemoteProtocolError):
        received(far, wire[:begin] + wire[half:] + wire[begin:half])


@pytest.fixture
def short_epochs(monkeypatch):
    """A new key after every four frames or pieces."""
    monkeypatch.setattr(frames, "_EPOCH", 3)


def test_keys_of_a_sealed_link_change_at_the_same_frame_on_both_sides(short_epochs):
    near, far = linked(handshake.SEALED)
    keys = set()
    for number in range(30):
        body = bytes((number,)) * number
        if number % 3 == 0:
            wire = joined(near.pack(frames.RESULT, body, buffers=[memoryview(bytes(2 * PIECE + 1))]))
            assert received(far, wire)[2] == body
        elif number % 3 == 1:
            assert far.open_small(one(near, body, b"")) == body
        else:
            assert far.opener(frames.prefix(frames.REQUEST))(near.small(frames.prefix(frames.REQUEST), body)) == body
        assert near._send_key == far._receive_key
        keys.add(near._send_key)
    assert len(keys) == 15  # 60 frames and pieces
    assert near._receive_key == far._send_key  # the other direction has sent nothing


def test_what_was_sealed_under_one_key_does_not_open_under_the_next(short_epochs):
    near, far = linked(handshake.SEALED)
    wires = [one(near) for _ in range(5)]
    for wire in wires[:4]:
        far.open_small(wire)
    far._received = 4
    with pytest.raises(RemoteProtocolError):
        far.open_small(wires[0])
    far._received = 5
    with pytest.raises(RemoteProtocolError):
        far.open_small(wires[3])


def test_a_new_key_follows_from_the_one_before_and_not_the_other_way_round():
    near, _ = linked(handshake.SEALED)
    before = near._send_key
    near._rekey_sending()
    assert near._send_key == hmac.digest(before, b"hubnet/1 rekey\x01", "sha256")


@given(st.sampled_from(SUITES), st.integers(0, 2), st.data())
def test_mutated_frames_raise_nothing_but_remote_protocol_errors(suite, before, data):
    near, _ = linked(suite)
    for _ in range(before):
        one(near)
    body = data.draw(st.binary(max_size=64))
    buffers = [memoryview(buffer) for buffer in data.draw(st.lists(st.binary(max_size=16), max_size=3))]
    pieces = list(near.pack(frames.REQUEST, body, name=b"tag", buffers=buffers))
    valid = joined(pieces)[: HEADER_SIZE + HEADER.unpack_from(bytes(pieces[0]))[0]]
    out = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(out)))
        new = data.draw(st.binary(max_size=8))
        out[where : where + data.draw(st.integers(0, 8))] = new
    if bytes(out) != valid:
        opens_by_neither_way(suite, bytes(out), before)


def test_the_layout_of_the_header_is_that_of_version_1():
    assert HEADER_SIZE == 24
    packed = HEADER.pack(1, 2, 0, 3, 4, 5, 6, 7)
    assert packed.hex() == "010000000200030004000500060000000700000000000000"
    assert [frames.KINDS[kind] for kind in range(1, 8)] == [
        "hello",
        "request",
        "result",
        "raised",
        "flag",
        "refused",
        "bye",
    ]


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        (
            handshake.TAGGED,
            "170000000200000003000000000000000000000000000000746167626f6479592b5a81801e29087aeaa59bcc4cddb7",
        ),
        (
            handshake.SEALED,
            "17000000020000000300000000000000000000000000000061b7d89e2b904935103832613956f0994b9a7461066599",
        ),
        (
            handshake.TAGGED_WHOLE,
            "170000000200000003000000000000000000000000000000746167626f6479592b5a81801e29087aeaa59bcc4cddb7",
        ),
    ],
)
def test_the_first_two_frames_under_fixed_keys_are_those_of_version_1(suite, expected):
    """Known answers: a change here is a change of the wire, and needs another VERSION."""
    side = KIND_OF[suite](bytes(range(32)), bytes(range(32, 64)))
    one(side)
    assert one(side).hex() == expected
