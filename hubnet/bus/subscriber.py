"""Subscribing: one connection, one reader thread, any number of subscriptions.

The reader always drains, so Redis never cuts this peer off for a slow handler. Each envelope is verified, its numbers are
compared once per route (the exact channel or the pattern it came by), and it goes to the subscriptions of that route whose
filter lets its publisher through; where numbers of a durable channel are missing, its stream is read first. The reader owns
reconnecting: after it subscribes again it waits for an echo, since a silent half-open connection looks healthy.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from hubnet import machine
from hubnet.broker import Broker
from hubnet.bus.refill import Refill
from hubnet.bus.streams import Streams
from hubnet.bus.subscription import Subscription
from hubnet.core import pauses
from hubnet.core.channels import Names
from hubnet.core.envelopes import Envelope, Opener
from hubnet.core.sequence import Sequence
from hubnet.counters import Counters
from hubnet.errors import AuthenticationError, BrokerUnavailable, HubnetError
from hubnet.links.threads import begin, say_what_is_wanted
from hubnet.redis_socket import resp

_ECHO_LIMIT = 5.0
_QUIET = 2.0
_MOST_COMPLAINTS = 100
_SHOWN = 200  # bytes of a stranger's text in a log
_log = logging.getLogger("hubnet")


class Subscriber:
    """The receiving side of the bus; its thread starts with the first subscription."""

    def __init__(
        self,
        broker: Broker,
        opener: Opener,
        names: Names,
        incarnation: bytes,
        counters: Counters,
        confirmed: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._opener = opener
        self._names = names
        self._incarnation = incarnation
        self._counters = counters
        self._on_confirmed = confirmed
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._by_channel: dict[bytes, list[Subscription]] = {}
        self._by_pattern: dict[bytes, list[Subscription]] = {}
        self._confirmed: set[bytes] = set()
        self._sequences: dict[bytes, Sequence] = {}
        self._groups: dict[bytes, str] = {}
        self._thread: threading.Thread | None = None
        self._trouble = ""
        self._stop = threading.Event()
        self._echo_until: float | None = None
        self._doubts = False
        self._sock: Any = None
        self._owner: Any = None
        self._reader: Any = None
        self._wake = machine.Nudge()
        self._told: set[bytes] = set()
        self._complaints: set[str] = set()
        self._streams = Streams(broker, opener, names, counters)
        self._refill = Refill(self._streams, self._sequence, self._on_refill, self._wake.give)
        self._to_replay: list[Subscription] = []
        self._heard_at = 0.0

    # -- what others ask -------------------------------------------------------------------------------------------

    def add(self, subscription: Subscription, *, instead_of: Iterable[Subscription] = ()) -> None:
        """Hear what this subscription names from now on; those that it replaces get nothing more."""
        with self._lock:
            for old in instead_of:
                for route, table in self._routes_of(old):
                    table[route].remove(old)
                old.finish()
            for route, table in self._routes_of(subscription):
                table.setdefault(route, []).append(subscription)
            if subscription.since is not None:
                self._to_replay.append(subscription)
            self._begin()
        self._wake.give()
        if self._thread is None:
            say_what_is_wanted()

    def start(self) -> bool:
        """Begin to hear what is subscribed to; whether there is a thread for it, if it takes one."""
        with self._lock:
            wanted = any(self._by_channel.values()) or any(self._by_pattern.values())
            if wanted:
                self._begin()
            begun = self._thread is not None or not wanted
        say_what_is_wanted()
        return begun

    def _begin(self) -> None:
        if self._thread is None and not self._stop.is_set():
            self._thread = begin(self._run, "hubnet-subscribe", locked=True)

    def is_live(self, subscription: Subscription) -> bool:
        """Whether Redis has confirmed all that it hears."""
        return all(route in self._confirmed for route, _ in self._routes_of(subscription))

    def wait_live(self, subscriptions: Iterable[Subscription], deadline: float) -> bool:
        """Wait until all of these are confirmed."""
        wanted = list(subscriptions)
        with self._lock:
            if wanted:
                self._begin()  # where there was no thread to be had before
            return self._changed.wait_for(
                lambda: self._stop.is_set() or all(self.is_live(one) for one in wanted),
                max(0.0, deadline - time.monotonic()),
            )

    def queued(self) -> int:
        """Events that wait for handlers."""
        return sum(one.depth for one in self._subscriptions())

    def abandon(self) -> None:
        """In a forked child: close our copies without a word."""
        self._wake.abandon()
        self._streams.abandon()
        if self._sock is not None:
            os.close(self._sock.detach())

    def close(self) -> None:
        """End the connection, then the handlers."""
        with self._lock:
            self._stop.set()
            self._changed.notify_all()
        self._wake.give()
        self._streams.close()
        if self._thread:
            self._thread.join(2)
        if not (self._thread and self._thread.is_alive()):
            self._wake.close()
        for subscription in self._subscriptions():
            subscription.close()

    def _subscriptions(self) -> list[Subscription]:
        with self._lock:
            every = [one for table in (self._by_channel, self._by_pattern) for ones in table.values() for one in ones]
        return list(dict.fromkeys(every))

    def _routes_of(self, subscription: Subscription) -> list[tuple[bytes, dict[bytes, list[Subscription]]]]:
        if subscription.pattern is not None:
            return [(subscription.pattern.encode(), self._by_pattern)]
        return [(channel.encode(), self._by_channel) for channel in subscription.channels or ()]

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        import hiredis

        first = True
        while not self._stop.is_set():
            try:
                self._connect(again=not first)
                first = False
                self._listen()
            except (HubnetError, OSError, hiredis.HiredisError) as error:
                if not self._stop.is_set():
                    if str(error) != self._trouble and not first:  # at first the home says what is missing
                        _log.warning("subscriptions interrupted: %s", error)
                    self._trouble = str(error)
                    self._counters.add("events.interruptions")
            except Exception:
                _log.exception("subscribing failed")
            self._disconnect()
            self._stop.wait(machine.jitter(*pauses.BEFORE_REDIS))

    def _connect(self, *, again: bool) -> None:
        import hiredis

        self._sock, self._owner = self._broker.open()
        self._reader = hiredis.Reader()
        self._told.clear()
        if again:
            self._counters.add("reconnects.subscriptions")
        self._subscribe_new()
        self._doubts = False
        self._expect_echo(_ECHO_LIMIT)

    def _disconnect(self) -> None:
        owner, self._sock, self._owner = self._owner, None, None
        self._refill.cut_off()
        with self._lock:
            self._confirmed.clear()
        if owner is not None:
            owner.disconnect()

    def _subscribe_new(self) -> None:
        with self._lock:
            channels = [route for route in self._by_channel if route not in self._told]
            patterns = [route for route in self._by_pattern if route not in self._told]
        self._told.update(channels, patterns)
        for command, routes in ((b"SUBSCRIBE", channels), (b"PSUBSCRIBE", patterns)):
            if routes:
                self._sock.sendall(resp(command, *routes))

    def _expect_echo(self, limit: float) -> None:
        """A ping in the same stream: its answer proves that all subscriptions before it were taken."""
        self._echo_until = time.monotonic() + limit
        self._sock.sendall(resp(b"PING", b"echo"))

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wake.fileno, select.POLLIN)
        while not self._stop.is_set():
            ready = poll.poll(self._patience())
            if not ready:
                self._on_silence()
            if any(fd == self._wake.fileno for fd, _ in ready):
                self._wake.take()
                self._subscribe_new()
                self._refill.results()
                self._begin_replays()
            if any(fd != self._wake.fileno for fd, _ in ready):
                data = self._sock.recv(262_144)
                if not data:
                    raise BrokerUnavailable("Redis closed the connection")
                if self._echo_until is None:
                    self._heard_at = time.monotonic()
                self._reader.feed(data)
                while (message := self._reader.gets()) is not False:
                    self._on_message(message)

    def _patience(self) -> float | None:
        """Milliseconds until a silence is one to do something about; None: where else should we go?"""
        if self._echo_until is not None:
            return max(0.0, self._echo_until - time.monotonic()) * 1000
        return _QUIET * 1000 if self._broker.may_move else None

    def _on_silence(self) -> None:
        """A Redis that stands still keeps its connections: it is left only for the one that took its place."""
        if self._echo_until is None:
            self._doubts = True
            self._expect_echo(_QUIET)
        elif not self._doubts:
            raise BrokerUnavailable("Redis took our subscriptions without an answer")
        elif self._broker.has_moved(self._sock):
            raise BrokerUnavailable("Redis stands still, and another one has taken its place")
        else:
            self._echo_until = time.monotonic() + _QUIET

    def _on_message(self, message: Any) -> None:
        if isinstance(message, Exception):
            raise BrokerUnavailable(f"Redis refused a subscription: {message}")
        if not isinstance(message, list):
            self._echoed()  # a bare +PONG: nothing was subscribed yet
            return
        kind = message[0]
        if kind == b"message":
            self._on_envelope(message[1], message[1], self._by_channel, message[2])
        elif kind == b"pmessage":
            self._on_envelope(message[1], message[2], self._by_pattern, message[3])
        elif kind in {b"subscribe", b"psubscribe"}:
            with self._lock:
                self._confirmed.add(message[1])
                self._changed.notify_all()
            self._refill.subscribed(message[1])
            self._begin_replays()
            self._on_confirmed()
        elif kind == b"pong":
            self._echoed()

    def _echoed(self) -> None:
        self._echo_until = None
        self._trouble = ""
        if not self._doubts:
            self._refill.back(self._heard_at)
        self._doubts = False

    def _on_envelope(self, route: bytes, channel: bytes, table: dict[bytes, list[Subscription]], data: bytes) -> None:
        try:
            envelope = self._opener.open(channel, data)
            group = self._group_of(channel)
        except (AuthenticationError, ValueError) as error:
            self._counters.add("events.rejected")
            self._tell_once(channel, str(error))
            return
        wanted = envelope.durable and self._wanting(route, table, envelope, group)
        if not (wanted and self._refill.takes((route, channel), envelope)):
            self._arrive(route, channel, table, envelope, group)

    def _on_refill(self, place: tuple[bytes, bytes], envelope: Envelope) -> None:
        """A durable envelope goes on that was held back, or read from its stream."""
        route, channel = place
        table = self._by_pattern if route in self._by_pattern else self._by_channel
        self._arrive(route, channel, table, envelope, self._group_of(channel))

    def _sequence(self, route: bytes) -> Sequence:
        sequence = self._sequences.get(route)
        if sequence is None:
            sequence = self._sequences[route] = Sequence()
        return sequence

    def _arrive(
        self, route: bytes, channel: bytes, table: dict[bytes, list[Subscription]], envelope: Envelope, group: str
    ) -> None:
        """Compare its numbers, and queue it wherever it is wanted."""
        arrival = self._sequence(route).arrive(envelope.sender.incarnation, channel, envelope.first, envelope.size)
        wanting = self._wanting(route, table, envelope, group)
        if arrival.lost:
            self._missed(arrival.lost, channel, wanting, envelope.sender.peer_id)
        if arrival.repeated:
            self._counters.add("events.repeated", arrival.repeated)
        if envelope.size > arrival.repeated:
            for subscription in wanting:
                subscription.put(envelope, arrival.repeated, channel)

    def _wanting(
        self, route: bytes, table: dict[bytes, list[Subscription]], envelope: Envelope, group: str
    ) -> list[Subscription]:
        """The subscriptions whose filter lets its publisher through."""
        own = envelope.sender.incarnation == self._incarnation
        return [one for one in table.get(route, ()) if one.wants(envelope.sender, group, own=own)]

    def _begin_replays(self) -> None:
        """Read for each subscription that wants events of before it, once it hears those of now."""
        with self._lock:
            live = [one for one in self._to_replay if self.is_live(one)]
            self._to_replay = [one for one in self._to_replay if one not in live]
        for subscription in live:
            known = [channel.encode() for channel in subscription.channels or ()]
            self._streams.replay(
                lambda channel, one=subscription: _matches(one.pattern or "", channel),  # type: ignore[misc]
                known, subscription.since or 0.0, lambda found, one=subscription: self._replay(one, found),  # type: ignore[misc]
            )  # fmt: skip

    def _replay(self, subscription: Subscription, found: list[tuple[bytes, Envelope]] | None) -> None:
        """In the thread that reads streams: hand on what its filter lets through, and what came meanwhile."""
        wanted = []
        for channel, envelope in found or ():
            sender = envelope.sender
            if subscription.wants(sender, self._group_of(channel), own=sender.incarnation == self._incarnation):
                wanted.append((channel, envelope))
        subscription.replay(wanted)

    def _missed(self, lost: int, channel: bytes, wanting: Iterable[Subscription], publisher: bytes) -> None:
        """A hole in what a publisher sent, which is a loss for those alone that wanted it."""
        counts = False
        for subscription in wanting:
            if subscription.on_missed:
                subscription.on_missed()
            else:
                counts = True
                subscription.missed(lost, publisher)
        if counts:
            self._counters.add("events.lost", lost)
            _log.warning("lost %d events on %s", lost, channel.decode(errors="replace"))

    def _tell_once(self, channel: bytes, error: str) -> None:
        """Whoever may publish could fill our log and memory otherwise, or write lines of its own there."""
        what = f"{channel[:_SHOWN].decode(errors='replace')!r}: {error[:_SHOWN]!s}"
        if what not in self._complaints and len(self._complaints) < _MOST_COMPLAINTS:
            self._complaints.add(what)
            _log.warning("dropped a message on %s; more like it are only counted", what)

    def _group_of(self, channel: bytes) -> str:
        group = self._groups.get(channel)
        if group is None:
            text = channel.decode("ascii")
            group = "" if text == self._names.presence else self._names.parse_event(text)[0]
            self._groups[channel] = group
        return group


def _matches(pattern: str, channel: bytes) -> bool:
    """Whether a pattern with one star means this channel; a group has no colon."""
    before, _, after = pattern.encode().partition(b"*")
    fits = channel.startswith(before) and channel.endswith(after) and len(channel) >= len(before) + len(after)
    return fits and b":" not in channel[len(before) : len(channel) - len(after)]
