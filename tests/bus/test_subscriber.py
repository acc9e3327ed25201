"""Subscribing: verified, filtered, once each, and proved after every reconnect."""

from __future__ import annotations

import pytest

from hubnet.core.channels import Names
from hubnet.core.keys import Keyring, new_token
from hubnet.core.selection import Query
from tests.odd_servers import Stranger
from tests.waiting import eventually

from .conftest import HTTP, NAMES, Server, Wires

OTHERS = Keyring.of([new_token(bytes(range(32)))], "tests")


def test_a_subscription_by_groups_and_one_for_all_each_hear_once(wires: Wires) -> None:
    one, two, other = wires("render"), wires("light"), wires()
    everyone, render, both = (
        other.hear("done"),
        other.hear("done", groups=("render",)),
        other.hear("done", groups=("render", "light")),
    )
    one.publish("done", b"from render")
    two.publish("done", b"from light")
    eventually(lambda: len(everyone) == len(both) == 2 and len(render) == 1)
    one.publish("done", b"end")
    eventually(lambda: len(everyone) == len(both) == 3 and len(render) == 2)
    assert sorted(both) == sorted(everyone) == [b"end", b"from light", b"from render"]
    assert render == [b"from render", b"end"]


def test_a_filter_is_decided_on_the_publisher(wires: Wires) -> None:
    one, hub, other = wires(), wires(hub=True), wires()
    hubs = other.hear("done", matcher=Query(hubs_only=True))
    mine = other.hear("done", matcher=Query(ids=frozenset((one.sender.peer_id,))))
    elsewhere = other.hear("done", matcher=Query(machine="another"))
    for wire in (one, hub):
        wire.publish("done", b"%d" % wire.sender.hub)
    eventually(lambda: hubs == [b"1"] and mine == [b"0"])
    assert elsewhere == []


def test_a_publisher_hears_itself_only_where_asked(wires: Wires) -> None:
    one = wires()
    local, foreign = one.hear("done", local=True), one.hear("done")
    one.publish("done", b"mine")
    wires().publish("done", b"another's")
    eventually(lambda: len(local) == 2 and len(foreign) == 1)
    assert foreign == [b"another's"]


@pytest.mark.parametrize("group", ["a b", "a:b", "a/b", "{a}", "100%", "ü 漢 🎬", "a*b?[c]", "\\", "x" * 200, "None"])
def test_odd_names_reach_their_own_channel_and_no_other(wires: Wires, group: str) -> None:
    one, two, other = wires(group), wires(group + "x"), wires()
    exact, everyone = other.hear(group.replace("*", "+"), groups=(group,)), other.hear(group.replace("*", "+"))
    another = other.hear("another")
    two.publish(group.replace("*", "+"), b"two")
    one.publish(group.replace("*", "+"), b"one")
    eventually(lambda: exact == [b"one"] and sorted(everyone) == [b"one", b"two"])
    assert another == []


def test_a_subscription_added_later_hears_from_then_on(wires: Wires) -> None:
    one, other = wires(), wires()
    first = other.hear("done")
    one.publish("done", b"1")
    eventually(lambda: first == [b"1"])
    second = other.hear("done")
    one.publish("done", b"2")
    eventually(lambda: first == [b"1", b"2"] and second == [b"2"])


def test_a_hundred_subscriptions_are_confirmed(wires: Wires) -> None:
    other = wires()
    made = [
        other.hear(f"event {number}", groups=("render",) if number % 2 else None, wait=False) for number in range(100)
    ]
    eventually(lambda: all(other.subscriber.is_live(one.subscription) for one in made))
    assert other.confirmations == 100
    wires().publish("event 77", b"x")
    eventually(lambda: made[77] == [b"x"])


@pytest.mark.parametrize("kind", ["forged", "altered", "moved", "cut", "pickle", "empty", "other namespace"])
def test_what_is_not_signed_for_its_channel_is_dropped_and_counted(wires: Wires, kind: str) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    channel = NAMES.event("render", "done").encode()
    good = bytearray(one.packer.pack(channel, 0, [b"body"]))
    if kind == "forged":
        good = bytearray(wires(ring=OTHERS).packer.pack(channel, 0, [b"body"]))
    elif kind == "altered":
        good[-20] ^= 1
    elif kind == "moved":
        good = bytearray(one.packer.pack(NAMES.event("render", "other").encode(), 0, [b"body"]))
    elif kind == "cut":
        good = good[: len(good) // 2]
    elif kind == "pickle":
        good = bytearray(b"cos\nsystem\n(S'false'\ntR.")
    elif kind == "empty":
        good = bytearray()
    elif kind == "other namespace":
        good = bytearray(one.packer.pack(Names("elsewhere").event("render", "done").encode(), 0, [b"body"]))
    client = wires.server.client()
    client.publish(channel, bytes(good))
    one.publish("done", b"good")
    eventually(lambda: heard == [b"good"])

    assert other.counted("events.rejected") == 1


def test_every_flipped_bit_of_an_envelope_is_dropped(wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    channel = NAMES.event("render", "done").encode()
    good = one.packer.pack(channel, 0, [b"body"])
    pipe = wires.server.client().pipeline(transaction=False)
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << (at % 8)
        pipe.publish(channel, bytes(bad))
    pipe.execute()
    one.publish("done", b"good")
    eventually(lambda: bool(heard))
    assert heard == [b"good"]
    assert other.counted("events.rejected") == len(good)


def test_a_repeated_envelope_is_delivered_once(wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    channel = NAMES.event("render", "done").encode()
    client = wires.server.client()
    for first, bodies in ((0, [b"0", b"1"]), (0, [b"0", b"1"]), (1, [b"1", b"2"]), (3, [b"3"]), (2, [])):
        client.publish(channel, one.packer.pack(channel, first, bodies))
    eventually(lambda: len(heard) == 4)
    eventually(lambda: other.counted("events.repeated") == 3)
    assert heard == [b"0", b"1", b"2", b"3"]
    assert other.counted("events.lost") == 0


def test_a_hole_and_a_lost_tail_are_counted_exactly(wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    channel = NAMES.event("render", "done").encode()
    client = wires.server.client()
    for first, bodies in ((0, [b"0"]), (5, [b"5"]), (10, [])):  # 1 to 4 are missing, and at the end 6 to 9
        client.publish(channel, one.packer.pack(channel, first, bodies))
    eventually(lambda: other.counted("events.lost") == 8)
    eventually(lambda: heard == [b"0", b"5"])  # handlers run on their own thread, behind the reader that counts


def test_a_new_subscriber_counts_nothing_that_was_before_it(wires: Wires) -> None:
    one = wires()
    for number in range(100):
        one.publish("done", b"%d" % number)
    assert one.publisher.flush(5)
    other = wires()
    heard = other.hear("done")
    one.publish("done", b"later")
    eventually(lambda: heard == [b"later"])
    assert other.counted("events.lost") == 0


def test_a_redis_that_hangs_is_waited_for_and_nothing_is_lost(server: Server, wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    server.pause()
    for number in range(100):
        one.publish("done", b"%d" % number)
    server.go_on()
    eventually(lambda: len(heard) == 100)
    assert other.counted("events.lost") == other.counted("reconnects.subscriptions") == 0


def test_a_subscriber_that_starts_before_redis_gets_its_events_later(server: Server, wires: Wires) -> None:
    server.kill()
    one, other = wires(), wires()
    heard = other.hear("done", wait=False)
    one.publish("done", b"early")
    server.start()
    eventually(lambda: other.subscriber.is_live(heard.subscription), 15)
    one.publish("done", b"late")
    eventually(lambda: heard[-1:] == [b"late"], 15)


def test_closing_ends_the_threads(wires: Wires) -> None:
    import threading

    one, other = wires(), wires()
    heard = other.hear("closing")
    one.publish("closing", b"x")
    eventually(lambda: heard == [b"x"])
    other.close()
    one.close()
    eventually(
        lambda: (
            not [
                t
                for t in threading.enumerate()
                if t.name in {"hubnet-on-closing", "hubnet-subscribe", "hubnet-publish"}
            ]
        )
    )


def test_what_is_no_redis_is_tried_again_without_a_traceback_until_redis_is_there(
    away: Server, wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = wires(), wires()
    with Stranger(HTTP, away.port) as stranger:
        heard = other.hear("done", wait=False)
        eventually(lambda: stranger.visits >= 4)
    told = [record for record in caplog.records if record.name == "hubnet"]
    assert all("subscriptions interrupted: " in record.getMessage() and not record.exc_info for record in told)
    assert "sesame" not in caplog.text
    assert other.counted("events.interruptions") >= 3

    away.start()
    eventually(lambda: other.subscriber.is_live(heard.subscription))
    one.publish("done", b"x")
    eventually(lambda: heard == [b"x"])


def test_what_is_no_redis_is_told_once(away: Server, wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    away.start()
    other = wires()
    other.hear("done")
    away.kill()  # at first the home says what is missing
    with Stranger(HTTP, away.port) as stranger:
        eventually(lambda: stranger.visits >= 4)
        assert caplog.text.count("Protocol error") == 1


def test_messages_of_a_stranger_are_told_once_for_each_channel_and_reason(
    wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    one, other, stranger = wires(), wires(), wires(ring=OTHERS)
    heard = other.hear("done")
    client = wires.server.client()
    for group in ("render", "light"):
        channel = NAMES.event(group, "done").encode()
        for number in range(50):
            client.publish(channel, stranger.packer.pack(channel, number, [b"body"]))
            client.publish(channel, b"no envelope at all, %d" % number)
    one.publish("done", b"good")
    eventually(lambda: heard == [b"good"])

    assert other.counted("events.rejected") == 200
    told = [text for text in caplog.messages if "dropped a message" in text]
    assert len(told) == len(set(told)) == 4
    assert {text.partition(":")[0].rpartition(" ")[0] for text in told} == {"dropped a message on"}
    assert sum("unknown secret" in text for text in told) == 2
    assert "more like it are only counted" in told[0]


def test_whoever_thinks_of_ever_new_channels_does_not_fill_the_log(
    wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    pipe = wires.server.client().pipeline(transaction=False)
    for number in range(2000):
        pipe.publish(NAMES.event(f"group {number}", "done"), b"no envelope")
    pipe.execute()
    one.publish("done", b"good")
    eventually(lambda: heard == [b"good"])

    assert other.counted("events.rejected") == 2000
    assert 0 < caplog.text.count("dropped a message") <= 100


def test_a_strangers_words_make_no_line_of_their_own_in_the_log_and_are_not_kept(
    server: Server, wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may publish chooses a channel's name: of any length, and with a line's end in it."""
    other = wires()
    other.hear("done")
    for number in range(3):
        channel = f"{NAMES.event('render', 'done').rpartition(':')[0]}\nFORGED {number}{'x' * 1_000_000}:done"
        server.client().publish(channel, b"junk")
    eventually(lambda: other.counted("events.rejected") == 3)
    told = [text for text in caplog.messages if "dropped a message" in text]
    assert told
    assert all(len(text) < 1000 and "\n" not in text for text in told)
    assert sum(map(len, other.subscriber._complaints)) < 3000
