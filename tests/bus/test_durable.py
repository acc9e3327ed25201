"""Durable events: what a subscriber missed is read from Redis's stream, in order and once; what is gone is counted."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

import hiredis
import pytest

from hubnet.bus import durable, refill, streams
from hubnet.core.gap import Gap
from hubnet.redis_socket import next_reply
from tests.odd_servers import Stranger
from tests.waiting import eventually

from .conftest import NAMES, Server, Wire, Wires

CHANNEL = NAMES.event("render", "done").encode()
STREAM = NAMES.stream(NAMES.event("render", "done"))


def numbered(begin: int, end: int) -> list[bytes]:
    return [b"%d" % number for number in range(begin, end)]


def keep(one: Wire, begin: int, end: int) -> None:
    for body in numbered(begin, end):
        one.keep("done", body)
    assert one.durable.flush(10)


def cut(server: Server, *wires: Wire) -> None:
    """Their subscribers' connections break; those of publishers stay."""
    for one in wires:
        hang_up(server, one.subscriber._sock)


def hang_up(server: Server, sock: socket.socket | None) -> None:
    """Redis ends a connection."""
    assert sock is not None
    where = "{}:{}".format(*sock.getsockname()[:2])
    assert server.client().execute_command("CLIENT", "KILL", "ADDR", where) in {1, b"OK", "OK"}


class Away:
    """A subscriber that cannot come back yet."""

    def __init__(self, server: Server, one: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
        self._back = threading.Event()
        real = one.broker.open

        def open_later(deadline: float | None = None) -> object:
            if threading.current_thread().name == "hubnet-subscribe":
                self._back.wait(30)
            return real(deadline)

        monkeypatch.setattr(one.broker, "open", open_later)
        confirmed = one.confirmations
        cut(server, one)
        eventually(lambda: one.subscriber._sock is None)
        self.is_back: Callable[[], bool] = lambda: one.confirmations > confirmed

    def comes_back(self) -> None:
        self._back.set()
        eventually(self.is_back)


@pytest.fixture
def replica(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may become a replica of the test's own."""
    made = Server(tmp_path_factory.mktemp("replica"))
    made.client().config_set("masterauth", "sesame")
    for one in (made, server):
        one.client().config_set("repl-diskless-sync-delay", "0")
    yield made
    made.kill()


def test_a_durable_event_is_heard_as_any_other_and_stands_in_the_stream(server: Server, wires: Wires) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    keep(one, 0, 500)
    eventually(lambda: heard == numbered(0, 500))
    assert one.counted("events.published") == 500
    stream = NAMES.stream(NAMES.event("render", "done"))
    assert 0 < server.client().xlen(stream) <= 500
    assert server.client().xlen(NAMES.streams) == 1


@pytest.mark.parametrize("groups", [None, ("render",)], ids=["pattern", "channel"])
def test_what_went_by_in_a_cut_is_read_from_the_stream(server: Server, wires: Wires, groups, monkeypatch) -> None:
    one, other = wires(), wires()
    heard = other.hear("done", groups=groups)
    keep(one, 0, 10)
    eventually(lambda: len(heard) == 10)
    away = Away(server, other, monkeypatch)
    keep(one, 10, 300)
    away.comes_back()
    keep(one, 300, 310)
    eventually(lambda: len(heard) >= 310)
    assert heard == numbered(0, 310)
    assert other.counted("events.lost") == 0


def test_a_tail_that_went_by_in_a_cut_needs_no_later_event(server: Server, wires: Wires, monkeypatch) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    keep(one, 0, 10)
    eventually(lambda: len(heard) == 10)
    away = Away(server, other, monkeypatch)
    keep(one, 10, 20)
    one.durable.close()  # it will say nothing more, not even a mark
    away.comes_back()
    eventually(lambda: heard == numbered(0, 20))


def test_a_publisher_that_was_never_heard_before_the_cut_is_read_as_well(
    server: Server, wires: Wires, monkeypatch
) -> None:
    one, two, other = wires(), wires(), wires()
    heard = other.hear("done")
    keep(one, 0, 1)
    eventually(lambda: len(heard) == 1)
    away = Away(server, other, monkeypatch)
    keep(two, 100, 120)
    away.comes_back()
    eventually(lambda: heard == [b"0", *numbered(100, 120)])
    assert other.counted("events.lost") == 0


def test_who_subscribes_without_since_hears_nothing_of_before(server: Server, wires: Wires) -> None:
    one, other = wires(), wires()
    keep(one, 0, 10)
    heard = other.hear("done")
    keep(one, 10, 20)
    eventually(lambda: heard == numbered(10, 20))


@pytest.mark.parametrize("groups", [None, ("render",)], ids=["pattern", "channel"])
def test_since_replays_what_was_before_and_goes_on_with_what_comes(server: Server, wires: Wires, groups) -> None:
    one, two, other = wires(), wires("render"), wires()
    keep(one, 0, 50)
    keep(two, 1000, 1050)
    heard = other.hear("done", groups=groups, since=60.0)
    keep(one, 50, 100)
    eventually(lambda: len(heard) == 150)
    assert [body for body in heard if len(body) < 4] == numbered(0, 100)
    assert [body for body in heard if len(body) == 4] == numbered(1000, 1050)


def test_since_replays_to_its_own_handler_alone(server: Server, wires: Wires) -> None:
    one, other = wires(), wires()
    keep(one, 0, 20)
    now, back = other.hear("done"), other.hear("done", since=60.0)
    keep(one, 20, 40)
    eventually(lambda: back == numbered(0, 40))
    eventually(lambda: now == numbered(20, 40))


def test_since_is_a_time_by_redis_clock(server: Server, wires: Wires) -> None:
    one, other = wires(), wires()
    keep(one, 0, 5)
    time.sleep(1.5)
    keep(one, 5, 10)
    heard = other.hear("done", since=1.0)
    eventually(lambda: heard == numbered(5, 10))


def test_since_respects_the_filter(server: Server, wires: Wires) -> None:
    one, two, other = wires("render"), wires("light"), wires("render")
    keep(one, 0, 5)
    keep(two, 5, 10)
    other.keep("done", b"own")
    assert other.durable.flush(10)
    heard = other.hear("done", groups=("light",), since=60.0)
    eventually(lambda: heard == numbered(5, 10))


def test_what_the_stream_has_no_more_is_counted_and_told_in_its_place(
    server: Server, wires: Wires, monkeypatch
) -> None:
    one, other = wires(), wires()
    gaps: list[tuple[int, Gap]] = []
    heard = other.hear("done", on_gap=lambda gap: gaps.append((len(heard), gap)))
    keep(one, 0, 10)
    eventually(lambda: len(heard) == 10)
    away = Away(server, other, monkeypatch)
    keep(one, 10, 20)
    server.client().delete(NAMES.stream(NAMES.event("render", "done")))
    keep(one, 20, 30)
    away.comes_back()
    eventually(lambda: heard == [*numbered(0, 10), *numbered(20, 30)])
    eventually(lambda: gaps == [(10, Gap("done", 10, one.sender.peer_id, "lost"))])
    assert other.counted("events.lost") == 10


def test_the_stream_is_capped(server: Server, wires: Wires) -> None:
    one = wires(length=10)
    stream = NAMES.stream(NAMES.event("render", "done"))
    for number in range(400):
        keep(one, number, number + 1)
    assert server.client().xlen(stream) < 200  # "~": by whole nodes of a hundred


def test_a_redis_that_began_anew_is_sent_the_last_minute_again(server: Server, wires: Wires) -> None:
    one, other, late = wires(), wires(), wires()
    heard = other.hear("done")
    keep(one, 0, 50)
    eventually(lambda: len(heard) == 50)
    server.kill()
    for body in numbered(50, 60):
        one.keep("done", body)
    server.start()
    eventually(lambda: one.durable.flush(1) and one.counted("events.sent_again") == 50)
    eventually(lambda: heard == numbered(0, 60))
    assert other.counted("events.lost") == 0
    replayed = late.hear("done", since=60.0)
    eventually(lambda: replayed == numbered(0, 60))


@pytest.mark.parametrize("lives", [True, False])
def test_what_went_by_in_a_cut_before_redis_began_anew_is_waited_for_while_its_publisher_may_send_it_again(
    server: Server, wires: Wires, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    """The subscriber is back sooner than the publisher, and finds a stream that has nothing of it yet."""
    one, other = wires(), wires()
    heard = other.hear("done")
    keep(one, 0, 10)
    eventually(lambda: len(heard) == 10)
    away = Away(server, other, monkeypatch)
    reads, tells = threading.Event(), threading.Event()
    opened = other.broker.open

    def open_when(deadline: float | None = None) -> object:
        if threading.current_thread().name == "hubnet-refill":
            assert reads.wait(30)
        return opened(deadline)

    monkeypatch.setattr(other.broker, "open", open_when)
    keep(one, 10, 20)
    away.comes_back()
    keep(one, 20, 21)
    eventually(lambda: any(filling.held for filling in other.subscriber._refill._fillings.values()))
    told = one.broker.open
    monkeypatch.setattr(one.broker, "open", lambda *when: tells.wait(30) and told(*when))
    server.kill()
    confirmed = other.confirmations
    server.start()
    eventually(lambda: other.confirmations > confirmed)
    reads.set()
    eventually(lambda: "cmdstat_xrevrange" in server.client().info("commandstats"))
    if lives:
        tells.set()
        eventually(lambda: len(heard) >= 21)
        assert heard == numbered(0, 21)
        assert other.counted("events.lost") == 0
    else:
        eventually(lambda: heard == [*numbered(0, 10), b"20"])
        assert other.counted("events.lost") == 10
        tells.set()


def test_a_redis_that_was_anothers_replica_for_a_while_is_sent_the_last_minute_again(
    server: Server, wires: Wires, replica: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failed over and back, by the same process, while the publisher was away: it has what the other one had."""
    one = wires()
    keep(one, 0, 5)
    back, opened = threading.Event(), one.broker.open
    monkeypatch.setattr(one.broker, "open", lambda *when: back.wait(30) and opened(*when))
    hang_up(server, one.durable._sock)
    client = server.client()
    client.config_set("masterauth", "sesame")
    client.replicaof("127.0.0.1", replica.port)
    eventually(lambda: client.xlen(STREAM) == 0)
    client.replicaof("NO", "ONE")
    back.set()
    eventually(lambda: one.counted("events.sent_again") == 5 and one.durable.flush(1))
    assert client.xlen(STREAM) >= 1


@pytest.mark.parametrize("lost", [0, 1, 7, 40])
def test_of_what_was_acknowledged_that_alone_is_sent_again_which_redis_lacks(
    server: Server, wires: Wires, lost: int
) -> None:
    """A failover loses the last of it; all of it again would keep the new ones waiting, and drive others out of the stream."""
    one, other = wires(), wires()
    heard = other.hear("done")
    for number in range(50):
        keep(one, number, number + 1)  # an envelope each
    eventually(lambda: len(heard) == 50)
    client = server.client()
    for entry, _ in client.xrevrange(STREAM, count=lost) if lost else ():
        client.xdel(STREAM, entry)
    one.durable._identity = "another"
    hang_up(server, one.durable._sock)
    keep(one, 50, 51)
    assert one.counted("events.sent_again") == lost
    eventually(lambda: heard == numbered(0, 51))
    assert client.xlen(STREAM) == 51
    assert other.counted("events.lost") == 0


def test_it_is_looked_for_over_all_channels_in_the_order_of_their_telling(server: Server, wires: Wires) -> None:
    """Also where one stream is short, and the oldest have gone from it by themselves."""
    one, other, late = wires(), wires(), wires()
    heard = {name: other.hear(name) for name in ("done", "half")}
    names = ["half" if number % 3 == 1 else "done" for number in range(30)]
    for number, name in enumerate(names):
        one.keep(name, b"%d" % number)
        assert one.durable.flush(10)  # an envelope each
    told = {name: [b"%d" % number for number in range(30) if names[number] == name] for name in heard}
    client = server.client()
    streams = {name: NAMES.stream(NAMES.event(one.group, name)) for name in heard}
    for name in names[:-8:-1]:  # the last seven
        (last,) = client.xrevrange(streams[name], count=1)
        client.xdel(streams[name], last[0])
    client.xtrim(streams["half"], maxlen=3, approximate=False)
    one.durable._identity = "another"
    hang_up(server, one.durable._sock)
    one.keep("done", b"30")
    assert one.durable.flush(10)
    assert one.counted("events.sent_again") == 7
    replayed = late.hear("done", since=60.0)
    eventually(lambda: replayed == [*told["done"], b"30"] == heard["done"])
    assert heard["half"] == told["half"]
    assert other.counted("events.lost") == late.counted("events.lost") == 0


def test_of_another_kind_of_stream_it_is_all_sent_again(server: Server, wires: Wires) -> None:
    one = wires()
    keep(one, 0, 5)
    server.client().delete(STREAM)
    server.client().set(STREAM, "a string")
    one.durable._identity = "another"
    hang_up(server, one.durable._sock)
    eventually(lambda: one.counted("events.sent_again") >= 1)


def test_durable_events_that_a_full_outbox_drops_are_counted_apart(server: Server, wires: Wires) -> None:
    one = wires(outbox=(1 << 20, 10))
    server.kill()
    for number in range(30):
        one.publish("done", b"%d" % number)
        one.keep("done", b"%d" % number)
    dropped = {which: one.counted(f"events.dropped_{which}") for which in ("outbox", "durable")}
    assert dropped["durable"] == 30 - one.durable.waiting == 20
    assert dropped["outbox"] == 60 - one.durable.waiting - one.publisher.waiting == 40


def test_what_was_acknowledged_longer_ago_is_not_sent_again(server: Server, wires: Wires, monkeypatch) -> None:
    monkeypatch.setattr(durable, "KEPT_SECONDS", 0.0)
    one = wires()
    keep(one, 0, 5)
    time.sleep(0.01)
    keep(one, 5, 6)
    server.kill()
    server.start()
    keep(one, 6, 7)
    assert one.counted("events.sent_again") <= 1


@pytest.fixture
def goes_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Has so many seconds go by at once, for those who keep what was acknowledged."""
    clock = SimpleNamespace(ahead=0.0, monotonic=lambda: time.monotonic() + clock.ahead)
    monkeypatch.setattr(durable, "time", clock)
    return lambda seconds: setattr(clock, "ahead", clock.ahead + seconds)


def begins_anew(server: Server, one: Wire, expected: int) -> None:
    """Redis does, and so many events have been sent again by now."""
    server.kill()
    server.start()
    eventually(lambda: one.counted("events.sent_again") >= expected and one.durable.flush(1))
    assert one.counted("events.sent_again") == expected


def test_what_is_sent_again_gets_no_younger_by_it(server: Server, wires: Wires, goes_by) -> None:
    """Else a Redis that restarts every half a minute would be sent more each time, without an end."""
    one = wires()
    keep(one, 0, 5)
    goes_by(40)
    keep(one, 5, 10)
    begins_anew(server, one, 10)
    goes_by(40)
    keep(one, 10, 15)
    begins_anew(server, one, 20)


def test_what_redis_never_had_for_a_minute_is_sent_again_however_long_it_was_away(
    server: Server, wires: Wires, goes_by
) -> None:
    one = wires()
    keep(one, 0, 5)
    goes_by(600)
    begins_anew(server, one, 5)
    begins_anew(server, one, 10)


def test_redis_with_a_full_memory_is_asked_again_until_it_takes_them(server: Server, wires: Wires, caplog) -> None:
    one, other = wires(), wires()
    heard, plain = other.hear("done"), other.hear("plain")
    server.client().config_set("maxmemory", "1")
    for body in numbered(0, 10):
        one.keep("done", body)
    eventually(lambda: "takes no durable events just now: OOM" in caplog.text)
    one.publish("plain", b"goes by")
    eventually(lambda: plain == [b"goes by"])
    assert heard == []
    server.client().config_set("maxmemory", "0")
    eventually(lambda: heard == numbered(0, 10))
    assert one.counted("events.refused_by_redis") == 0


def test_a_stream_of_another_kind_is_told_and_the_event_heard_all_the_same(
    server: Server, wires: Wires, caplog
) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    server.client().set(NAMES.stream(NAMES.event("render", "done")), "junk")
    keep(one, 0, 3)
    eventually(lambda: heard == numbered(0, 3))
    assert one.counted("events.refused_by_redis") == 3
    assert "WRONGTYPE" in caplog.text


def test_a_stream_that_cannot_be_read_holds_nothing_back_for_long(
    server: Server, wires: Wires, monkeypatch, caplog
) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    keep(one, 0, 10)
    eventually(lambda: len(heard) == 10)
    away = Away(server, other, monkeypatch)
    keep(one, 10, 20)
    server.client().rename(NAMES.stream(NAMES.event("render", "done")), "elsewhere")
    server.client().set(NAMES.stream(NAMES.event("render", "done")), "junk")
    away.comes_back()
    server.client().delete(NAMES.stream(NAMES.event("render", "done")))
    keep(one, 20, 30)
    eventually(lambda: heard[-10:] == numbered(20, 30))
    assert other.counted("events.lost") == 10


def test_junk_in_a_stream_is_counted_and_passed_over(server: Server, wires: Wires) -> None:
    one, other = wires(), wires()
    keep(one, 0, 5)
    stream = NAMES.stream(NAMES.event("render", "done"))
    server.client().xadd(stream, {"e": b"junk"})
    server.client().xadd(stream, {"a": b"b", "c": b"d"})
    server.client().xadd(NAMES.streams, {"c": b"junk"})
    keep(one, 5, 10)
    heard = other.hear("done", since=60.0)
    eventually(lambda: heard == numbered(0, 10))
    assert other.counted("events.rejected") == 3


@pytest.mark.parametrize(
    "name", [b"hubnet:tests:event:\xff:done", b"hubnet:tests:event:done", b"hubnet:tests:event:a:b:done", b"\xff", b""]
)
def test_a_stranger_in_the_list_of_streams_keeps_nobody_from_what_was_before(
    server: Server, wires: Wires, name: bytes
) -> None:
    """The list is not signed: a worker's user of Redis may write there without the secret."""
    one, other = wires(), wires()
    keep(one, 0, 5)
    server.client().xadd(NAMES.streams, {"c": name})
    heard = other.hear("done", since=60.0)
    keep(one, 5, 10)
    eventually(lambda: heard == numbered(0, 10))
    assert other.counted("events.rejected") == 1


def test_whatever_fails_in_reading_what_was_before_what_comes_is_heard(
    server: Server, wires: Wires, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = wires(), wires()
    monkeypatch.setattr(other.subscriber._streams, "_channels", lambda talk: 1 / 0)
    heard = other.hear("done", since=60.0)
    keep(one, 0, 5)
    eventually(lambda: heard == numbered(0, 5))
    assert other.counted("events.refills_failed") == 1
    assert "ZeroDivisionError" in caplog.text


def test_a_stream_that_somebody_has_spoiled_is_told_once_and_each_event_counted(
    server: Server, wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    """Who may add to a stream may add the last entry that it can ever have: a worker's user of Redis may."""
    one = wires()
    keep(one, 0, 1)
    server.client().xadd(NAMES.stream(NAMES.event("render", "done")), {"e": b"junk"}, id=f"{2**64 - 1}-{2**64 - 1}")
    keep(one, 1, 20)
    assert one.counted("events.refused_by_redis") == 19
    assert caplog.text.count("refused an event") == 1


def test_replicated_events_are_done_once_a_replica_has_them_and_that_none_has_is_told_once(
    server: Server, wires: Wires, replica: Server, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = wires(), wires()
    heard = other.hear("done")
    one.durable.replicate(CHANNEL)
    one.keep("done", b"0")
    eventually(lambda: heard == [b"0"])
    assert not one.durable.flush(0.5)
    one.keep("done", b"1")
    assert not one.durable.flush(0.5)
    assert caplog.text.count("no replica took them") == 1
    client = replica.client()
    client.replicaof("127.0.0.1", server.port)
    assert one.durable.flush(20)
    assert client.xlen(STREAM) == 2
    keep(one, 2, 50)
    eventually(lambda: client.xlen(STREAM) >= 3)


def test_what_no_replica_has_is_not_done_because_the_connection_on_which_it_went_has_ended(
    server: Server, wires: Wires, replica: Server
) -> None:
    """WAIT speaks of what its own connection wrote: on a new one there is nothing that a replica might not have."""
    one, other = wires(), wires()
    heard = other.hear("done")
    one.durable.replicate(CHANNEL)
    replica.client().replicaof("127.0.0.1", server.port)
    keep(one, 0, 1)
    replica.pause()
    for body in numbered(1, 10):
        one.keep("done", body)
    eventually(lambda: heard == numbered(0, 10))
    assert not one.durable.flush(0.5)
    gone = one.durable._sock
    hang_up(server, gone)
    eventually(lambda: one.durable._sock not in {None, gone})
    assert not one.durable.flush(2)
    replica.go_on()
    assert one.durable.flush(20)
    assert heard == numbered(0, 10)


def test_what_a_replica_has_makes_room_without_a_word_and_what_none_has_is_counted_and_not_done(
    server: Server, wires: Wires, replica: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = wires()
    one.durable.replicate(CHANNEL)
    replica.client().replicaof("127.0.0.1", server.port)
    monkeypatch.setattr(one.durable, "_most_bytes", 5000)
    for _ in range(20):
        one.keep("done", bytes(900))
        assert one.durable.flush(20)
    assert one.counted("events.unreplicated") == 0
    replica.pause()
    published = one.counted("events.published")
    for number in range(20):
        one.keep("done", bytes(900))
        eventually(lambda number=number: one.counted("events.published") == published + number + 1)
    assert not one.durable.flush(0.5)
    assert 10 <= one.counted("events.unreplicated") <= 19
    replica.go_on()
    assert one.durable.flush(20)


def test_nobody_is_told_that_all_is_done_while_it_is_about_to_be_sent_again(
    server: Server, wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = wires()
    one.durable.replicate(CHANNEL)
    one.keep("done", b"0")
    assert not one.durable.flush(0.5)
    said: list[bool] = []
    again = one.durable._marks.again
    monkeypatch.setattr(one.durable._marks, "again", lambda now: (said.append(one.durable.flush(0)), again(now)))
    server.kill()
    server.start()
    assert eventually(lambda: said) == [False]


def test_an_overflowing_queue_is_told_where_it_happened(server: Server, wires: Wires) -> None:
    one, other = wires(), wires()
    gate, said, begun = threading.Event(), [], []

    def hold(body: bytes) -> None:
        begun.append(body)
        gate.wait(20)

    oldest = other.hear("done", hold, queue=100, on_gap=lambda gap: said.append(("oldest", gap.lost, gap.reason)))
    newest = other.hear(
        "done", hold, queue=100, overflow="newest",
        on_gap=lambda gap: said.append(("newest", gap.lost, gap.reason)),
    )  # fmt: skip
    everything = other.hear("done")
    one.publish("done", b"0")
    eventually(lambda: begun == [b"0", b"0"])  # what a handler has in hand makes room
    for body in numbered(1, 1000):
        one.publish("done", body)
    eventually(lambda: len(everything) == 1000)
    assert oldest.subscription.depth <= 200
    assert newest.subscription.depth <= 200
    gate.set()
    eventually(lambda: oldest[-1] == b"999")
    eventually(lambda: newest.subscription.depth == oldest.subscription.depth == 0)
    lost = {who: sum(count for whose, count, _ in said if whose == who) for who in ("oldest", "newest")}
    eventually(lambda: sum(count for _, count, _ in said) == 2000 - len(oldest) - len(newest))
    lost = {who: sum(count for whose, count, _ in said if whose == who) for who in ("oldest", "newest")}
    assert lost == {"oldest": 1000 - len(oldest), "newest": 1000 - len(newest)}
    assert newest == numbered(0, len(newest))
    assert {reason for _, _, reason in said} == {"queue"}
    assert other.counted("events.dropped_queue") == sum(lost.values())


def test_nothing_is_left_running_after_the_end(server: Server, wires: Wires, monkeypatch) -> None:
    one, other = wires(), wires()
    heard = other.hear("done", since=5.0)
    keep(one, 0, 3)
    eventually(lambda: len(heard) == 3)
    server.kill()
    for wire in (one, other):
        wire.close()
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "hubnet-refill"])


def test_whoever_waits_for_a_stream_waits_no_longer_than_its_patience(
    server: Server, wires: Wires, monkeypatch
) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.2)
    one, other = wires(), wires()
    plain = other.hear("other")
    monkeypatch.setattr(streams, "Talk", lambda broker: (_ for _ in ()).throw(ConnectionRefusedError("away")))
    heard = other.hear("done", since=60.0)
    keep(one, 0, 3)
    eventually(lambda: heard == numbered(0, 3))
    assert plain == []
    assert other.counted("events.refills_failed") == 1


def test_a_replay_keeps_no_more_than_its_bound_over_all_its_channels_and_says_so(
    server: Server, wires: Wires, monkeypatch
) -> None:
    groups = [f"group {number}" for number in range(5)]
    for group in groups:
        one = wires(group)
        for number in range(10):
            one.keep("done", b"%d" % number + bytes(1000))
            assert one.durable.flush(10)  # an envelope each
    monkeypatch.setattr(streams, "_MOST_BYTES", 20_000)
    other = wires("others")
    heard = other.hear("done", since=60.0)
    eventually(lambda: other.counted("events.replays_cut") == 1)
    eventually(lambda: len(heard) > 10)
    assert len(heard) < 30


@pytest.mark.parametrize("late", [True, False], ids=["since", "refill"])
def test_an_entry_that_is_longer_than_any_of_ours_is_not_taken_in(
    server: Server, wires: Wires, monkeypatch, late: bool
) -> None:
    """Whoever may write the stream may write half a gigabyte there."""
    monkeypatch.setattr(streams, "_MOST_ANSWER", 1 << 20)
    one, other = wires(), wires()
    heard = other.hear("done")
    keep(one, 0, 3)
    eventually(lambda: heard == numbered(0, 3))
    away = Away(server, other, monkeypatch)
    keep(one, 3, 6)
    server.client().xadd(NAMES.stream(NAMES.event("render", "done")), {"e": bytes(2 << 20)})
    away.comes_back()
    eventually(lambda: other.counted("events.refills_failed") == 1)
    if late:
        heard = other.hear("done", since=60.0)
        eventually(lambda: other.counted("events.refills_failed") == 2)
    keep(one, 6, 9)
    eventually(lambda: heard[-3:] == numbered(6, 9))


def test_what_is_no_envelope_is_looked_at_within_bounds(server: Server, wires: Wires, monkeypatch) -> None:
    monkeypatch.setattr(streams, "_MOST_LOOKED_AT", 100_000)
    one, other = wires(), wires()
    keep(one, 0, 3)
    stream = NAMES.stream(NAMES.event("render", "done"))
    for _ in range(50):
        server.client().xadd(stream, {"e": bytes(10_000)})
    heard = other.hear("done", since=60.0)
    eventually(lambda: other.counted("events.replays_cut") == 1)
    assert 10 <= other.counted("events.rejected") <= 40
    keep(one, 3, 6)
    eventually(lambda: heard == numbered(3, 6))


def test_what_had_to_go_of_a_new_publisher_during_a_reading_is_counted(
    server: Server, wires: Wires, monkeypatch
) -> None:
    """Its stream does not have it either: nothing was known of it, and its first events would be missing unseen."""
    monkeypatch.setattr(refill, "_MOST_HELD", 3000)
    known, new, other = wires(), wires(), wires()
    heard = other.hear("done")
    keep(known, 0, 3)
    eventually(lambda: heard == numbered(0, 3))
    gate = threading.Event()
    real = other.subscriber._streams._read
    monkeypatch.setattr(other.subscriber._streams, "_read", lambda *args: (gate.wait(20), [])[1] or real(*args)[:0])
    away = Away(server, other, monkeypatch)
    away.comes_back()
    for number in range(10):
        new.keep("done", b"%d" % number + bytes(1000))
        assert new.durable.flush(10)
    eventually(lambda: any(one.let_go for one in other.subscriber._refill._fillings.values()))
    gate.set()
    eventually(lambda: heard[-1][:1] == b"9")
    eventually(lambda: len(heard) - 3 + other.counted("events.lost") == 10)
    assert len(heard) < 10


def test_large_events_before_small_ones_are_read_in_smaller_pages(server: Server, wires: Wires, monkeypatch) -> None:
    """As many of the large ones as of the small ones would be a longer answer than any that we take."""
    monkeypatch.setattr(streams, "_MOST_ANSWER", 1 << 20)
    one, other = wires(), wires()
    for number in range(20):
        one.keep("done", b"%02d" % number + bytes(600_000 if number < 8 else 10))
        assert one.durable.flush(10)  # an envelope each
    heard = other.hear("done", since=60.0)
    eventually(lambda: [body[:2] for body in heard] == [b"%02d" % number for number in range(20)])
    assert other.counted("events.refills_failed") == 0


def test_a_large_channel_leaves_the_newest_of_small_ones_their_room(server: Server, wires: Wires, monkeypatch) -> None:
    large, small, other = wires("a"), wires("b"), wires("others")
    for _ in range(30):
        large.keep("done", b"large" + bytes(10_000))
        assert large.durable.flush(10)
    for number in range(3):
        small.keep("done", b"small %d" % number)
        assert small.durable.flush(10)
    monkeypatch.setattr(streams, "_MOST_BYTES", 100_000)
    heard = other.hear("done", since=60.0, groups=("a", "b"))
    eventually(lambda: other.counted("events.replays_cut") == 1)
    eventually(lambda: {b"small 0", b"small 1", b"small 2"} <= set(heard))
    assert len(heard) < 20


@pytest.mark.parametrize(("pace", "comes"), [(20.0, True), (float("inf"), False)])
def test_a_slow_answer_is_waited_for_as_long_as_it_comes(pace: float, comes: bool) -> None:
    with (
        Stranger(b"$100\r\n" + bytes(100) + b"\r\n", letters_every=0.01) as slow,
        socket.create_connection(("127.0.0.1", slow.port)) as sock,
    ):
        sock.sendall(b"x")
        asked = partial(next_reply, sock, hiredis.Reader(), time.monotonic() + 0.5, pace=pace)
        if comes:
            assert asked() == bytes(100)
        else:
            with pytest.raises(TimeoutError):
                asked()
