"""Publishing: batches, order, the outbox, and Redis going away."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NoReturn

import pytest

from hubnet.core.envelopes import Opener
from hubnet.errors import BrokerUnavailable
from tests.odd_servers import Stranger
from tests.waiting import eventually

from .conftest import HTTP, NAMES, RING, Heard, Server, Wire, Wires


def test_what_is_published_is_heard_in_its_order(wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    for number in range(5000):
        one.publish("done", b"%d" % number)
    eventually(lambda: len(heard) == 5000)
    assert heard == [b"%d" % number for number in range(5000)]


def test_events_for_which_there_was_no_thread_wait_and_go_with_a_later_one(
    wires: Wires, threads_lack: Callable[[str], AbstractContextManager[None]]
) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    with threads_lack("hubnet-publish"):
        one.publish("done", b"1")
        assert not one.publisher.flush(0.1)
    one.publish("done", b"2")
    eventually(lambda: heard == [b"1", b"2"])
    with threads_lack("hubnet-publish"):
        poor = wires()
        poor.publish("done", b"3")
        poor.publisher.close()
    assert poor.counted("events.unsent") == 1


def test_events_that_wait_travel_together(wires: Wires) -> None:
    one = wires()
    raw = wires.server.client().pubsub()
    channel = NAMES.event("render", "done")
    raw.subscribe(channel)
    raw.get_message(timeout=5)
    for number in range(3000):
        one.publish("done", b"%d" % number)
    opener, sizes = Opener(RING), []
    while sum(sizes) < 3000:
        message = raw.get_message(timeout=5)
        assert message is not None
        envelope = opener.open(channel.encode(), message["data"])
        assert envelope.first == sum(sizes)
        sizes.append(envelope.size)
        assert len(message["data"]) < (64 << 10) + 40 * envelope.size
    raw.close()
    assert len(sizes) < 300


def test_a_hundred_thousand_small_events_are_all_heard(wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    for number in range(100_000):
        one.publish("done", number.to_bytes(4, "big"))
    eventually(lambda: len(heard) == 100_000, 40)
    assert heard == [number.to_bytes(4, "big") for number in range(100_000)]
    assert other.counted("events.lost") == other.counted("events.dropped_queue") == 0
    eventually(lambda: one.counted("events.published") == 100_000)


def test_threads_publish_at_once_and_each_keeps_its_order(wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")

    def publish(thread: int) -> None:
        for number in range(2000):
            one.publish("done", b"%d %d" % (thread, number))

    threads = [threading.Thread(target=publish, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(heard) == 8000)
    for number in range(4):
        mine = [int(body.split()[1]) for body in heard if body.startswith(b"%d " % number)]
        assert mine == list(range(2000))


def test_channels_are_numbered_each_by_itself(wires: Wires) -> None:
    one, other = wires(), wires()
    first, second = other.hear("first"), other.hear("second")
    for number in range(500):
        one.publish("first" if number % 3 else "second", b"%d" % number)
    eventually(lambda: len(first) + len(second) == 500)
    assert other.counted("events.lost") == 0


def test_publishing_never_waits_while_redis_is_away(server: Server, wires: Wires) -> None:
    one = wires()
    server.kill()
    begin = time.monotonic()
    for _ in range(10_000):
        one.publish("done", b"x")
    assert time.monotonic() - begin < 5
    assert one.publisher.waiting == 10_000


def test_an_outbox_that_is_full_drops_the_oldest_and_the_hole_is_counted_at_both_ends(
    server: Server, wires: Wires
) -> None:
    one, other = wires(outbox=(1 << 20, 100)), wires()
    heard = other.hear("done")
    one.publish("done", b"first")
    eventually(lambda: heard == [b"first"])
    eventually(lambda: one.counted("events.published") == 1)
    server.kill()
    for number in range(1000):
        one.publish("done", b"%d" % number)
    dropped = one.counted("events.dropped_outbox")
    server.start()

    eventually(lambda: heard[-1:] == [b"999"] or one.publisher.waiting == 0, 20)
    eventually(lambda: other.subscriber.is_live(heard.subscription), 20)
    one.publish("done", b"last")
    eventually(lambda: heard[-1:] == [b"last"], 20)
    assert dropped == one.counted("events.dropped_outbox") >= 900
    assert other.counted("events.lost") == 1002 - len(heard)
    assert heard[1:-1] == [b"%d" % number for number in range(1000 - (len(heard) - 2), 1000)]


def test_the_gap_a_subscriber_counts_is_what_the_outbox_dropped(server: Server, wires: Wires) -> None:
    """Redis hangs, so the subscriber stays subscribed: the outbox alone loses anything."""
    one, other = wires(outbox=(1 << 20, 100)), wires()
    heard = other.hear("done")
    one.publish("done", b"first")
    eventually(lambda: heard == [b"first"])
    server.pause()
    filler = bytes(1000)
    for number in range(20_000):
        one.publish("done", b"%d " % number + filler)
    eventually(lambda: one.counted("events.dropped_outbox") > 1000)
    server.go_on()

    eventually(lambda: bool(heard) and heard[-1].startswith(b"19999 "), 20)
    dropped = one.counted("events.dropped_outbox")
    assert len(heard) == 20_001 - dropped
    assert other.counted("events.lost") == dropped


def test_the_outbox_is_bounded_by_bytes_as_well(server: Server, wires: Wires) -> None:
    one = wires(outbox=(100_000, 1_000_000))
    server.kill()
    for _ in range(1000):
        one.publish("done", bytes(1000))
    assert one.publisher.waiting <= 100
    assert one.counted("events.dropped_outbox") >= 900


def test_after_a_restart_of_redis_events_go_on_and_nothing_comes_twice(server: Server, wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    sent = 0
    for _ in range(3):
        for _ in range(200):
            one.publish("done", b"%d" % sent)
            sent += 1
        eventually(lambda: heard[-1:] == [b"%d" % (sent - 1)], 20)  # noqa: B023 - asked at once
        server.kill()
        eventually(lambda: not other.subscriber.is_live(heard.subscription))
        server.start()
        eventually(lambda: other.subscriber.is_live(heard.subscription), 20)
    one.publish("done", b"%d" % sent)
    eventually(lambda: heard[-1:] == [b"%d" % sent], 20)

    assert heard == [b"%d" % number for number in range(sent + 1)]
    assert other.counted("reconnects.subscriptions") == 3


def test_a_restart_of_redis_in_the_middle_of_a_stream_loses_only_what_is_counted(server: Server, wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    stop = threading.Event()
    sent = [0]

    def publish() -> None:
        while not stop.is_set():
            one.publish("done", b"%d" % sent[0])
            sent[0] += 1
            if sent[0] % 50 == 0:
                stop.wait(0.001)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(2):
            before = len(heard)
            eventually(lambda: len(heard) > before + 1000, 20)  # noqa: B023 - asked at once
            server.kill()
            server.start()
            eventually(lambda: other.subscriber.is_live(heard.subscription), 20)
    finally:
        stop.set()
        thread.join()
    assert one.publisher.flush(20)
    eventually(lambda: len(heard) + other.counted("events.lost") == sent[0], 20)
    numbers = [int(body) for body in heard]
    assert numbers == sorted(set(numbers))  # in order, nothing twice


def test_closing_sends_what_is_left(wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    for number in range(20_000):
        one.publish("done", b"%d" % number)
    one.close()
    eventually(lambda: len(heard) == 20_000)
    assert one.publisher.waiting == 0


def test_a_high_water_mark_shows_a_lost_tail(wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    one.publish("done", b"first")
    eventually(lambda: heard == [b"first"])
    with away_for_a_while(wires, other, heard):
        one.publish("done", b"second")
        eventually(lambda: one.counted("events.published") == 2)
    eventually(lambda: other.counted("events.lost") == 1)
    assert heard == [b"first"]


def test_who_comes_back_after_the_first_mark_hears_the_next_one(wires: Wires) -> None:
    """As after any cut that takes longer than a second."""
    one, other = wires(), wires()
    heard = other.hear("done")
    one.publish("done", b"first")
    eventually(lambda: heard == [b"first"])
    with away_for_a_while(wires, other, heard):
        raw = wires.server.client().pubsub(ignore_subscribe_messages=True)
        raw.psubscribe("*")
        one.publish("done", b"second")
        sizes: list[int] = []
        while sizes[-1:] != [0]:
            if message := raw.get_message(timeout=10):
                sizes.append(Opener(RING).open(message["channel"], message["data"]).size)
        raw.close()
    eventually(lambda: other.counted("events.lost") == 1)
    assert heard == [b"first"]


@contextmanager
def away_for_a_while(wires: Wires, other: Wire, heard: Heard) -> Iterator[None]:
    """A subscriber without a connection, until the end of the block."""
    other.broker.open, opens = refuses, other.broker.open  # type: ignore[method-assign]
    wires.server.client().client_kill_filter(_type="pubsub")
    eventually(lambda: not other.subscriber.is_live(heard.subscription))
    yield
    other.broker.open = opens  # type: ignore[method-assign]
    eventually(lambda: other.subscriber.is_live(heard.subscription))


def refuses(*args: object, **kwargs: object) -> NoReturn:
    raise BrokerUnavailable("Redis is out of reach")


def test_an_idle_publisher_sends_a_mark_twice_as_late_each_time(wires: Wires) -> None:
    one = wires()
    raw = wires.server.client().pubsub()
    raw.psubscribe("*")
    raw.get_message(timeout=5)
    one.publish("done", b"x")
    sizes, since = [], time.monotonic()
    while (message := raw.get_message(timeout=3.5)) is not None:
        sizes.append(Opener(RING).open(message["channel"], message["data"]).size)
    raw.close()
    assert sizes[0] == 1
    assert sizes[1:] == [0] * (len(sizes) - 1)
    assert len(sizes) - 1 <= math.log2(time.monotonic() - since + 1)


def test_a_busy_channel_does_not_keep_the_marks_of_a_silent_one(wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    one.publish("done", b"first")
    eventually(lambda: heard == [b"first"])
    with away_for_a_while(wires, other, heard):
        one.publish("done", b"second")
        eventually(lambda: one.counted("events.published") == 2)

    def lost_while_another_channel_is_busy() -> bool:
        for _ in range(1000):
            one.publish("other", b"x")
        return other.counted("events.lost") == 1

    eventually(lost_while_another_channel_is_busy, pause=0.001)


def test_the_last_events_of_a_channel_that_the_outbox_dropped_for_another_one_are_counted(
    server: Server, wires: Wires
) -> None:
    one, other = wires(outbox=(1 << 20, 100)), wires()
    heard = other.hear("done")
    one.publish("done", b"first")
    eventually(lambda: heard == [b"first"])
    server.pause()
    for number in range(3):
        one.publish("done", b"%d" % number + bytes(200_000))
    for number in range(2000):
        one.publish("other", b"%d" % number + bytes(20_000))
    server.go_on()
    assert one.publisher.flush(20)
    eventually(lambda: len(heard) - 1 + other.counted("events.lost") == 3)


def test_what_is_no_redis_is_tried_again_without_a_traceback_until_redis_is_there(
    away: Server, wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = wires(), wires()
    with Stranger(HTTP, away.port) as stranger:
        one.publish("done", b"x")
        eventually(lambda: stranger.visits >= 4)
    told = [record for record in caplog.records if record.name == "hubnet"]
    assert told
    assert all("publishing interrupted, " in record.getMessage() and not record.exc_info for record in told)
    assert "sesame" not in caplog.text
    assert one.counted("events.interruptions") >= 3
    assert one.counted("events.published") == 0

    away.start()
    other.hear("done")
    eventually(lambda: one.counted("events.published") == 1)


def test_what_is_no_redis_is_told_once(away: Server, wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    one = wires()
    with Stranger(HTTP, away.port) as stranger:
        one.publish("done", b"x")
        eventually(lambda: stranger.visits >= 4)
        assert caplog.text.count("publishing interrupted") == 1
        assert "Protocol error" in caplog.text


def test_what_redis_has_not_taken_when_a_peer_is_stopped_is_counted_and_told(
    server: Server, wires: Wires, caplog
) -> None:
    one = wires()
    one.publish("done", b"0")
    assert one.publisher.flush(20)
    server.kill()
    for _ in range(3):
        one.publish("done", b"more")
    one.publisher.close(0.1)
    assert one.counted("events.unsent") == 3
    assert one.publisher.waiting == 0
    assert "3 events were not taken by Redis before this peer was stopped" in caplog.text


def test_a_signal_that_publishes_while_the_first_event_begins_the_thread_begins_no_second_one(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    real, begun = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        real(thread)
        if thread.name == "hubnet-publish":
            begun.append(thread)
            if len(begun) == 1:
                one.publish("done", b"of the signal")

    monkeypatch.setattr(threading.Thread, "start", start)
    one.publish("done", b"first")
    eventually(lambda: heard == [b"first", b"of the signal"])
    assert len(begun) == 1
