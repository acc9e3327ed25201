"""The handshake: what a good one leaves, and that nothing else ever becomes a session on both sides."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core import handshake, sealing
from hubnet.core.handshake import ANY_INCARNATION, Self, suites_for
from hubnet.core.keys import Keyring, NetKeys, derive, seed_of
from hubnet.errors import AuthenticationError, RemoteProtocolError
from tests.core import ends
from tests.core.ends import (
    ALICE,
    ANYBODY,
    BOB,
    BOTH,
    NAMES,
    OTHER_TOKEN,
    RING,
    SUITES,
    TOKEN,
    initiator,
    responder,
    shake,
)

suite_of_each = pytest.mark.parametrize("suite", SUITES, ids=NAMES)
_SHORT = [48, 48, 128, 81]
LENGTHS = {**dict.fromkeys(SUITES, _SHORT), handshake.SEALED: [80, 80, 128, 81]}


# -- a good one ------------------------------------------------------------------------------------------------------


@suite_of_each
def test_both_ends_share_keys_and_know_each_other(suite):
    outcome = shake(initiator(suites=suite), responder(suites=suite))
    near, far = outcome.near, outcome.far
    assert near.suite == far.suite == suite
    assert near.send_key == far.receive_key
    assert near.receive_key == far.send_key
    assert near.foreign == BOB
    assert far.foreign == ALICE
    assert near.verdict == far.verdict == handshake.ACCEPTED
    assert near.kid == far.kid == RING.first.kid


@suite_of_each
def test_no_message_is_longer_than_the_limit_and_each_has_its_length(suite):
    sent = shake(initiator(suites=suite), responder(suites=suite)).sent
    assert [len(message) for message in sent] == LENGTHS[suite]
    assert max(map(len, sent)) <= handshake.LIMIT


@suite_of_each
def test_keys_differ_per_direction_and_are_not_zero(suite):
    near, _ = ends.sessions(suite)
    assert near.send_key != near.receive_key
    assert len(near.send_key) == len(near.receive_key) == 32
    assert bytes(32) not in (near.send_key, near.receive_key)
    assert not {near.send_key, near.receive_key} & set(RING.first)


@suite_of_each
@pytest.mark.parametrize("changed", ["initiator", "responder"])
def test_keys_are_fresh_when_either_end_gives_fresh_randomness(suite, changed):
    near, _ = ends.sessions(suite)
    seeds = {"initiator": b"initiator", "responder": b"responder"} | {changed: b"fresh"}
    again = shake(
        initiator(suites=suite, seed=seeds["initiator"]), responder(suites=suite, seed=seeds["responder"])
    ).near
    assert not {near.send_key, near.receive_key} & {again.send_key, again.receive_key}


@pytest.mark.parametrize("near_suites", [1, 2, 3])
@pytest.mark.parametrize("far_suites", [1, 2, 3])
def test_the_best_common_suite_is_taken_and_none_is_an_error(near_suites, far_suites):
    outcome = shake(initiator(suites=near_suites), responder(suites=far_suites))
    common = near_suites & far_suites
    if common:
        assert outcome.near.suite == outcome.far.suite == max(common & 2, common & 1)
    else:
        assert isinstance(outcome.far_error, AuthenticationError)
        assert "HUBNET_WIRE" in str(outcome.far_error)
        assert not outcome.both


@suite_of_each
def test_bytes_may_arrive_one_at_a_time(suite):
    near, far = initiator(suites=suite), responder(suites=suite)
    message, side, other = near.begin(), far, near
    while message:
        answers = [side.receive(message[at : at + 1]) for at in range(len(message))]
        assert not any(answers[:-1])
        message, side, other = answers[-1], other, side
    assert near.session.send_key == far.session.receive_key


@suite_of_each
def test_the_initiator_proves_the_secret_before_the_responder_says_anything_that_depends_on_it(suite):
    one = shake(initiator(suites=suite), responder(suites=suite)).sent[1]
    kid_only = Keyring([NetKeys(RING.first.kid, b"another link key" * 2, b"e", b"r")])
    other = shake(initiator(suites=suite), responder(suites=suite, ring=kid_only)).sent[1]
    assert one == other


# -- the secret ------------------------------------------------------------------------------------------------------


@suite_of_each
def test_a_wrong_secret_is_refused_before_anything_is_proved(suite):
    outcome = shake(initiator(suites=suite, ring=Keyring.of([OTHER_TOKEN], "default")), responder(suites=suite))
    assert isinstance(outcome.far_error, AuthenticationError)
    assert len(outcome.sent) == 1
    assert not outcome.near
    assert not outcome.far


@suite_of_each
def test_the_right_key_id_with_another_key_is_refused(suite):
    forged = Keyring([RING.first._replace(link=bytes(31) + b"\1")])
    outcome = shake(initiator(suites=suite, ring=forged), responder(suites=suite))
    assert isinstance(outcome.far_error, AuthenticationError)
    assert not outcome.near
    assert not outcome.far


@suite_of_each
def test_another_namespace_is_refused_though_its_key_id_is_the_same(suite):
    other = Keyring.of([TOKEN], "other")
    assert other.first.kid == RING.first.kid
    outcome = shake(initiator(suites=suite, ring=other), responder(suites=suite))
    assert isinstance(outcome.far_error, AuthenticationError)
    assert not outcome.near
    assert not outcome.far


@suite_of_each
def test_a_responder_without_the_key_never_convinces_the_initiator(suite):
    """It takes M3 unseen and answers with a tag of its own."""
    near, far = initiator(suites=suite), responder(suites=suite)
    m3 = near.receive(far.receive(near.begin()))
    assert m3
    forged = b"".join((*BOB, bytes((handshake.ACCEPTED,)), bytes(32)))
    with pytest.raises(AuthenticationError):
        near.receive(forged)
    assert near.session is None


@suite_of_each
def test_every_accepted_secret_lets_in_and_the_session_says_which(suite):
    far = responder(suites=suite, ring=Keyring.of([OTHER_TOKEN, TOKEN], "default"))
    outcome = shake(initiator(suites=suite), far)
    assert outcome.both
    assert outcome.far.kid == derive(seed_of(TOKEN, "default"), "default").kid


@suite_of_each
def test_an_answer_for_a_secret_that_was_not_offered_is_refused(suite):
    other = derive(seed_of(OTHER_TOKEN, "default"), "default").kid

    def swap(number, message):
        return message[:8] + other + message[16:] if number == 2 else message

    outcome = shake(initiator(suites=suite), responder(suites=suite), swap)
    assert isinstance(outcome.near_error, AuthenticationError)


# -- who is there ----------------------------------------------------------------------------------------------------


@suite_of_each
@pytest.mark.parametrize(
    "wanted",
    [
        Self(ALICE.digest, ANY_INCARNATION),
        Self(BOB.digest, b"its last process"),
        Self(bytes(31) + b"\1", BOB.incarnation),
    ],
    ids=["another id", "an older incarnation", "another id, same incarnation"],
)
def test_a_listener_that_is_not_the_one_wanted_says_so_under_its_tag(suite, wanted):
    outcome = shake(initiator(suites=suite, wanted=wanted), responder(suites=suite))
    assert outcome.near.verdict == outcome.far.verdict == handshake.NOT_ME


@suite_of_each
@pytest.mark.parametrize("wanted", [ANYBODY, BOB, Self(BOB.digest, ANY_INCARNATION)])
def test_whoever_listens_there_is_accepted_when_nobody_else_was_wanted(suite, wanted):
    outcome = shake(initiator(suites=suite, wanted=wanted), responder(suites=suite))
    assert outcome.near.verdict == handshake.ACCEPTED
    assert outcome.near.foreign == BOB


@suite_of_each
def test_dialling_oneself_is_told(suite):
    outcome = shake(initiator(own=BOB, wanted=BOB, suites=suite), responder(suites=suite))
    assert outcome.near.verdict == outcome.far.verdict == handshake.SELF


@suite_of_each
@pytest.mark.parametrize("refusal", [handshake.FULL, handshake.DRAINING])
def test_a_refusal_travels_under_the_tag(suite, refusal):
    outcome = shake(initiator(suites=suite), responder(suites=suite, refusal=refusal))
    assert outcome.near.verdict == outcome.far.verdict == refusal
    assert handshake.VERDICTS[refusal]


@suite_of_each
def test_not_me_is_said_rather_than_that_it_is_full(suite):
    far = responder(suites=suite, refusal=handshake.FULL)
    assert (
        shake(initiator(suites=suite, wanted=Self(ALICE.digest, ANY_INCARNATION)), far).near.verdict == handshake.NOT_ME
    )


@suite_of_each
def test_a_member_of_the_net_cannot_pose_as_the_peer_that_was_dialled(suite):
    """It knows the secret and says ACCEPTED, under a good tag, with its own id."""
    impostor = responder(own=Self(bytes(31) + b"\1", b"the impostor's.."), suites=suite)
    impostor.own = Self(bytes(31) + b"\1", b"the impostor's..")
    near = initiator(suites=suite)
    m3 = near.receive(impostor.receive(near.begin()))
    block = b"".join((*impostor.own, bytes((handshake.ACCEPTED,))))
    tag = impostor._tag(b"r>i", handshake._hash(impostor._th, m3), block)
    with pytest.raises(AuthenticationError, match="not the peer that was dialled"):
        near.receive(block + tag)
    assert near.session is None


@suite_of_each
def test_a_dial_that_is_led_to_another_member_ends_as_not_me(suite):
    carol = Self(bytes(31) + b"\2", b"carol's process.")
    outcome = shake(initiator(suites=suite), responder(own=carol, suites=suite))
    assert outcome.near.verdict == outcome.far.verdict == handshake.NOT_ME


# -- attacks on the bytes --------------------------------------------------------------------------------------------


@suite_of_each
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_single_flipped_bit_prevents_a_session_on_both_sides(suite, number):
    length = LENGTHS[suite][number - 1]
    for bit in range(length * 8):

        def flip(at, message, bit=bit):
            return ends.flipped(message, bit) if at == number else message

        outcome = shake(initiator(suites=suite), responder(suites=suite), flip)
        assert not outcome.both, f"bit {bit} of M{number}"
        if number < 4:
            assert outcome.near is None
            assert outcome.far is None


@pytest.mark.parametrize("number", [1, 2])
def test_a_flipped_bit_never_lowers_the_suite_when_both_are_offered(number):
    for bit in range(80 * 8):

        def flip(at, message, bit=bit):
            return ends.flipped(message, bit) if at == number else message

        assert not shake(initiator(), responder(), flip).both


@suite_of_each
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_cut_message_gives_no_session(suite, number):
    for length in range(LENGTHS[suite][number - 1]):

        def cut(at, message, length=length):
            return message[:length] if at == number else message

        outcome = shake(initiator(suites=suite), responder(suites=suite), cut)
        assert not outcome.both
        assert outcome.error is None  # it waits for the rest


@suite_of_each
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("extra", [b"\0", b"HUB1", bytes(300)])
def test_bytes_after_a_message_are_refused(suite, number, extra):
    def lengthen(at, message):
        return message + extra if at == number else message

    outcome = shake(initiator(suites=suite), responder(suites=suite), lengthen)
    assert isinstance(outcome.error, RemoteProtocolError)
    assert not outcome.both


@suite_of_each
def test_what_comes_behind_the_last_message_is_kept_for_the_link(suite):
    near, far = initiator(suites=suite), responder(suites=suite)
    last = far.receive(near.receive(far.receive(near.begin())))
    near.receive(last + b"goodbye")
    assert near.session is not None
    assert near.leftover == b"goodbye"


@suite_of_each
def test_the_initiators_own_messages_sent_back_give_it_no_session(suite):
    near = initiator(suites=suite)
    message = near.begin()
    with pytest.raises((AuthenticationError, RemoteProtocolError)):
        for _ in range(4):
            message = near.receive(message)
    assert near.session is None


def test_m1_without_a_point_passes_for_an_m2_but_its_reflected_proof_does_not():
    """The layouts meet in suite 1: only the labels under the tags keep reflection out."""
    near = initiator(suites=handshake.TAGGED)
    m3 = near.receive(near.begin())
    assert len(m3) == 128
    with pytest.raises((AuthenticationError, RemoteProtocolError)):
        near.receive(m3)
    again = initiator(suites=handshake.TAGGED)
    m3 = again.receive(again.begin())
    with pytest.raises(AuthenticationError):
        again.receive(m3[:49] + m3[-32:])
    assert again.session is None


@suite_of_each
def test_a_parallel_session_cannot_lend_its_proof(suite):
    """The listener's own dial back to us is relayed into the handshake that it answers."""
    near, back = initiator(suites=suite), initiator(own=BOB, wanted=ALICE, suites=suite, seed=b"back")
    ours = responder(own=ALICE, suites=suite, seed=b"ours")
    near.begin()
    m3 = near.receive(ours.receive(back.begin()))
    with pytest.raises((AuthenticationError, RemoteProtocolError)):
        ours.receive(m3)
    assert ours.session is None


@suite_of_each
def test_a_recorded_session_played_again_is_refused(suite):
    sent = shake(initiator(suites=suite), responder(suites=suite)).sent
    fresh = responder(suites=suite, seed=b"fresh")
    fresh.receive(sent[0])
    with pytest.raises(AuthenticationError):
        fresh.receive(sent[2])
    again = initiator(suites=suite, seed=b"again")
    again.begin()
    again.receive(sent[1])
    with pytest.raises(AuthenticationError):
        again.receive(sent[3])


def test_stripping_the_better_suite_from_the_offer_is_refused():
    def strip(number, message):
        return message[:6] + bytes((handshake.TAGGED,)) + message[7:48] if number == 1 else message

    outcome = shake(initiator(suites=BOTH), responder(suites=BOTH), strip)
    assert isinstance(outcome.far_error, AuthenticationError)
    assert not outcome.near
    assert not outcome.far


def test_answering_with_the_worse_suite_is_refused():
    def lower(number, message):
        return message[:5] + bytes((handshake.TAGGED,)) + message[6:48] if number == 2 else message

    assert not shake(initiator(suites=BOTH), responder(suites=BOTH), lower).both


def test_a_suite_that_was_not_offered_is_refused():
    def raise_it(number, message):
        return message[:5] + bytes((handshake.SEALED,)) + message[6:] + bytes(32) if number == 2 else message

    outcome = shake(initiator(suites=handshake.TAGGED), responder(suites=BOTH), raise_it)
    assert isinstance(outcome.near_error, RemoteProtocolError)


@pytest.mark.parametrize(
    "point",
    [bytes(32), b"\1" + bytes(31), bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")],
    ids=["zero", "one", "of order 8"],
)
@pytest.mark.parametrize("number", [1, 2])
def test_points_of_low_order_are_refused(point, number):
    def swap(at, message):
        return message[:-32] + point if at == number else message

    outcome = shake(initiator(suites=handshake.SEALED), responder(suites=handshake.SEALED), swap)
    assert isinstance(outcome.error, AuthenticationError)
    assert not outcome.both


@suite_of_each
def test_swapped_ids_do_not_pass(suite):
    """Unknown key share: the block is under the tag."""

    def swap(number, message):
        return message[48:96] + message[:48] + message[96:] if number == 3 else message

    assert isinstance(shake(initiator(suites=suite), responder(suites=suite), swap).far_error, AuthenticationError)


@suite_of_each
def test_two_ends_of_different_channels_below_do_not_meet(suite):
    """A man in the middle of two TLS sessions: each end binds the handshake to the certificate that it saw."""
    outcome = shake(initiator(suites=suite, binding=b"his"), responder(suites=suite, binding=b"ours"))
    assert isinstance(outcome.far_error, AuthenticationError)
    assert shake(initiator(suites=suite, binding=b"ours"), responder(suites=suite, binding=b"ours")).both


@suite_of_each
def test_equal_randomness_on_both_ends_still_gives_two_different_keys(suite):
    outcome = shake(initiator(suites=suite, seed=b"same"), responder(suites=suite, seed=b"same"))
    assert outcome.near.send_key != outcome.near.receive_key


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"HUB2",
        b"H\0",
    ],
)
def test_other_protocols_are_turned_away_at_their_first_bytes(noise):
    with pytest.raises(RemoteProtocolError):
        responder().receive(noise)
    near = initiator()
    near.begin()
    with pytest.raises(RemoteProtocolError):
        near.receive(noise.ljust(48, b"\0"))


@pytest.mark.parametrize("kids", [0, 5, 255])
def test_an_offer_of_no_or_too_many_secrets_is_refused(kids):
    with pytest.raises(RemoteProtocolError):
        responder().receive(handshake._M1_HEAD.pack(b"HUB1", 1, 1, 1, kids))


def test_up_to_four_secrets_may_be_offered():
    unknown = bytes(8)
    near, far = initiator(suites=handshake.TAGGED), responder(suites=handshake.TAGGED)
    m1 = near.begin()
    m1 = m1[:7] + bytes((4,)) + unknown * 3 + m1[8:]
    near._m1 = m1
    near.receive(far.receive(m1))
    far.receive(near._m3)
    assert far.session is not None


@pytest.mark.parametrize(("low", "high"), [(0, 0), (2, 2), (2, 255)])
def test_a_wire_version_that_is_not_spoken_is_named(low, high):
    with pytest.raises(RemoteProtocolError, match="wire version"):
        responder().receive(handshake._M1_HEAD.pack(b"HUB1", low, high, 1, 1))


def test_a_newer_dialler_that_still_speaks_ours_is_understood():
    far = responder(suites=handshake.TAGGED)
    m2 = far.receive(handshake._M1_HEAD.pack(b"HUB1", 1, 9, 1 | 4, 1) + RING.first.kid + bytes(32))
    assert m2[4] == handshake.VERSION


@given(st.binary(max_size=400), st.booleans())
def test_noise_never_raises_anything_else_nor_makes_a_session(noise, dialled):
    side = initiator() if dialled else responder()
    if dialled:
        side.begin()
    try:
        side.receive(noise)
    except (AuthenticationError, RemoteProtocolError):
        pass
    assert side.session is None


@given(st.integers(1, 4), st.sampled_from(SUITES), st.data())
def test_mutated_messages_never_raise_anything_else_nor_make_two_sessions(number, suite, data):
    def mutate(at, message):
        if at != number:
            return message
        out = bytearray(message)
        for _ in range(data.draw(st.integers(1, 4))):
            where = data.draw(st.integers(0, len(out)))
            kind = data.draw(st.sampled_from(["replace", "insert", "delete"]))
            if kind == "insert":
                out[where:where] = data.draw(st.binary(min_size=1, max_size=8))
            elif kind == "delete":
                del out[where : where + data.draw(st.integers(1, 8))]
            else:
                new = data.draw(st.binary(min_size=1, max_size=8))
                out[where : where + len(new)] = new
        return bytes(out)

    touched = []

    def tamper(at, message):
        out = mutate(at, message)
        only_behind = at == 4 and out.startswith(message)  # what follows the last message is the link's to refuse
        touched.append(out != message and not only_behind)
        return out

    outcome = shake(initiator(suites=suite), responder(suites=suite), tamper)
    if any(touched):
        assert not outcome.both


WHOLE = handshake.TAGGED_WHOLE | handshake.HASHED_WHOLE

# -- policy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "integrity", "suites"),
    [
        ("auto", "header", BOTH),
        ("auto", "full", handshake.SEALED | WHOLE),
        ("open-mac", "header", BOTH & ~handshake.SEALED),
        ("open-mac", "full", WHOLE),
        ("sealed", "header", handshake.SEALED),
        ("sealed", "full", handshake.SEALED),
    ],
)
def test_the_policies_of_wire_and_integrity_decide_what_is_offered(wire, integrity, suites):
    assert suites_for(wire, integrity) == suites


@pytest.mark.parametrize(
    ("near", "far", "suite"),
    [
        (("auto", "header"), ("auto", "full"), handshake.SEALED),
        (("open-mac", "header"), ("auto", "header"), handshake.TAGGED),
        (("open-mac", "full"), ("auto", "header"), handshake.TAGGED_WHOLE),
        (("auto", "header"), ("open-mac", "full"), handshake.TAGGED_WHOLE),
        (("open-mac", "full"), ("auto", "full"), handshake.TAGGED_WHOLE),
        (("sealed", "header"), ("open-mac", "header"), None),
    ],
)
def test_whoever_asks_for_more_gets_it_or_there_is_no_link(near, far, suite):
    outcome = shake(initiator(suites=suites_for(*near)), responder(suites=suites_for(*far)))
    if suite is None:
        assert outcome.near is outcome.far is None
    else:
        assert outcome.near.suite == outcome.far.suite == suite


def test_without_the_package_cryptography_only_tags_are_offered_and_sealing_cannot_be_demanded(monkeypatch):
    monkeypatch.setattr(sealing, "_available", False)
    assert suites_for("auto") == BOTH & ~handshake.SEALED
    with pytest.raises(AuthenticationError, match="HUBNET_WIRE"):
        suites_for("sealed")


def test_without_blake2_hmac_takes_its_place(monkeypatch):
    monkeypatch.setattr(handshake, "_HAS_BLAKE2", False)
    without = suites_for("open-mac")
    assert without == handshake.HASHED | handshake.HASHED_WHOLE
    monkeypatch.undo()
    for suites, expected in ((suites_for("open-mac"), handshake.HASHED), (WHOLE, handshake.HASHED_WHOLE)):
        outcome = shake(initiator(suites=without), responder(suites=suites))
        assert outcome.near.suite == outcome.far.suite == expected


def test_a_session_does_not_show_its_keys():
    near, _ = ends.sessions(handshake.TAGGED)
    assert repr(near.send_key) not in repr(near)
    assert near.send_key.hex() not in repr(near)


# -- the wire as it is -----------------------------------------------------------------------------------------------

KNOWN = {
    handshake.TAGGED: (
        "d46c1d8b805aa757cc3a6dba4ed19bf9",
        "df1260d8410f1e13ba808044feb18382",
        "e52726d5f412d85d0d58ae9cfd41fe9e",
        "7172d5784b528f05e193505c7165514b",
        "1c02f999950b93044012f34585fb9935",
        "594a0c11dc62a53abec2c28174746b66",
    ),
    handshake.TAGGED_WHOLE: (
        "83da91adc7642bf868976f176bf754d1",
        "f33f98d26cd37c16b57b3c21b918697b",
        "674ded6d464d93e8b0bb962be1956e3c",
        "857cfcba64e7e6854bf456a04ea70672",
        "a5e80a1b3523f48e277cc4a6ce2aa93f",
        "f718c4509ef8a1f592362aeb83a04893",
    ),
    handshake.HASHED: (
        "698e6b6bede0a2701392b888c9df8b8e",
        "ac8d726c4a0fab04dd9aa3d73825c9f4",
        "ea8a4f82c3b01fba6d7c2192543253eb",
        "b21d8ffa0ebe7abfcac0f267624c9aa0",
        "55dbf805c45d98e8178dbd1151df3a7e",
        "fbd2ececb67222b18c015a71923feb9b",
    ),
    handshake.HASHED_WHOLE: (
        "dfda8d81700bd64ff9c692460213b25c",
        "e3e19c565b702150889c4ca86efde3e9",
        "d236bf14eaf80b5ac8a88ef357617f21",
        "2b9f0a687711eb8c0795c075ff194fa2",
        "756d0927e72cb9d59c60977ae21a10ac",
        "df6da623e60d0aa54a1bf64e670a6f0d",
    ),
    handshake.SEALED: (
        "9735349d90baf62cb37eeb1400d1837c",
        "6624138f4387634ed0b4ff1845cafb3f",
        "324811ed75badefe68f6d94bec2a6f39",
        "893c9411a823c9610a7f229be6a11482",
        "1b791cb60bacfbe742097f176ae9e0fd",
        "98d64aa307250d36190a636c10a4498d",
    ),
}


@suite_of_each
def test_the_bytes_on_the_wire_are_those_of_version_1(suite):
    """Known answers: a change here is a change of the wire, and needs another VERSION."""
    outcome = shake(initiator(suites=suite), responder(suites=suite))
    seen = [hashlib.sha256(message).hexdigest()[:32] for message in outcome.sent]
    seen += [outcome.near.send_key.hex()[:32], outcome.near.receive_key.hex()[:32]]
    assert tuple(seen) == KNOWN[suite]
