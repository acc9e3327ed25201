"""Reading durable streams: a thread that starts with the first need, asks Redis over a connection of its own, and hangs up.

It fetches and verifies, nothing else: what is wanted is decided in ``core/refill.py``, and what was found goes back to whoever
asked. While Redis is out of reach it tries again, for as long as somebody may wait for missing events; then it says so.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, TypeVar

from hubnet import machine
from hubnet.broker import Broker
from hubnet.core import pauses
from hubnet.core.channels import Names
from hubnet.core.envelopes import Envelope, Opener
from hubnet.core.refill import Reading
from hubnet.counters import Counters
from hubnet.errors import AuthenticationError, BrokerUnavailable, HubnetError
from hubnet.links.threads import begin, say_what_is_wanted
from hubnet.redis_socket import TooMuch, next_reply, resp

PATIENCE = 30.0
"""Seconds until missing events are given up while Redis does not answer."""
_ANSWER_LIMIT = 5.0
_SLOWEST = 256 << 10  # bytes a second of a long answer
_PAGE, _PAGE_BYTES = 16, 8 << 20
_MOST_ANSWER = 80 << 20  # an event of the highest HUBNET_EVENT_LIMIT, or a page of those of the usual one
_MOST_BYTES = 64 << 20  # as much as a subscription's queue takes
_MOST_LOOKED_AT = 4 * _MOST_BYTES  # what is not wanted, or no envelope, included
_MOST_CHANNELS = 10_000
_FINAL = ("NOPERM", "ERR", "WRONGTYPE")
_log = logging.getLogger("hubnet")
Found = TypeVar("Found")
_Entry = tuple[float, Envelope]
"""When Redis took it, in milliseconds of its own clock, and what."""


class _Refused(HubnetError):
    """Redis will not do it, today or tomorrow."""


class _Room:
    """What one job may still keep, and look at, of what it reads."""

    def __init__(self) -> None:
        self.kept = _MOST_BYTES
        self.looked_at = _MOST_LOOKED_AT

    @property
    def is_full(self) -> bool:
        return self.kept <= 0 or self.looked_at <= 0


class Talk:
    """A connection to Redis on which one command is asked at a time."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._open()

    def _open(self) -> None:
        import hiredis

        self.sock, self._owner = self._broker.open(time.monotonic() + _ANSWER_LIMIT)
        self._reader = hiredis.Reader()

    def begin_anew(self) -> None:
        """On another connection: this one is in the middle of an answer that nobody wants."""
        self.hang_up()
        self._open()

    def ask(self, *command: bytes) -> Any:
        """The answer to one command."""
        self.sock.settimeout(_ANSWER_LIMIT)
        self.sock.sendall(resp(*command))
        reply = next_reply(self.sock, self._reader, time.monotonic() + _ANSWER_LIMIT, _MOST_ANSWER, pace=_SLOWEST)
        if isinstance(reply, Exception):
            said = str(reply)
            kind = _Refused if said.startswith(_FINAL) else BrokerUnavailable
            raise kind(f"Redis refuses {command[0].decode()}: {said}")
        return reply

    def hang_up(self) -> None:
        """Close it."""
        self._owner.disconnect()


class Streams:
    """Reads the durable streams of one namespace for one subscriber."""

    def __init__(self, broker: Broker, opener: Opener, names: Names, counters: Counters) -> None:
        self._broker = broker
        self._opener = opener
        self._names = names
        self._counters = counters
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._talk: Talk | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def read(
        self, channel: bytes, reading: Callable[[float], Reading], done: Callable[[list[Envelope] | None], None],
        *, after: float = 0.0,
    ) -> None:  # fmt: skip
        """Fetch of one channel's stream what a reading wants, which is made once Redis has told its time (milliseconds).

        ``done`` gets them in the order in which they were written, or None when they could not be had; so many seconds later.
        """

        def work(talk: Talk) -> list[Envelope]:
            if after:
                self._stop.wait(after)
            return [one for _, one in self._read(talk, channel, reading(_now(talk)), _Room())]

        self._ask(work, done)

    def channels(self, done: Callable[[list[bytes] | None], None]) -> None:
        """The channels of which there are streams."""
        self._ask(self._channels, done)

    def replay(
        self, wants: Callable[[bytes], bool], known: list[bytes], since: float,
        done: Callable[[list[tuple[bytes, Envelope]] | None], None],
    ) -> None:  # fmt: skip
        """Fetch what was written in the last `since` seconds, with its channel: of `known`, or of all that are wanted."""

        def work(talk: Talk) -> list[tuple[bytes, Envelope]]:
            begin, room = _now(talk) - since * 1000, _Room()
            found = []
            turns = deque(
                (channel, self._pages(talk, channel, Reading({}, (), begin), room))
                for channel in known or [one for one in self._channels(talk) if wants(one)]
            )
            while turns:  # a page of each, the newest first: a large channel leaves the others their share
                channel, pages = turns.popleft()
                if (page := next(pages, None)) is not None:
                    found += [(at, channel, one) for at, one in page]
                    turns.append((channel, pages))
            found.reverse()  # what was written in the same millisecond, in its order
            if room.is_full:
                self._counters.add("events.replays_cut")
                _log.warning("more durable events of before than a subscriber reads at once: not all are heard")
            found.sort(key=lambda entry: entry[0])
            return [(channel, envelope) for _, channel, envelope in found]

        self._ask(work, done)

    def abandon(self) -> None:
        """In a forked child: close our copy without a word."""
        if self._talk is not None:
            os.close(self._talk.sock.detach())

    def close(self) -> None:
        """Stop; whoever still waits is told that there is nothing."""
        self._stop.set()
        with self._lock:
            self._jobs.put(None)
            talk, thread = self._talk, self._thread
        if talk is not None:
            talk.hang_up()  # which ends a thread that waits in it
        if thread is not None and thread is not threading.current_thread():
            thread.join(2)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _ask(self, work: Callable[[Talk], Found], done: Callable[[Found | None], None]) -> None:
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = begin(self._run, "hubnet-refill", locked=True)
            asked = self._thread is not None
            if asked:
                self._jobs.put(lambda: done(self._try(work)))
        if not asked:
            say_what_is_wanted()
            done(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                _log.exception("refilling failed")
            if self._jobs.empty():
                self._hang_up()

    def _try(self, work: Callable[[Talk], Found]) -> Found | None:
        import hiredis

        end = time.monotonic() + PATIENCE
        while not self._stop.is_set():
            try:
                if self._talk is None:
                    self._talk = Talk(self._broker)
                return work(self._talk)
            except (HubnetError, OSError, hiredis.HiredisError) as error:
                self._hang_up()
                if isinstance(error, (_Refused, TooMuch)) or time.monotonic() > end:
                    self._counters.add("events.refills_failed")
                    _log.warning("durable events that were missed cannot be read again: %s", error)
                    return None
                self._stop.wait(machine.jitter(*pauses.BEFORE_REDIS))
            except Exception:  # whoever waits for what was missed waits no longer
                self._hang_up()
                self._counters.add("events.refills_failed")
                _log.exception("durable events that were missed cannot be read again")
                return None
        return None

    def _hang_up(self) -> None:
        talk, self._talk = self._talk, None
        if talk is not None:
            talk.hang_up()

    def _channels(self, talk: Talk) -> list[bytes]:
        entries = talk.ask(b"XREVRANGE", self._names.streams.encode(), b"+", b"-", b"COUNT", b"%d" % _MOST_CHANNELS)
        named = dict.fromkeys(fields[1] for _, fields in entries if len(fields) == 2)
        return [channel for channel in named if self._is_event(channel)]

    def _is_event(self, channel: bytes) -> bool:
        """Whether hubnet may have written this name; anybody who may write streams may write another."""
        try:
            self._names.parse_event(channel.decode("ascii"))
        except ValueError:
            self._counters.add("events.rejected")
            return False
        return True

    def _read(self, talk: Talk, channel: bytes, reading: Reading, room: _Room) -> list[_Entry]:
        """What a reading wants of one channel, in the order in which it was written."""
        return [entry for page in self._pages(talk, channel, reading, room) for entry in page][::-1]

    def _pages(self, talk: Talk, channel: bytes, reading: Reading, room: _Room) -> Iterator[list[_Entry]]:
        """The same by pages, the newest first."""
        key, end = self._names.stream(channel.decode()).encode(), b"+"
        most = 1
        while not room.is_full:
            try:
                entries = talk.ask(b"XREVRANGE", key, end, b"-", b"COUNT", b"%d" % most)
            except TooMuch:
                if most == 1:
                    raise
                most = 1
                talk.begin_anew()
                continue
            sizes = [sum(map(len, fields)) for _, fields in entries]
            room.looked_at -= sum(sizes)
            found: list[_Entry] = []
            for entry_id, fields in entries:
                at = float(entry_id.partition(b"-")[0])
                if reading.enough(at):
                    yield found
                    return
                envelope = self._opened(channel, fields)
                if envelope is not None and reading.wants(at, envelope):
                    found.append((at, envelope))
                    room.kept -= len(envelope.data)
            yield found
            if len(entries) < most:
                return
            end = b"(" + entries[-1][0]
            most = max(1, min(_PAGE, 2 * most, _PAGE_BYTES // max(1, *sizes)))  # what comes may be larger than the last

    def _opened(self, channel: bytes, fields: list[bytes]) -> Envelope | None:
        try:
            return self._opener.open(channel, fields[1])
        except (AuthenticationError, ValueError, IndexError):
            self._counters.add("events.rejected")
            return None


def _now(talk: Talk) -> float:
    seconds, micros = talk.ask(b"TIME")
    return int(seconds) * 1000 + int(micros) / 1000
