"""Attacks by whoever may write to Redis and has no key: on events, and on the records of the register.

It may keep, delete, repeat and move what passes, and write what it likes. The plan lets it delete and delay, and bring
back for as long as a lease; never may it have anything executed, nor lead a peer to somebody else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from hubnet.core import handshake, sequence, signing
from hubnet.core.channels import Names, encoded
from hubnet.core.envelopes import Opener, Packer, Sender
from hubnet.core.handshake import NOT_ME, Self, digest_of
from hubnet.core.identity import generate_id
from hubnet.core.keys import Keyring
from hubnet.core.membership import Record, choose_hubs
from hubnet.core.register import Entry, Late, Register, Renewed
from hubnet.errors import AuthenticationError
from hubnet.registry import Registry
from tests.core import ends
from tests.core.ends import ALICE, ALICE_ID, BOB, BOB_ID, OTHER_TOKEN, RING, TOKEN, initiator, responder, shake
from tests.security import by_hand
from tests.security.by_hand import NAMES as SUITE_NAMES
from tests.security.by_hand import SUITES

NAMES = Names("default")
CHANNEL = NAMES.event("render", "done").encode()
SENDER = Sender(ALICE_ID, b"alice's process.", False, "machine")
OTHER_RING = Keyring.of([OTHER_TOKEN], "default")

suite_of_each = pytest.mark.parametrize("suite", SUITES, ids=list(SUITE_NAMES))


# -- events ----------------------------------------------------------------------------------------------------------


class Ear:
    """One route of a subscriber: envelopes are opened, and their numbers compared, as there."""

    def __init__(self, ring: Keyring = RING) -> None:
        self._opener = Opener(ring)
        self._numbers = sequence.Sequence()

    def hear(self, data: bytes, channel: bytes = CHANNEL) -> list[bytes]:
        """What is handed to handlers."""
        envelope = self._opener.open(channel, data)
        arrival = self._numbers.arrive(envelope.sender.incarnation, channel, envelope.first, envelope.size)
        return [bytes(body) for body in envelope.bodies()][arrival.repeated :]


def published(
    first: int, *bodies: bytes, channel: bytes = CHANNEL, sender: Sender = SENDER, ring: Keyring = RING
) -> bytes:
    return Packer(sender, ring).pack(channel, first, list(bodies))


def test_a_replayed_envelope_is_delivered_to_nobody_who_heard_it():
    """Attack 41. At once, later, and all of a day again in any order."""
    ear = Ear()
    day = [published(2 * at, b"%d" % at, b"and %d" % at) for at in range(20)]
    assert [body for data in day for body in ear.hear(data)] == [
        body for at in range(20) for body in (b"%d" % at, b"and %d" % at)
    ]
    for data in (*day, *reversed(day)):
        assert ear.hear(data) == []


@pytest.mark.parametrize(
    "channel",
    [NAMES.event("render", "removed"), NAMES.event("light", "done"), NAMES.event("", "done"), NAMES.presence,
     Names("other").event("render", "done"), NAMES.event_everywhere("done"), ""],
)  # fmt: skip
def test_an_envelope_replayed_on_another_channel_is_refused(channel):
    """Attack 41. Another event, another group, the hubs' news, the same names in another namespace."""
    with pytest.raises(AuthenticationError):
        Ear().hear(published(0, b"event"), channel.encode())


def test_an_envelope_of_another_namespace_is_refused_even_on_a_channel_of_the_same_name():
    """Attack 41. Two nets of one secret on one Redis: the key id is the same, the key is not."""
    other = Keyring.of([TOKEN], "other")
    assert other.first.kid == RING.first.kid
    with pytest.raises(AuthenticationError):
        Ear(other).hear(published(0, b"event"))
    with pytest.raises(AuthenticationError):
        Ear().hear(published(0, b"event", ring=other))


def test_an_envelope_of_a_publishers_earlier_process_is_not_delivered_twice():
    """Attack 41. To who heard that process; it restarted, and its numbers began again."""
    ear = Ear()
    reborn = SENDER._replace(incarnation=b"alice's next one")
    assert ear.hear(old := published(0, b"old")) == [b"old"]
    assert ear.hear(published(0, b"new", sender=reborn)) == [b"new"]
    assert ear.hear(old) == []


@pytest.mark.parametrize(
    "sender", [SENDER, SENDER._replace(incarnation=b"one of last year")], ids=["the living", "long gone"]
)
def test_an_old_envelope_is_new_once_to_a_subscriber_that_never_heard_that_incarnation(sender):
    """Attack 41. As docs/security.md says: no clock is in what is signed, so numbers and incarnations tell it alone."""
    recorded = published(0, b"delete the frames", sender=sender)
    ear = Ear()  # hours later, in another process
    assert ear.hear(recorded) == [b"delete the frames"]
    assert ear.hear(recorded) == []


def test_a_publisher_that_still_talks_is_not_forgotten_for_others_that_come(monkeypatch):
    """Attack 41. More publishers and channels than are remembered, and the busiest one's old events are new again."""
    monkeypatch.setattr(sequence, "_REMEMBERED", 3)
    ear = Ear()
    recorded = published(0, b"first")
    assert ear.hear(recorded) == [b"first"]
    for at in range(1, 6):
        ear.hear(published(0, b"hello", sender=SENDER._replace(incarnation=b"%016d" % at)))
        assert ear.hear(recorded) == []
        assert ear.hear(published(at, b"again")) == [b"again"]


def test_no_part_of_what_says_whose_event_it_is_can_be_changed():
    """Attack 41. Publisher, incarnation, numbers and key id of one envelope in the place of another's."""
    mine = published(5, b"event", b"another")
    theirs = bytearray(
        published(9, b"an event that is as long", sender=Sender(BOB_ID, BOB.incarnation, False, "machine"))
    )
    theirs[5] = 1
    end = mine.index(b"}") + 1
    fields = {"flags": (5, 6), "count": (8, 12), "number": (12, 20), "incarnation": (28, 44), "publisher": (44, end)}
    for start, end in fields.values():
        forged = mine[:start] + bytes(theirs[start:end]) + mine[end:]
        assert forged != mine
        with pytest.raises(AuthenticationError):
            Ear().hear(forged)
    with pytest.raises(AuthenticationError):
        Ear(Keyring.of([OTHER_TOKEN, TOKEN], "default")).hear(mine[:20] + OTHER_RING.first.kid + mine[28:])


def test_events_of_one_envelope_cannot_be_moved_into_another_nor_parted_otherwise():
    """Attack 41. The lengths of the bodies are proved, and so is where each begins."""
    data = published(0, b"delete", b"nothing")
    at = data.index((6).to_bytes(4, "little") + (7).to_bytes(4, "little"))
    with pytest.raises(AuthenticationError):
        Ear().hear(data[:at] + (13).to_bytes(4, "little") + (0).to_bytes(4, "little") + data[at + 8 :])
    tail = published(2, b"and more")
    for forged in {data[:cut] + tail[cut:] for cut in range(len(data))} - {data, tail}:
        with pytest.raises(AuthenticationError):
            Ear().hear(forged)


# -- the register ----------------------------------------------------------------------------------------------------


class Shelf:
    """A store of which the attacker has the key; the clock is turned by hand.

    Attributes:
        now: milliseconds.
        peers, their_hubs: what stands there, by id, to be read and written past every rule.
    """

    where = "a shelf"

    def __init__(self) -> None:
        self.now_ms = 1_000_000.0
        self.register = Register()
        self.peers: dict[bytes, bytes] = {}
        self.their_hubs: dict[bytes, bytes] = {}

    def write(self, entry: Entry, lease: int, expiry: int, epoch: str) -> tuple[str, bytes]:
        outcome = self.register.write(self.now_ms, entry, lease, expiry, epoch)
        if outcome[0] == "written":
            self.peers[entry.peer_id] = entry.text
        return outcome

    def withdraw(self, group: str, peer_id: bytes, incarnation: str, epoch: str, *, only_if_expired: bool) -> bool:
        return self.register.withdraw(self.now_ms, group, peer_id, incarnation, epoch, only_if_expired=only_if_expired)

    def renew(
        self, members: Sequence[tuple[str, bytes]], hub: tuple[bytes, bytes] | None, lease: int, expiry: int
    ) -> Renewed:
        if hub is not None:
            self.their_hubs[hub[0]] = hub[1]
        return Renewed(self.now_ms, [peer_id for _, peer_id, _ in members if peer_id not in self.peers], "")

    def late(self) -> Late:
        return Late(self.now_ms, {}, "")  # no version: all is read each time

    def records(self) -> dict[str, dict[bytes, bytes]]:
        return {encoded("render"): dict(self.peers)}

    def hubs(self, deadline: float | None = None) -> dict[bytes, bytes]:
        return dict(self.their_hubs)

    def now(self) -> float:
        return self.now_ms

    def close(self) -> None:
        """Nothing is open."""


LEASE = 10.0


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def registry(shelf: Shelf) -> Iterator[Registry]:
    yield Registry(shelf, NAMES, RING, lease=LEASE, suspect=3600.0)


def said(revision: int = 1, incarnation: bytes = BOB.incarnation, **more: Any) -> Record:
    return {"host": "10.0.0.2", "port": 3011, "incarnation": incarnation.hex(), "revision": revision, **more}


def entry_of(incarnation: bytes = BOB.incarnation) -> Record:
    return {"host": "10.0.0.2", "port": 3011, "incarnation": incarnation.hex()}


HERE = f"{NAMES.hubs}|{BOB_ID.decode()}"
MALLORY = b"mallory's......."
FORGERIES = {
    "unsigned": lambda text: json.dumps({**json.loads(text), "signature": ""}),
    "signed with another secret": lambda text: signing.sign(json.loads(text), HERE, OTHER_RING),
    "signed for its place among peers": lambda text: moved(text, NAMES.peers("render"), BOB_ID, RING),
    "signed for another hub": lambda text: moved(text, NAMES.hubs, ALICE_ID, RING),
    "of another namespace": lambda text: moved(text, Names("other").hubs, BOB_ID, Keyring.of([TOKEN], "other")),
    "with another address": lambda text: text.replace("10.0.0.2", "6.6.6.6"),
    "with another incarnation": lambda text: text.replace(BOB.incarnation.hex(), MALLORY.hex()),
    "renewed in the future": lambda text: text.replace('"renewed": 1000.0', '"renewed": 9000.0'),
    "renewed as text": lambda text: text.replace("1000.0", '"1000.0"'),
    "with an address before the address": lambda text: text.replace('"host"', '"host": "6.6.6.6", "hos\\u0074s"'),
    "with an address behind the address": lambda text: text.replace("}", ', "host": "6.6.6.6"}'),
    "with more": lambda text: text.replace("}", ', "more": null}'),
    "no json": lambda text: "\0" + text,
    "deep": lambda text: "[" * 100_000,
    "nothing": lambda text: "",
}


def moved(text: str, key: str, peer_id: bytes, ring: Keyring) -> str:
    """What a member once signed for another place."""
    return signing.sign(json.loads(text), f"{key}|{peer_id.decode()}", ring)


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_hub_is_no_hub(shelf, registry, forge):
    """Attack 42. Whatever stands in the list, only what a holder of the secret put into this very place counts."""
    registry.renew([], (BOB_ID, entry_of()))
    assert [hub.peer_id for hub in registry.hubs()] == [BOB_ID]
    honest = shelf.their_hubs[BOB_ID].decode()
    forged = forge(honest)
    assert forged != honest
    shelf.their_hubs[BOB_ID] = forged.encode()
    assert registry.hubs() == []
    assert registry.strangers == 1


@pytest.mark.parametrize("forge", ["moved", "unsigned", "changed", "of the hubs' list"])
def test_a_forged_record_is_no_record(shelf, registry, forge):
    """Attack 42."""
    registry.write(BOB_ID, said())
    honest = shelf.peers[BOB_ID]
    alias = generate_id(3012, "10.0.0.9", "render")
    where, text = {
        "moved": (alias, honest),
        "unsigned": (BOB_ID, json.dumps(said()).encode()),
        "changed": (BOB_ID, honest.replace(b"10.0.0.2", b"6.6.6.6.")),
        "of the hubs' list": (BOB_ID, signing.sign(said(), HERE, RING).encode()),
    }[forge]
    shelf.peers = {where: text}
    assert registry.snapshot().records == {}


@suite_of_each
def test_a_record_brought_back_leads_nowhere_once_its_peer_has_restarted(shelf, registry, suite):
    """Attack 42. It is still well signed, so it is listed; the handshake asks for the incarnation that it names."""
    registry.write(BOB_ID, said(incarnation=b"bob's last one.."))
    kept = shelf.peers[BOB_ID]
    registry.write(BOB_ID, said(), replaces=b"bob's last one..".hex())
    shelf.peers[BOB_ID] = kept
    found = registry.snapshot().records[BOB_ID]
    wanted = Self(digest_of(BOB_ID), bytes.fromhex(found["incarnation"]))
    outcome = shake(initiator(wanted=wanted, suites=suite), responder(own=BOB, suites=suite))
    assert outcome.near.verdict == outcome.far.verdict == NOT_ME


@suite_of_each
def test_a_record_that_names_an_address_where_another_member_listens_now_leads_nowhere(shelf, registry, suite):
    """Attack 42. A kept record of an address that was given away since."""
    registry.write(BOB_ID, said())
    found = registry.snapshot().records[BOB_ID]
    wanted = Self(digest_of(BOB_ID), bytes.fromhex(found["incarnation"]))
    outcome = shake(initiator(own=ends.BOB, wanted=wanted, suites=suite), responder(own=ALICE, suites=suite))
    assert outcome.near.verdict == NOT_ME


def test_an_older_revision_brought_back_still_names_the_same_process(shelf, registry):
    """Attack 42, its limit: what a record says beside that may be as old as its process; no reader remembers more."""
    registry.write(BOB_ID, said(revision=1, tags=["old"]))
    kept = shelf.peers[BOB_ID]
    registry.write(BOB_ID, said(revision=2, tags=["new"]))
    shelf.peers[BOB_ID] = kept
    found = registry.snapshot().records[BOB_ID]
    assert found == said(revision=1, tags=["old"])
    assert bytes.fromhex(found["incarnation"]) == BOB.incarnation


def test_an_older_revision_never_takes_the_place_of_a_newer_one_by_way_of_the_register(shelf, registry):
    """Attack 42. A late or repeated write of a peer's hub, not past the rules."""
    registry.write(BOB_ID, said(revision=2))
    written = registry.write(BOB_ID, said(revision=1))
    assert (written.outcome, written.holder) == ("older", said(revision=2))
    assert registry.snapshot().records[BOB_ID]["revision"] == 2


def test_a_forged_record_keeps_nobody_from_its_own_place(shelf, registry):
    """Attack 42. "Another incarnation holds this id" is believed of a signed record only."""
    forged = Entry(encoded("render"), BOB_ID, json.dumps(said(99, b"mallory's......")).encode(), "77" * 16, 99, "")
    shelf.write(forged, 10_000, 10_000, "epoch")
    assert registry.snapshot().records == {}
    assert registry.write(BOB_ID, said()).outcome == "written"
    assert registry.snapshot().records == {BOB_ID: said()}


def test_a_deleted_record_is_missed_at_the_next_renewal_and_nothing_stands_in_for_it(shelf, registry):
    """Attack 42. Whoever writes to Redis can always delete: the hub is told, and puts it back."""
    registry.write(BOB_ID, said())
    shelf.peers.clear()
    assert registry.snapshot().records == {}
    assert registry.renew([BOB_ID]) == [BOB_ID]


@suite_of_each
def test_a_hubs_entry_brought_back_is_tried_last_and_leads_nowhere(shelf, registry, suite):
    """Attack 42. When it was renewed is signed; the incarnation in it is the one that is asked for."""
    registry.renew([], (BOB_ID, entry_of(b"bob's last one..")))
    kept = shelf.their_hubs[BOB_ID]
    shelf.now_ms += 3600 * 1000
    registry.snapshot()  # the register's clock is read
    registry.renew([], (BOB_ID, entry_of()))
    registry.renew([], (ALICE_ID, {**entry_of(ALICE.incarnation), "host": "10.0.0.1"}))
    shelf.their_hubs[BOB_ID] = kept
    for at in range(20):
        tried = choose_hubs(b"peer %d" % at, registry.hubs(), LEASE)
        assert [hub.peer_id for hub in tried] == [ALICE_ID, BOB_ID]
    wanted = Self(digest_of(BOB_ID), tried[-1].incarnation)
    outcome = shake(initiator(own=ALICE, wanted=wanted, suites=suite), responder(own=BOB, suites=suite))
    assert outcome.near.verdict == handshake.NOT_ME


def test_the_record_of_the_hand_that_forges_is_believed_where_it_holds_the_key():
    """Else the refusals above would prove nothing."""
    keys = by_hand.keys_of(bytes(range(32)), "default")
    assert signing.verify(by_hand.record(keys, HERE, said()), HERE, RING) == said()
    with pytest.raises(AuthenticationError):
        signing.verify(by_hand.record(keys._replace(record=keys.event), HERE, said()), HERE, RING)
