"""Known answers: from a fixed secret and fixed randomness to every byte on the wire, as known_answers.json has them.

The file was written once. Each answer must be what hubnet says, and what the wire written out by hand says, so that it
is more than whatever the code does. A change of the file is a change of the wire, and needs another VERSION.
``python -m tests.security.test_known_answers`` prints it, computed by hand.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from hubnet.core import frames, handshake, signing
from hubnet.core.envelopes import Packer, Sender
from hubnet.core.handshake import Initiator, Responder, Self
from hubnet.core.keys import Keyring, derive, new_token, seed_of
from hubnet.core.sealing import Exchange
from tests.security import by_hand

FILE = Path(__file__).with_name("known_answers.json")
SEED = bytes(range(0x20, 0x40))
NAMESPACE = "known answers"
PASSPHRASE = "seven tired horses render films"
NEAR = by_hand.Who(bytes(range(0x40, 0x60)), bytes(range(0x60, 0x70)))
FAR = by_hand.Who(bytes(range(0x70, 0x90)), bytes(range(0x90, 0xA0)))
NEAR_DRAWS = bytes(range(0xA0, 0xC0)), bytes(range(0x01, 0x21))  # nonce, private X25519 key
FAR_DRAWS = bytes(range(0xC0, 0xE0)), bytes(range(0x11, 0x31))
SUITES = by_hand.NAMES
FRAMES: list[tuple[int, bytes, bytes, tuple[bytes, ...]]] = [
    (frames.HELLO, b'{"id":"x"}', b"", ()),
    (frames.REQUEST, b"arguments", b"render", ()),
    (frames.REQUEST, b"more arguments", b"render", (b"a buffer", b"", b"and another")),
    (frames.BYE, b"", b"", ()),
]
ANSWERS: list[tuple[int, bytes, bytes, tuple[bytes, ...]]] = [
    (frames.RESULT, b"result", b"", ()),
    (frames.RAISED, b"what went wrong", b"", ()),
]
PUBLISHER = Sender(b"MTAuMC4wLjE6MzAxMCAtPiByZW5kZXI=", NEAR.incarnation, True, "a machine")
CHANNEL = b"hubnet:known answers:event:render:done"
EVENTS = 7, [b"one event", b"", b"the third"]
PLACE = "hubnet:{known answers}:hubs|MTAuMC4wLjE6MzAxMCAtPiByZW5kZXI="
RECORD = {"port": 3010, "host": "10.0.0.1", "load": 0.25, "tags": ["r\u00e9nd\u00e9r"], "hub": True, "reason": None}

suite_of_each = pytest.mark.parametrize("suite", SUITES)


def computed_by_hand() -> dict[str, Any]:
    """All answers, with nothing of hubnet's."""
    keys = by_hand.keys_of(SEED, NAMESPACE)
    answers: dict[str, Any] = {
        "token": by_hand.token_of(SEED),
        "passphrase seed": by_hand.passphrase_seed(PASSPHRASE, NAMESPACE).hex(),
        "keys": {name: key.hex() for name, key in keys._asdict().items()},
        "envelope": by_hand.envelope(keys, PUBLISHER, CHANNEL, *EVENTS).hex(),
        "record": by_hand.record(keys, PLACE, RECORD),
    }
    for name, suite in SUITES.items():
        dialler = by_hand.Dialler(keys, suite, NEAR, FAR, nonce=NEAR_DRAWS[0], private=NEAR_DRAWS[1])
        listener = by_hand.Listener(keys, FAR, nonce=FAR_DRAWS[0], private=FAR_DRAWS[1])
        m1, m2 = dialler.m1(), listener.m2(suite)
        m3 = dialler.m3(m1, m2)
        m4 = listener.m4(m1, m2, m3)
        forth, back = dialler.agreement(m1, m2).traffic(m3, m4)
        there, home = by_hand.frames_of(suite, forth), by_hand.frames_of(suite, back)
        answers[name] = {
            "M1": m1.hex(), "M2": m2.hex(), "M3": m3.hex(), "M4": m4.hex(),
            "key i>r": forth.hex(), "key r>i": back.hex(),
            "frames i>r": [there.frame(*frame).hex() for frame in FRAMES],
            "frames r>i": [home.frame(*frame).hex() for frame in ANSWERS],
        }  # fmt: skip
    return answers


KNOWN: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}


def drawing(*draws: bytes):
    """Randomness that is told what to draw."""
    left = iter(draws)
    return lambda length: next(left)


def shaken(suite: int) -> tuple[list[bytes], handshake.Session, handshake.Session]:
    """hubnet's two ends on the fixed randomness: the four messages, and both sessions."""
    ring = Keyring([derive(SEED, NAMESPACE)])
    near = Initiator(Self(*NEAR), Self(*FAR), ring, suite, drawing(*NEAR_DRAWS))
    far = Responder(Self(*FAR), ring, suite, drawing(*FAR_DRAWS))
    messages = [near.begin()]
    messages.append(far.receive(messages[-1]))
    messages.append(near.receive(messages[-1]))
    messages.append(far.receive(messages[-1]))
    near.receive(messages[-1])
    assert near.session is not None
    assert far.session is not None
    return messages, near.session, far.session


def test_the_answers_are_those_of_the_wire_by_hand():
    """Attack 18. All of the file, by an implementation that shares nothing with hubnet."""
    assert computed_by_hand() == KNOWN


def test_the_secret_and_its_keys_are_the_known_ones():
    """Attack 18."""
    assert new_token(SEED) == KNOWN["token"]
    assert seed_of(KNOWN["token"], NAMESPACE) == SEED
    assert seed_of(PASSPHRASE, NAMESPACE).hex() == KNOWN["passphrase seed"]
    keys = derive(SEED, NAMESPACE)
    assert {name: key.hex() for name, key in keys._asdict().items()} == KNOWN["keys"]


@suite_of_each
def test_the_four_messages_and_both_keys_are_the_known_ones(suite):
    """Attack 18."""
    messages, near, far = shaken(SUITES[suite])
    assert [message.hex() for message in messages] == [KNOWN[suite][f"M{number}"] for number in (1, 2, 3, 4)]
    assert near.send_key.hex() == far.receive_key.hex() == KNOWN[suite]["key i>r"]
    assert near.receive_key.hex() == far.send_key.hex() == KNOWN[suite]["key r>i"]


@suite_of_each
def test_the_first_frames_of_both_directions_are_the_known_ones(suite):
    """Attack 18. Small ones by both ways of packing them."""
    _, near, far = shaken(SUITES[suite])
    for session, sent, direction in ((near, FRAMES, "frames i>r"), (far, ANSWERS, "frames r>i")):
        for small in (False, True):
            side = frames.protection(session)
            for (kind, body, name, buffers), known in zip(sent, KNOWN[suite][direction], strict=True):
                if small and not buffers:
                    wire = side.small(frames.prefix(kind, name), body)
                else:
                    pieces = side.pack(kind, body, name=name, buffers=[memoryview(one) for one in buffers])
                    wire = b"".join(bytes(piece) for piece in pieces)
                assert wire.hex() == known


def test_the_envelope_and_the_record_are_the_known_ones():
    """Attack 18."""
    ring = Keyring([derive(SEED, NAMESPACE)])
    assert Packer(PUBLISHER, ring).pack(CHANNEL, *EVENTS).hex() == KNOWN["envelope"]
    assert signing.sign(RECORD, PLACE, ring) == KNOWN["record"]


def test_the_secret_and_a_recording_do_not_open_a_sealed_link_but_do_open_a_tagged_one():
    """Attack 18. What suite 2 adds (forward secrecy) and what suite 1 lacks, should the secret leak later."""
    for suite, opens in (("tagged", True), ("sealed", False)):
        m1, m2, m3, m4 = (bytes.fromhex(KNOWN[suite][f"M{number}"]) for number in (1, 2, 3, 4))
        guessed = by_hand.Agreement(by_hand.keys_of(SEED, NAMESPACE).link, m1, m2).traffic(m3, m4)
        _, near, _ = shaken(SUITES[suite])
        assert (guessed == (near.send_key, near.receive_key)) == opens
        assert bool({*guessed} & {near.send_key, near.receive_key}) == opens


def all_keys() -> dict[str, bytes]:
    """Every key and secret of the answers, and those of other namespaces and secrets."""
    found = {"seed": SEED}
    for secret, namespace in ((SEED, NAMESPACE), (SEED, "other"), (SEED, ""), (FAR_DRAWS[0], NAMESPACE)):
        derived = derive(secret, namespace)
        found |= {
            f"{name} of {namespace!r} of {secret[0]}": getattr(derived, name) for name in ("link", "event", "record")
        }
    for suite, number in SUITES.items():
        _, near, _ = shaken(number)
        found |= {f"{suite}, i>r": near.send_key, f"{suite}, r>i": near.receive_key}
        agreed = by_hand.Agreement(
            derive(SEED, NAMESPACE).link, *(bytes.fromhex(KNOWN[suite][m]) for m in ("M1", "M2"))
        )
        for direction in (b"i>r", b"r>i"):
            label = f"{suite}, proof of {direction.decode()}"
            found[label] = by_hand.expand(agreed.secret, b"finished " + direction + agreed.transcript)
    return found


def test_no_key_is_zeros_and_no_two_are_the_same():
    """Attack 18, and CVE-2023-46129: per purpose, direction, suite, namespace and secret; nor are halves the same."""
    keys = all_keys()
    assert len(keys) == 33
    for name, key in keys.items():
        assert len(key) == 32, name
        assert len(set(key)) > 16, name
    for (one, key), (other, another) in combinations(keys.items(), 2):
        assert not {key[:16], key[16:]} & {another[:16], another[16:]}, (one, other)


@suite_of_each
def test_neither_the_secret_nor_a_key_is_ever_on_the_wire(suite):
    """Attack 18. In none of the bytes of the known conversation, nor the private X25519 keys."""
    answers = KNOWN[suite]
    wire = "".join(
        [*(answers[f"M{number}"] for number in (1, 2, 3, 4)), *answers["frames i>r"], *answers["frames r>i"]]
    )
    for key in (*all_keys().values(), NEAR_DRAWS[1], FAR_DRAWS[1]):
        assert key.hex() not in wire + KNOWN["envelope"] + KNOWN["record"]
    assert KNOWN["keys"]["kid"] in wire


def test_the_x25519_key_of_a_link_is_drawn_afresh_and_is_not_its_nonce():
    """Attack 18. What is drawn for the nonce is sent in clear."""
    assert NEAR_DRAWS[0].hex() in KNOWN["sealed"]["M1"]
    assert Exchange(NEAR_DRAWS[1]).public.hex() == KNOWN["sealed"]["M1"][-64:]
    assert Exchange(FAR_DRAWS[1]).public.hex() == KNOWN["sealed"]["M2"][-64:]


if __name__ == "__main__":
    print(json.dumps(computed_by_hand(), indent=2))
