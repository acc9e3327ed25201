"""Attacks on the frames of an authenticated link, by somebody on the way who has recorded all of it and has no key.

The property throughout: what is delivered is what was sent, in its order, up to some point and nothing behind it. A
link reads here as it does in life, from a stream in memory.
"""

from __future__ import annotations

import hashlib
import hmac
from itertools import permutations, product

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hubnet.core import frames, handshake
from hubnet.core.envelopes import Opener, Packer, Sender
from hubnet.core.frames import BYE, HEADER, HEADER_SIZE, HELLO, PIECE, PLAIN_RESULT, PROOF, REQUEST, RESULT
from hubnet.core.signing import sign, verify
from hubnet.errors import MAYBE, NO, AuthenticationError, EncodeError, PeerLost, RemoteProtocolError
from hubnet.links.link import Link
from hubnet.memory.stream import Medium, pair
from tests.core import ends
from tests.core.ends import ALICE_ID, ANYBODY, RING, linked
from tests.security.by_hand import NAMES, SUITES
from tests.security.hearing import Message, heard, heard_hot

NAME = b"tag"
PREFIX = frames.prefix(REQUEST, NAME)
CHANNEL = b"hubnet:default:event:render:done"

suite_of_each = pytest.mark.parametrize("suite", SUITES, ids=list(NAMES))


def request(number: int) -> Message:
    return Message(REQUEST, NAME, b"request %d" % number)


def spoken(side: frames.Protection, count: int) -> list[bytes]:
    """Small requests, as they lie on the wire."""
    return [side.small(PREFIX, request(number).body) for number in range(count)]


def with_buffers(side: frames.Protection, *buffers: bytes) -> list[bytes]:
    """A result with buffers, piece by piece."""
    return [bytes(piece) for piece in side.pack(RESULT, b"body", buffers=[memoryview(one) for one in buffers])]


@suite_of_each
def test_the_readers_of_these_tests_hear_what_was_sent(suite):
    """Else every refusal below would prove nothing. However the stream is cut into reads."""
    sent = [request(number) for number in range(4)]
    near, far = linked(suite)
    assert heard_hot(far, spoken(near, 4), PREFIX).messages == sent
    for size in (1, 7, 24, 41, 1000):
        near, far = linked(suite)
        wire = b"".join(spoken(near, 4))
        found = heard(far, [wire[at : at + size] for at in range(0, len(wire), size)])
        assert found.messages == sent
        assert not found.refused


@suite_of_each
def test_any_choice_of_recorded_frames_is_believed_only_as_far_as_it_is_what_was_sent(suite):
    """Attack 19. All sequences of up to four out of four frames: replayed, dropped, doubled, in another order."""
    sent = [request(number) for number in range(4)]
    for length in range(1, 5):
        for chosen in product(range(4), repeat=length):
            good = next((at for at, number in enumerate(chosen) if at != number), length)
            for hear in (heard, lambda side, wire: heard_hot(side, wire, PREFIX)):
                near, far = linked(suite)
                recorded = spoken(near, 4)
                found = hear(far, [recorded[number] for number in chosen])
                assert found.messages == sent[:good], chosen
                assert found.refused == (good < length), chosen


@suite_of_each
def test_no_frame_can_be_put_into_a_link_that_was_recorded_on_another(suite):
    """Attack 19. The same two peers, the same place in the conversation, the same words."""
    others = ends.shake(ends.initiator(suites=suite, seed=b"other"), ends.responder(suites=suite, seed=b"other"))
    for at in range(3):
        near, far = linked(suite)
        other = spoken(frames.protection(others.near), 3)
        wire = spoken(near, 3)
        found = heard(far, [*wire[:at], other[at], *wire[at:]])
        assert found.messages == [request(number) for number in range(at)]
        assert found.refused


@suite_of_each
@pytest.mark.parametrize("dropped", [1, 2, 3])
def test_a_link_whose_first_frames_were_cut_away_is_refused_at_the_next(suite, dropped):
    """Attack 20, Terrapin. Nothing counts before the first frame, so nothing put in makes up for what is gone."""
    near, far = linked(suite)
    found = heard(far, spoken(near, 4)[dropped:])
    assert (found.messages, found.refused) == ([], True)


@suite_of_each
def test_bytes_put_in_behind_the_handshake_are_the_first_frame_and_are_refused(suite):
    """Attack 20. Together with as many frames cut away as one likes."""
    for junk, dropped in product(
        [b"HUB1", bytes(HEADER_SIZE), HEADER.pack(PROOF, BYE, 0, 0, 0, 0, 0, 0) + bytes(PROOF)], (0, 1)
    ):
        near, far = linked(suite)
        found = heard(far, spoken(near, 3)[dropped:], leftover=junk)
        assert (found.messages, found.refused) == ([], True)


def linked_in_memory(suite: int) -> tuple[Link, Link]:
    """Two links on one stream."""
    one, other = pair(Medium(), "near", "far")
    near, far = linked(suite)
    return Link(one, near, ANYBODY, suite), Link(other, far, ANYBODY, suite)


@suite_of_each
def test_bytes_put_in_behind_a_frame_are_refused_on_the_hot_way_as_well(suite):
    """Attack 20. They came in one read with an answer, and stand before the next."""
    near, far = linked_in_memory(suite)
    far.send([far.protection.small(PLAIN_RESULT, b"answer") + b"nobody proved this"])
    assert near.exchange_plain(PREFIX, b"body").body == b"answer"
    far.send([far.protection.small(PLAIN_RESULT, b"another")])
    with pytest.raises(PeerLost, match="rules of the wire"):
        near.exchange_plain(PREFIX, b"body")


@suite_of_each
def test_a_goodbye_that_arrives_in_two_reads_is_a_goodbye_on_the_hot_way_as_well(suite):
    """Attack 21. Whoever cuts a segment there turns "did not run" into "may have run"."""
    near, far = linked_in_memory(suite)
    answer, (bye,) = far.protection.small(PLAIN_RESULT, b"answer"), far.protection.pack(BYE, b"")
    far.send([answer + bye[:10]])
    assert near.exchange_plain(PREFIX, b"body").body == b"answer"
    far.send([bye[10:]])
    with pytest.raises(PeerLost) as caught:
        near.exchange_plain(PREFIX, b"body")
    assert caught.value.ran == NO


@suite_of_each
def test_a_stream_cut_anywhere_is_lost_and_never_a_clean_end(suite):
    """Attack 21. Behind any byte, with the clean end of a TCP stream; whole frames before the cut are delivered."""
    near, far = linked(suite)
    pieces = [*spoken(near, 1), b"".join(with_buffers(near, b"buffer", b"another")), *spoken(near, 1)]
    wire = b"".join(pieces)
    ends_at = [len(b"".join(pieces[:count])) for count in range(4)]
    for length in range(len(wire)):
        _, far = linked(suite)
        found = heard(far, [wire[:length]])
        assert isinstance(found.error, PeerLost)
        assert found.error.ran == MAYBE
        assert len(found.messages) == sum(1 for end in ends_at[1:] if end <= length)


@suite_of_each
def test_a_goodbye_is_believed_with_its_proof_only(suite):
    """Attack 21. Else whoever cuts a link could make it look as if its peer had left."""
    near, far = linked(suite)
    (bye,) = near.pack(BYE, b"")
    assert [message.kind for message in heard(far, [bytes(bye)]).messages] == [BYE]
    for forged in (bytes(PROOF), bytes(bye)[-PROOF:], b"\xff" * PROOF):
        near, far = linked(suite)
        first = spoken(near, 1)
        found = heard(far, [*first, HEADER.pack(PROOF, BYE, 0, 0, 0, 0, 0, 0) + forged])
        assert found.messages == [request(0)]
        assert found.refused


@suite_of_each
def test_frames_sent_back_to_who_sent_them_are_refused(suite):
    """Attack 22. At any place of the conversation, with both directions equally far."""
    for said in range(4):
        near, far = linked(suite)
        wire = spoken(near, said + 1)
        answers = spoken(far, said)
        found = heard(near, [*answers, wire[said]])
        assert found.messages == [request(number) for number in range(said)]
        assert found.refused


@suite_of_each
@pytest.mark.parametrize("kind", [HELLO, REQUEST, RESULT, BYE])
def test_every_bit_of_every_frame_is_proved_but_the_buffers_of_suite_1(suite, kind):
    """Attacks 19 and 26. A flip anywhere but there, and neither this frame nor anything behind it is delivered."""
    buffers = (b"buffer", b"another one")
    near, _ = linked(suite)
    pieces = [bytes(one) for one in near.pack(kind, b"body", name=NAME, buffers=[memoryview(one) for one in buffers])]
    after = near.small(PREFIX, b"after")
    wire = b"".join(pieces)
    covered = len(wire) if suite == handshake.SEALED else len(wire) - sum(map(len, buffers))
    for bit in range(covered * 8):
        _, far = linked(suite)
        found = heard(far, [ends.flipped(wire, bit) + after])
        assert found.messages == [], f"bit {bit}"


@pytest.mark.parametrize("size", [1, 17, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 3])
def test_an_altered_buffer_never_arrives_in_suite_2(size):
    """Attack 26. At the ends of its pieces and of their proofs, and in the middle."""
    near, _ = linked(handshake.SEALED)
    head, rest, *pieces = with_buffers(near, b"x" * size)
    frame, sealed = head + rest, b"".join(pieces)
    assert len(sealed) == size + PROOF * -(-size // PIECE)
    last = len(sealed) - 1
    for at in {0, size // 2, size - 1, size, last, min(PIECE, last), min(PIECE + PROOF, last)}:
        _, far = linked(handshake.SEALED)
        found = heard(far, [frame + ends.flipped(sealed, at * 8)])
        assert (found.messages, found.refused) == ([], True)


def test_pieces_of_buffers_cannot_change_places_in_suite_2():
    """Attack 26. Neither within a buffer, nor between buffers, nor between frames."""
    near, _ = linked(handshake.SEALED)
    head, rest, *pieces = with_buffers(near, b"a" * 2 * PIECE, b"b" * PIECE)
    for order in permutations(range(3)):
        _, far = linked(handshake.SEALED)
        found = heard(far, [b"".join([head, rest, *(pieces[at] for at in order)])])
        assert bool(found.messages) == (order == (0, 1, 2))
    head, rest, piece = with_buffers(near, b"c" * PIECE)
    _, far = linked(handshake.SEALED)
    assert heard(far, [b"".join([head, rest, piece])]).messages == []


def test_a_buffer_altered_in_suite_1_arrives_as_altered_and_nothing_else_moves():
    """Attack 26, its limit, as documented: suite 1 proves how long buffers are, not what is in them."""
    near, far = linked(handshake.TAGGED)
    *frame, one, other = with_buffers(near, b"buffer", b"another")
    after = spoken(near, 1)
    found = heard(far, [b"".join([*frame, b"BUFFER", other, *after])])
    assert found.messages == [Message(RESULT, b"", b"body", (b"BUFFER", b"another")), request(0)]
    for shorter_or_longer in (one[:-1], one + b"!", one + other, b""):
        near, far = linked(handshake.TAGGED)
        pieces = [*with_buffers(near, b"buffer", b"another"), *spoken(near, 1)]
        found = heard(far, [b"".join([*pieces[:2], pieces[2], shorter_or_longer, *pieces[4:]])])
        assert request(0) not in found.messages


# -- one key, one purpose --------------------------------------------------------------------------------------------


def kept(key: bytes, person: bytes, data: bytes) -> bytes:
    return hmac.new(key, person + data, hashlib.sha256).digest()[:16]


PROOFS_OF = {"a frame": b"hubnet/1 frame", "an event": b"hubnet/1 event", "a record": b"hubnet/1 record"}


@pytest.mark.parametrize(("what", "person"), PROOFS_OF.items(), ids=PROOFS_OF)
@pytest.mark.parametrize("key", ["its own", *RING.first._fields[1:]])
def test_a_frame_is_proved_by_the_key_and_the_label_of_frames_alone(what, person, key):
    """Attack 23. An event's or a record's proof of the very same bytes, by any key of the net, is none of a frame."""
    near, far = ends.sessions(handshake.HASHED)
    said = spoken(frames.protection(near), 1)[0][:-PROOF]
    used = near.send_key if key == "its own" else getattr(RING.first, key)
    found = heard(frames.protection(far), [said + kept(used, person, said)])
    assert found.refused == ((what, key) != ("a frame", "its own"))


@pytest.mark.parametrize(("what", "person"), PROOFS_OF.items(), ids=PROOFS_OF)
@pytest.mark.parametrize("key", RING.first._fields[1:])
def test_an_event_is_proved_by_the_key_and_the_label_of_events_alone(what, person, key):
    """Attack 23."""
    sender = Sender(ALICE_ID, b"alice's process.", False, "machine")
    said = Packer(sender, RING).pack(CHANNEL, 0, [b"event"])[:-16]
    proved = len(CHANNEL).to_bytes(4, "little") + CHANNEL + said
    forged = said + kept(getattr(RING.first, key), person, proved)
    if (what, key) == ("an event", "event"):
        assert Opener(RING).open(CHANNEL, forged).size == 1
    else:
        with pytest.raises(AuthenticationError):
            Opener(RING).open(CHANNEL, forged)


@pytest.mark.parametrize(("what", "person"), PROOFS_OF.items(), ids=PROOFS_OF)
@pytest.mark.parametrize("key", RING.first._fields[1:])
def test_a_record_is_proved_by_the_key_and_the_label_of_records_alone(what, person, key):
    """Attack 23."""
    body = b'{"port":1}'
    proof = kept(getattr(RING.first, key), person, (3).to_bytes(4, "big") + b"k|f" + body)
    forged = f'{{"port": 1, "signature": "{RING.first.kid.hex()}:{proof.hex()}"}}'
    if (what, key) == ("a record", "record"):
        assert verify(forged, "k|f", RING) == {"port": 1}
    else:
        with pytest.raises(AuthenticationError):
            verify(forged, "k|f", RING)


@suite_of_each
def test_what_was_signed_for_one_purpose_is_nothing_where_another_is_expected(suite):
    """Attack 23. Whole envelopes, records, frames and messages of the handshake, each offered to every other reader."""
    near, far = linked(suite)
    frame = spoken(near, 1)[0]
    event = Packer(Sender(ALICE_ID, b"alice's process.", False, ""), RING).pack(CHANNEL, 0, [frame])
    record = sign({"port": 1}, "k|f", RING).encode()
    messages = ends.shake(ends.initiator(suites=suite), ends.responder(suites=suite)).sent
    for other in (event, record, *messages):
        _, far = linked(suite)
        assert heard(far, [other]).messages == []
    for other in (frame, record, *messages):
        with pytest.raises(AuthenticationError):
            Opener(RING).open(CHANNEL, other)
    for other in (frame, event, *messages):
        with pytest.raises(AuthenticationError):
            verify(other, "k|f", RING)
    for other in (frame, event, record):
        for side in (ends.responder(suites=suite), ends.initiator(suites=suite)):
            if isinstance(side, handshake.Initiator):
                side.begin()
            with pytest.raises((AuthenticationError, RemoteProtocolError)):
                side.receive(other.ljust(handshake.LIMIT, b"\0"))


# -- counters and keys that wear out ---------------------------------------------------------------------------------


def test_every_sealed_piece_of_a_direction_has_a_counter_of_its_own():
    """Attack 24. One nonce used twice under one key would give the text away; frames and buffers share one counter."""
    near, _ = ends.sessions(handshake.SEALED)
    side = frames.protection(near)
    head, rest, *pieces = with_buffers(side, b"a" * (PIECE + 1), b"b")
    sealed = [(rest, head), *((piece, b"") for piece in pieces)]
    sealed += [(one[HEADER_SIZE:], one[:HEADER_SIZE]) for one in spoken(side, 2)]
    cipher = AESGCM(near.send_key)
    for number, (text, said) in enumerate(sealed):
        for counter in range(len(sealed)):
            if counter == number:
                cipher.decrypt(counter.to_bytes(12, "big"), text, said)
            else:
                with pytest.raises(InvalidTag):
                    cipher.decrypt(counter.to_bytes(12, "big"), text, said)


@pytest.mark.parametrize("at", [2**16, 2**32, 2**63, 2**64])
def test_a_counter_runs_on_over_the_ends_of_machine_words(at):
    """Attack 24. It never begins again, on either side: what was sent one turn of the word before does not fit."""
    near, far = linked(handshake.SEALED)
    first = [*spoken(near, 3), b"".join(with_buffers(near, b"1", b"2", b"3"))]
    near._sent = far._received = at - 2
    again = [*spoken(near, 3), b"".join(with_buffers(near, b"1", b"2", b"3"))]
    assert len(heard(far, again).messages) == 4
    assert len({one[HEADER_SIZE:] for one in (*first, *again)}) == 8
    for count, recorded in ((0, first[0]), (3, first[3])):
        far._received = at + count
        found = heard(far, [recorded])
        assert (found.messages, found.refused) == ([], True)
    near._sent = at
    pieces = with_buffers(near, b"1", b"2", b"3")
    cipher = AESGCM(near._send_key)  # not the first one any more
    for number, (text, said) in enumerate([(pieces[1], pieces[0]), *((one, b"") for one in pieces[2:])]):
        assert cipher.decrypt((at + number).to_bytes(12, "big"), text, said)


def test_a_counter_at_its_very_end_stops_rather_than_begin_again():
    """Attack 24."""
    for speak in (lambda side: spoken(side, 1), lambda side: with_buffers(side, b"buffer")):
        near, _ = linked(handshake.SEALED)
        near._sent = 2**96
        with pytest.raises(OverflowError):
            speak(near)


def test_a_sealed_link_changes_its_key_after_two_to_the_16_frames_or_pieces():
    """Attack 24."""
    near, far = ends.sessions(handshake.SEALED)
    side, other = frames.protection(near), frames.protection(far)
    side._sent = other._received = 2**16
    (wire,) = spoken(side, 1)
    assert heard(other, [wire]).messages == [request(0)]
    with pytest.raises(InvalidTag):
        AESGCM(near.send_key).decrypt((2**16).to_bytes(12, "big"), wire[HEADER_SIZE:], wire[:HEADER_SIZE])


@pytest.mark.parametrize("size", [PIECE - 100, PIECE, PIECE + 1, 5 * PIECE])
@pytest.mark.parametrize("before_the_end", [1, 2, 3, 100])
def test_a_frame_counts_once_for_each_mib_and_stops_at_the_end_of_its_key(size, before_the_end):
    """Attack 24. Pickles have no pieces: 65 536 of 2 GiB would be 128 TiB under one key."""
    near, far = linked(handshake.SEALED)
    near._sent = far._received = begin = 2**16 - before_the_end
    wires = [b"".join(near.pack(REQUEST, b"x" * size, name=b"f")), *spoken(near, 2)]
    counts = -(-(size + len(b"f")) // PIECE)
    assert near._sent == min(begin + counts, 2**16) + 2
    assert len(heard(far, wires).messages) == 3
    assert far._received == near._sent


def test_what_the_cipher_does_not_take_at_once_is_refused_before_it_is_sent(monkeypatch):
    """It would end in an error of the cipher's, and the numbers of both ends would differ from then on."""
    near, far = linked(handshake.SEALED)
    monkeypatch.setattr(frames, "_MOST_SEALED", 2 * PIECE)
    with pytest.raises(EncodeError, match="pickled in one piece"):
        near.pack(REQUEST, b"x" * 2 * PIECE, name=b"f")
    (wire,) = spoken(near, 1)
    assert heard(far, [wire]).messages == [request(0)]
