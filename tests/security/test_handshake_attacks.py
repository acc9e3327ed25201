"""Attacks on the handshake by somebody on the way, or at one end of it, who has everything but the key.

The attacker writes messages by hand, so it may lie in every field. What honest ends make of each other, and of noise,
is in tests/core/test_handshake.py. Attack 13, with TLS below, waits for TLS.
"""

from __future__ import annotations

from itertools import product

import pytest

from hubnet.core import handshake
from hubnet.core.handshake import ACCEPTED, ANY_INCARNATION, NOT_ME, SELF, TAGGED, VERDICTS, Initiator, Responder, Self
from hubnet.core.keys import Keyring
from hubnet.errors import AuthenticationError, RemoteProtocolError
from tests.core import ends
from tests.core.ends import ALICE, ANYBODY, BOB, OTHER_TOKEN, RING, TOKEN, initiator, responder, shake
from tests.security import by_hand
from tests.security.by_hand import BOTH, NAMES, SUITES, Keys

REFUSALS = (AuthenticationError, RemoteProtocolError)
CAROL = Self(b"carol's digest".ljust(32, b"."), b"carol's process.")
OURS = by_hand.keys_of(bytes(range(32)), "default")
THEIRS = by_hand.keys_of(bytes(range(32, 64)), "default")
NONCE, PRIVATE = b"\x51" * 32, b"\x52" * 32

suite_of_each = pytest.mark.parametrize("suite", SUITES, ids=list(NAMES))
offer_of_each = pytest.mark.parametrize("suites", [*SUITES, BOTH], ids=[*NAMES, "either"])


def dialler(suite: int, keys: Keys = OURS, own: Self = ALICE, wanted: Self = BOB) -> by_hand.Dialler:
    return by_hand.Dialler(
        keys, suite, by_hand.Who(*own), by_hand.Who(*wanted), nonce=NONCE, private=PRIVATE
    )  # fmt: skip


def listener(keys: Keys = OURS, own: Self = BOB) -> by_hand.Listener:
    return by_hand.Listener(keys, by_hand.Who(*own), nonce=NONCE, private=PRIVATE)


def refuses(side: Initiator | Responder, message: bytes, because: type[Exception] | tuple = REFUSALS) -> None:
    with pytest.raises(because):
        side.receive(message)
    assert side.session is None


def constant(value: bytes):
    """A generator of randomness that is stuck."""
    return lambda length: value * length


@suite_of_each
def test_the_hand_that_writes_the_attacks_is_believed_where_it_tells_the_truth(suite):
    """Else every refusal below would prove nothing."""
    far, mallory = responder(suites=suite), dialler(suite)
    m2 = far.receive(m1 := mallory.m1())
    m4 = far.receive(m3 := mallory.m3(m1, m2))
    assert m4 == mallory.agreement(m1, m2).m4(m3, by_hand.Who(*BOB))
    assert far.session.verdict == ACCEPTED
    near, mallory = initiator(suites=suite), listener()
    m3 = near.receive(m2 := mallory.m2(suite)) if (m1 := near.begin()) else b""
    assert near.receive(mallory.m4(m1, m2, m3)) == b""
    assert near.session.verdict == ACCEPTED


# -- who has another key ---------------------------------------------------------------------------------------------


@suite_of_each
def test_who_holds_another_secret_gets_no_further_than_its_first_message(suite):
    """Attack 1."""
    far = responder(suites=suite)
    refuses(far, dialler(suite, THEIRS).m1(), AuthenticationError)
    near = initiator(suites=suite)
    near.begin()
    refuses(near, listener(THEIRS).m2(suite), AuthenticationError)


WRONG_KEYS = {
    "zeros": bytes(32), "the key of another secret": THEIRS.link, "the key of events": OURS.event,
    "the key of records": OURS.record, "the key id": OURS.kid * 4, "nothing": b"",
    "the key, one bit off": ends.flipped(OURS.link, 255),
}  # fmt: skip


@suite_of_each
@pytest.mark.parametrize("wrong", WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_who_knows_the_key_id_but_not_the_key_proves_nothing_on_either_side(suite, wrong):
    """Attack 2. The key id is public, and so is all that a recording shows."""
    keys = OURS._replace(link=wrong)
    far, mallory = responder(suites=suite), dialler(suite, keys)
    m2 = far.receive(m1 := mallory.m1())
    refuses(far, mallory.m3(m1, m2), AuthenticationError)
    near, mallory = initiator(suites=suite), listener(keys)
    m1 = near.begin()
    m3 = near.receive(m2 := mallory.m2(suite))
    refuses(near, mallory.m4(m1, m2, m3), AuthenticationError)


@suite_of_each
@pytest.mark.parametrize("namespace", ["other", "", "defaul", "default2", "Default", "default\0"])
def test_a_member_of_another_namespace_of_the_same_secret_is_a_stranger(suite, namespace):
    """Attack 3. The key id is the same: only the key tells."""
    keys = by_hand.keys_of(bytes(range(32)), namespace)
    assert keys.kid == OURS.kid
    far, mallory = responder(suites=suite), dialler(suite, keys)
    m2 = far.receive(m1 := mallory.m1())
    refuses(far, mallory.m3(m1, m2), AuthenticationError)
    near, mallory = initiator(suites=suite), listener(keys)
    m1 = near.begin()
    m3 = near.receive(m2 := mallory.m2(suite))
    refuses(near, mallory.m4(m1, m2, m3), AuthenticationError)


# -- who changes bytes on the way ------------------------------------------------------------------------------------


@offer_of_each
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_no_flipped_bit_of_any_message_leaves_a_session_at_whom_it_was_sent_to(suites, number):
    """Attack 4. All bits, each alone; where both suites are offered a flip must not lead to the worse one either."""
    length = len(shake(initiator(suites=suites), responder(suites=suites)).sent[number - 1])
    for bit in range(length * 8):
        near, far = initiator(suites=suites), responder(suites=suites)

        def flip(at, message, bit=bit):
            return ends.flipped(message, bit) if at == number else message

        outcome = shake(near, far, flip)
        receiver = far if number in {1, 3} else near
        assert outcome.near is None, f"bit {bit} of M{number}"
        assert receiver.session is None, f"bit {bit} of M{number}"


@suite_of_each
@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"H"])
def test_a_cut_message_is_not_made_whole_by_other_bytes(suite, number, filling):
    """Attack 5. Cut anywhere and filled up to its length; where that changes nothing it is the message itself."""
    honest = shake(initiator(suites=suite), responder(suites=suite)).sent[number - 1]
    for length in range(len(honest)):
        filled = honest[:length].ljust(len(honest), filling)

        def fill(at, message, filled=filled):
            return filled if at == number else message

        if filled != honest:
            assert not shake(initiator(suites=suite), responder(suites=suite), fill).both, length


@suite_of_each
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_message_with_anything_behind_it_is_refused_whatever_its_length(suite, number):
    """Attack 5. Nothing may be said before it is asked for, so that nothing can be put in (Terrapin)."""
    for extra in range(1, handshake.LIMIT):

        def lengthen(at, message, extra=extra):
            return message + bytes(extra) if at == number else message

        outcome = shake(initiator(suites=suite), responder(suites=suite), lengthen)
        assert isinstance(outcome.error, RemoteProtocolError)
        assert outcome.near is None


# -- who sends back what it got --------------------------------------------------------------------------------------


@suite_of_each
def test_the_diallers_own_proof_sent_back_in_the_listeners_message_proves_nothing(suite):
    """Attack 6. Whatever verdict and name stand before it."""
    for verdict in range(len(VERDICTS)):
        for claimed in (BOB, ALICE, ANYBODY):
            near, mallory = initiator(suites=suite), listener()
            near.begin()
            m3 = near.receive(mallory.m2(suite))
            refuses(near, b"".join((*claimed, bytes((verdict,)), m3[-32:])), AuthenticationError)


@suite_of_each
def test_the_diallers_own_nonce_and_point_sent_back_do_not_make_its_proof_ours(suite):
    """Attack 6. The same randomness on both sides: labels tell the directions apart, and so does what went before."""
    near = initiator(suites=suite)
    m1 = near.begin()
    m3 = near.receive(by_hand.choice(OURS.kid, m1[16:48], m1[48:], suite=suite))
    refuses(near, m3[:48] + bytes((ACCEPTED,)) + m3[-32:], AuthenticationError)


@suite_of_each
def test_the_messages_of_one_conversation_prove_nothing_in_another_held_at_the_same_time(suite):
    """Attack 7. Two dials of the same two peers side by side; the listener's side of each may come from the other."""
    for swapped in product([False, True], repeat=3):
        near = [initiator(suites=suite, seed=seed) for seed in (b"one", b"two")]
        far = [responder(suites=suite, seed=seed) for seed in (b"un", b"deux")]
        m1 = [side.begin() for side in near]
        m2 = [far[at].receive(m1[at]) for at in (0, 1)]
        try:
            m3 = [near[at].receive(m2[at ^ swapped[0]]) for at in (0, 1)]
            m4 = [far[at].receive(m3[at ^ swapped[1]]) for at in (0, 1)]
            for at in (0, 1):
                near[at].receive(m4[at ^ swapped[2]])
        except REFUSALS:
            pass
        assert any(side.session for side in near) == (not any(swapped)), swapped


@suite_of_each
def test_a_listener_cannot_be_used_to_answer_for_an_attacker_who_is_dialled(suite):
    """Attack 7, CWE-301. What an honest listener answers to the attacker does not fit what the dialler asked."""
    near = initiator(suites=suite)
    m1 = near.begin()
    oracle = responder(suites=suite, seed=b"oracle")  # the very peer that is wanted
    helpful = dialler(suite, OURS._replace(link=bytes(32)))  # the attacker's own dial to it
    theirs = oracle.receive(helpful.m1())
    m3 = near.receive(theirs)  # its answer to the attacker, given to the dialler
    refuses(oracle, m3, AuthenticationError)
    refuses(near, b"".join((*BOB, b"\0", m3[-32:])), AuthenticationError)
    assert m1 != helpful.m1()


@suite_of_each
@pytest.mark.parametrize("wanted", [BOB, ANYBODY, ALICE, Self(BOB.digest, ANY_INCARNATION)])
def test_a_peer_led_to_its_own_listener_never_takes_itself_for_another(suite, wanted):
    """Attack 8, Selfie. The bytes arrive unchanged, and the key is right of course."""
    outcome = shake(initiator(wanted=wanted, suites=suite), responder(own=ALICE, suites=suite))
    assert outcome.near.verdict == outcome.far.verdict == SELF


@suite_of_each
def test_a_restarted_peer_led_to_its_own_address_is_not_who_it_asked_for(suite):
    """Attack 8. The same id in another process."""
    again = Self(ALICE.digest, b"alice's next one")
    outcome = shake(initiator(own=again, wanted=BOB, suites=suite), responder(own=ALICE, suites=suite))
    assert outcome.near.verdict == outcome.far.verdict == NOT_ME


# -- who has a recording ---------------------------------------------------------------------------------------------


@offer_of_each
def test_a_recorded_conversation_replayed_to_a_fresh_responder_is_refused(suites):
    """Attack 9. M1 is answered, as any is; M3 belongs to another nonce."""
    sent = shake(initiator(suites=suites), responder(suites=suites)).sent
    for attempt in range(20):
        far = responder(suites=suites, seed=b"fresh %d" % attempt)
        assert far.receive(sent[0]) != sent[1]
        refuses(far, sent[2], AuthenticationError)


@offer_of_each
def test_a_recording_played_from_its_other_end_is_refused_by_a_fresh_dialler(suites):
    """Attack 10. M2 draws out a proof, for which the recording has no answer."""
    sent = shake(initiator(suites=suites), responder(suites=suites)).sent
    for attempt in range(20):
        near = initiator(suites=suites, seed=b"fresh %d" % attempt)
        assert near.begin() != sent[0]
        assert near.receive(sent[1]) != sent[2]
        refuses(near, sent[3], AuthenticationError)


@offer_of_each
def test_no_choice_of_recorded_messages_out_of_many_sessions_makes_a_session(suites):
    """Attack 10. Any M1 and any M3 to a listener, any M2 and any M4 to a dialler."""
    recorded = [
        shake(initiator(suites=suites, seed=b"i%d" % at), responder(suites=suites, seed=b"r%d" % at)).sent
        for at in range(5)
    ]
    for one, other in product(recorded, repeat=2):
        far = responder(suites=suites, seed=b"fresh")
        far.receive(one[0])
        refuses(far, other[2], AuthenticationError)
        near = initiator(suites=suites, seed=b"fresh")
        near.begin()
        near.receive(one[1])
        refuses(near, other[3], AuthenticationError)


# -- who makes them agree on less ------------------------------------------------------------------------------------


def test_an_offer_without_its_x25519_key_is_answered_but_its_proof_fails():
    """Attack 11. Both can seal; on the way the offer comes to say that the dialler cannot."""
    near, far = initiator(), responder()
    m1 = near.begin()
    m2 = far.receive(m1[:6] + bytes((TAGGED,)) + m1[7:48])
    assert m2[5] == TAGGED
    m3 = near.receive(m2)
    refuses(far, m3, AuthenticationError)
    refuses(near, b"".join((*BOB, b"\0", m3[-32:])), AuthenticationError)


@pytest.mark.parametrize("suites", [0, TAGGED, BOTH, BOTH | 0xFC])
def test_the_suites_of_an_offer_cannot_be_changed_on_the_way_to_more_or_less(suites):
    """Attack 11. Offered was suite 2 alone; with the key left on, or cut off, as the changed offer says."""
    near, far = initiator(suites=handshake.SEALED), responder()
    m1 = near.begin()
    changed = m1[:6] + bytes((suites,)) + (m1[7:] if suites & handshake.SEALED else m1[7:48])
    try:
        far.receive(near.receive(far.receive(changed)))
    except REFUSALS:
        pass
    assert near.session is None
    assert far.session is None


@suite_of_each
@pytest.mark.parametrize(("lowest", "highest"), [(1, 1), (0, 1), (1, 2), (1, 255), (0, 255)])
def test_the_wire_versions_of_an_offer_cannot_be_lowered_on_the_way(suite, lowest, highest):
    """Attack 11. A dialler of a later hubnet offers 1 to 3; an attacker wants it to be answered with less."""
    mallory, far = dialler(suite), responder(suites=suite)
    offered = mallory.m1(lowest=1, highest=3)
    m2 = far.receive(
        by_hand.offer([OURS.kid], offered[16:48], offered[48:], suites=suite, lowest=lowest, highest=highest)
    )
    refuses(far, mallory.m3(offered, m2), AuthenticationError)
    honest = responder(suites=suite)
    assert honest.receive(mallory.m3(offered, honest.receive(offered)))  # untouched it is taken


@suite_of_each
@pytest.mark.parametrize("version", [0, 2, 255])
def test_an_answer_in_another_version_than_was_offered_is_refused(suite, version):
    """Attack 11."""
    near = initiator(suites=suite)
    near.begin()
    point = by_hand.point_of(PRIVATE) if suite == handshake.SEALED else b""
    refuses(near, by_hand.choice(OURS.kid, NONCE, point, suite=suite, version=version), RemoteProtocolError)


@suite_of_each
def test_key_ids_cannot_be_dropped_from_an_offer_put_in_or_put_in_another_order(suite):
    """Attack 11. While secrets are rotated: who holds a leaked old one wants it to be the one that is agreed on."""
    both = Keyring.of([OTHER_TOKEN, TOKEN], "default")
    new_and_old = [THEIRS.kid, OURS.kid]
    changes = [[OURS.kid], [THEIRS.kid], [OURS.kid, THEIRS.kid], [bytes(8), OURS.kid], [*new_and_old, bytes(8)]]
    for kids in [new_and_old, *changes]:
        far = responder(suites=suite, ring=both)
        mallory = dialler(suite, THEIRS)
        offered = mallory.m1(new_and_old)
        m2 = far.receive(by_hand.offer(kids, NONCE, offered[56:], suites=suite))
        mallory.keys = THEIRS if m2[8:16] == THEIRS.kid else OURS
        m3 = mallory.m3(offered, m2)
        if kids == new_and_old:
            assert m2[8:16] == THEIRS.kid
            assert far.receive(m3)
        else:
            refuses(far, m3, AuthenticationError)


# -- who is somebody else --------------------------------------------------------------------------------------------


@suite_of_each
@pytest.mark.parametrize("wanted", [BOB, Self(BOB.digest, ANY_INCARNATION)])
def test_a_dial_that_is_led_to_another_member_gets_no_link(suite, wanted):
    """Attack 12. The other member is honest, and says under its proof that it is not the one."""
    outcome = shake(initiator(wanted=wanted, suites=suite), responder(own=CAROL, suites=suite))
    assert outcome.near.verdict == outcome.far.verdict == NOT_ME


@suite_of_each
@pytest.mark.parametrize(
    "claimed", [CAROL, ALICE, Self(BOB.digest, CAROL.incarnation), Self(CAROL.digest, BOB.incarnation)]
)
def test_a_member_that_accepts_a_dial_meant_for_another_is_refused_under_its_own_name(suite, claimed):
    """Attack 12. It holds the secret, so its proof is good; its name is not the one that was dialled."""
    near, mallory = initiator(suites=suite), listener(own=claimed)
    m1 = near.begin()
    m3 = near.receive(m2 := mallory.m2(suite))
    refuses(near, mallory.m4(m1, m2, m3), AuthenticationError)


@suite_of_each
def test_a_member_that_lies_about_its_name_is_believed_for_there_is_one_secret(suite):
    """Attack 12, its limit (RFC 9257): whoever holds the secret of the net can be any of its members."""
    near, mallory = initiator(suites=suite), listener(own=BOB)
    m1 = near.begin()
    m3 = near.receive(m2 := mallory.m2(suite))
    near.receive(mallory.m4(m1, m2, m3))
    assert near.session.foreign == BOB


LOW_ORDER = {
    "0": bytes(32),
    "1": b"\1" + bytes(31),
    "order 8": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "order 8, the other": bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    "p - 1": bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    "p": bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    "p + 1": bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
}
LOW_ORDER |= {f"{name}, top bit set": point[:31] + bytes((point[31] | 128,)) for name, point in LOW_ORDER.items()}


@pytest.mark.parametrize("point", LOW_ORDER.values(), ids=LOW_ORDER)
def test_a_point_of_low_order_is_refused_even_from_who_holds_the_key(point):
    """Attack 14. All of them, in every spelling: the shared secret would be zeros, known to everybody."""
    far = responder(suites=handshake.SEALED)
    refuses(far, by_hand.offer([OURS.kid], NONCE, point, suites=handshake.SEALED), AuthenticationError)
    near = initiator(suites=handshake.SEALED)
    near.begin()
    refuses(near, by_hand.choice(OURS.kid, NONCE, point, suite=handshake.SEALED), AuthenticationError)


# -- randomness that fails -------------------------------------------------------------------------------------------


@suite_of_each
@pytest.mark.parametrize("stuck", [b"\0", b"\x07", b"\xff"])
def test_randomness_that_is_stuck_on_both_ends_gives_two_keys_and_lets_nobody_in(suite, stuck):
    """Attack 15. The attacker knows all that was drawn, private keys included: the secret still keeps it out."""
    near = Initiator(ALICE, BOB, RING, suite, constant(stuck))
    far = Responder(BOB, RING, suite, constant(stuck))
    outcome = shake(near, far)
    assert outcome.near.send_key != outcome.near.receive_key
    assert bytes(32) not in (outcome.near.send_key, outcome.near.receive_key)
    far = Responder(BOB, RING, suite, constant(stuck))
    mallory = dialler(suite, OURS._replace(link=bytes(32)))
    mallory.nonce = mallory.private = stuck * 32
    m2 = far.receive(m1 := mallory.m1())
    refuses(far, mallory.m3(m1, m2), AuthenticationError)


@suite_of_each
def test_one_end_whose_randomness_works_is_enough_for_fresh_keys(suite):
    """Attack 15."""

    def session(near_random, far_random):
        outcome = shake(Initiator(ALICE, BOB, RING, suite, near_random), Responder(BOB, RING, suite, far_random))
        return outcome.near.send_key, outcome.near.receive_key

    stuck, works = constant(b"\x07"), ends.counted_random
    drawn = [session(stuck, works(b"%d" % at)) for at in range(5)] + [
        session(works(b"%d" % at), stuck) for at in range(5)
    ]
    assert len({key for keys in drawn for key in keys}) == 20


@suite_of_each
def test_a_recording_made_while_the_other_ends_randomness_was_stuck_is_refused_by_who_draws_afresh(suite):
    """Attack 15. The nonces of both ends are under both proofs: each is protected by its own."""
    stuck = constant(b"\x07")
    sent = shake(Initiator(ALICE, BOB, RING, suite, stuck), Responder(BOB, RING, suite, stuck)).sent
    far = responder(suites=suite)
    far.receive(sent[0])
    refuses(far, sent[2], AuthenticationError)
    near = initiator(suites=suite)
    near.begin()
    near.receive(sent[1])
    refuses(near, sent[3], AuthenticationError)


@suite_of_each
def test_a_listener_whose_own_randomness_is_stuck_takes_a_recording_for_a_dialler(suite):
    """Attack 15, its limit: who draws nothing fresh cannot tell a recording; nobody learns a key by it."""
    stuck = constant(b"\x07")
    sent = shake(initiator(suites=suite), Responder(BOB, RING, suite, stuck)).sent
    far = Responder(BOB, RING, suite, stuck)
    assert [far.receive(sent[0]), far.receive(sent[2])] == [sent[1], sent[3]]


# -- who is taken for whom -------------------------------------------------------------------------------------------

FIELDS_3 = {"own id": (0, 32), "own incarnation": (32, 48), "wanted id": (48, 80), "wanted incarnation": (80, 96)}
FIELDS_4 = {"own id": (0, 32), "own incarnation": (32, 48), "verdict": (48, 49)}


@suite_of_each
def test_no_name_in_a_proof_can_be_replaced_by_another(suite):
    """Attack 16, unknown key share. Every field of M3 and M4, by those of both ends, a third, and "anybody"."""
    for number, fields in ((3, FIELDS_3), (4, FIELDS_4)):
        honest = shake(initiator(suites=suite), responder(suites=suite)).sent[number - 1]
        for (start, end), who in product(fields.values(), (ALICE, BOB, CAROL, ANYBODY)):
            size = end - start
            new = who.digest if size == 32 else who.incarnation if size == 16 else bytes((NOT_ME,))
            lie = honest[:start] + new + honest[end:]

            def swap(at, message, lie=lie, number=number):
                return lie if at == number else message

            if lie != honest:
                assert not shake(initiator(suites=suite), responder(suites=suite), swap).both


@suite_of_each
def test_the_two_names_of_a_proof_swapped_prove_nothing(suite):
    """Attack 16."""
    near, far = initiator(suites=suite), responder(suites=suite)
    m3 = near.receive(far.receive(near.begin()))
    refuses(far, m3[48:96] + m3[:48] + m3[96:], AuthenticationError)
    near, far = initiator(suites=suite), responder(suites=suite)
    m4 = far.receive(near.receive(far.receive(near.begin())))
    refuses(near, b"".join(ALICE) + m4[48:], AuthenticationError)


@suite_of_each
def test_both_ends_of_every_accepted_link_name_each_other(suite):
    """Attack 16. Over all honest pairs and wishes: an accepted link never joins two who think of different peers."""
    everybody = (ALICE, BOB, CAROL)
    for own, there, wanted in product(everybody, everybody, (*everybody, ANYBODY)):
        outcome = shake(initiator(own=own, wanted=wanted, suites=suite), responder(own=there, suites=suite))
        assert outcome.near.verdict == outcome.far.verdict
        if outcome.near.verdict == ACCEPTED:
            assert (outcome.near.foreign, outcome.far.foreign) == (there, own)
            assert own != there
            assert wanted in {there, ANYBODY}


@suite_of_each
def test_a_verdict_that_has_no_meaning_here_is_a_protocol_error(suite):
    """Attack 4, by a member: its proof is good, its verdict is not one of ours."""
    for verdict in range(len(VERDICTS), 256):
        near, mallory = initiator(suites=suite), listener()
        m1 = near.begin()
        m3 = near.receive(m2 := mallory.m2(suite))
        refuses(near, mallory.m4(m1, m2, m3, verdict), RemoteProtocolError)
