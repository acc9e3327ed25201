"""A peer's place in the register: one thread that keeps it registered with one hub.

It keeps one link to that hub, renews over it, and moves to the next hub of its rendezvous order when that link ends.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable

from hubnet import machine
from hubnet.core import membership, pauses
from hubnet.core.handshake import Self, digest_of
from hubnet.core.membership import Record
from hubnet.counters import Counters
from hubnet.directory import Directory, ask_over
from hubnet.errors import AuthenticationError, CallError, HubnetError, NoHub, ProtocolError
from hubnet.hub import LEAVE, REGISTER, RENEW
from hubnet.keeper import Keeper
from hubnet.links.dial import Dialler
from hubnet.links.link import Link
from hubnet.links.threads import begin

_ANSWER_LIMIT = 5.0
_LET = 0.05
_log = logging.getLogger("hubnet")


class Home:
    """One peer's place in the register."""

    def __init__(
        self,
        own_id: bytes,
        incarnation: bytes,
        record: Callable[[], Record],
        directory: Directory,
        dialler: Dialler,
        counters: Counters,
        *,
        keeper: Keeper | None,
        lease: float,
    ) -> None:
        self._own_id = own_id
        self._incarnation = incarnation
        self._record = record
        self._directory = directory
        self._dialler = dialler
        self._counters = counters
        self._keeper = keeper
        self._lease = lease
        self._wake = machine.Nudge()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._link: Link | None = None
        self.registered = threading.Event()
        self.trouble = ""

    def start(self) -> bool:
        """Register, and stay so; whether there is a thread for it. A hub does it itself."""
        if self._keeper:
            return self._keeper.start(self.registered)
        self._thread = self._thread or begin(self._run, "hubnet-home")
        return self._thread is not None

    def announce(self) -> None:
        """The record has changed: tell the hub."""
        if self._keeper:
            self._keeper.announce()
        elif self._thread:
            self._wake.give()

    def renew(self) -> None:
        """Register over a new link, if the one there is came about under another key than the one that is offered first."""
        if self._link is not None and self._link.kid != self._dialler.kid:
            self._wake.give()

    def abandon(self) -> None:
        """In a forked child: close our copies without a word."""
        self._wake.abandon()
        if self._link is not None:
            self._link.close()

    def leave(self) -> None:
        """Withdraw and stop."""
        self._stopping = True
        self._wake.give()
        if self._keeper:
            self._keeper.close()
        if self._thread:
            self._thread.join(2)
        if not (self._thread and self._thread.is_alive()):
            self._wake.close()

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                self._link = link = self._settle()
                failures = 0
                try:
                    if self._stay(link):
                        continue
                finally:
                    self.registered.clear()
                    link.say_bye()
                    link.close()
            except HubnetError as error:
                self._complain(str(error))
            except Exception:
                _log.exception("staying registered failed")
            if not self._stopping:
                self._counters.add("home.retries")
                failures += 1
                self._pause(machine.jitter(*pauses.before_hub(failures)))

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; only leaving cuts it short."""
        end = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._wake.fileno, select.POLLIN)
        while not self._stopping and (left := end - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                self._wake.take()  # an announcement: the registration to come tells all

    def _complain(self, text: str) -> None:
        if text != self.trouble and not self._stopping:
            _log.warning("not registered: %s", text)
        self.trouble = text

    def _settle(self) -> Link:
        """A link to the first hub of our order that takes us."""
        hubs = self._directory.hubs_in_order(time.monotonic() + _ANSWER_LIMIT)
        failure: HubnetError = NoHub(f"no hub of our secret is known{self._directory.why_no_hub()}")
        for hub in hubs:
            try:
                wanted = Self(digest_of(hub.peer_id), hub.incarnation)
                link = self._dialler.dial(hub.host, hub.port, wanted, time.monotonic() + _ANSWER_LIMIT, sure=True)
            except (CallError, AuthenticationError, ProtocolError) as error:
                failure = error
                continue
            try:
                link.guard_small_messages()
                self._register(link)
                return link
            except HubnetError as error:
                link.close()
                failure = error
        raise failure

    def _register(self, link: Link) -> None:
        record = self._record()
        told = ask_over(link, REGISTER, record)
        if not told["reachable"] and self.trouble != told["reason"]:
            _log.warning("listed, but others cannot reach this peer: %s", told["reason"])
        self.trouble = "" if told["reachable"] else told["reason"]
        self.registered.set()

    def _stay(self, link: Link) -> bool:
        """Renew until the link ends, the hub does not know us any more, or we leave; True: until a new link is due."""
        poll = select.poll()
        poll.register(link.fileno, select.POLLIN)
        poll.register(self._wake.fileno, select.POLLIN)
        every = self._lease / membership.RENEWALS_PER_LEASE
        due = time.monotonic() + every
        while not self._stopping:
            ready = [fd for fd, _ in poll.poll(max(0.0, due - time.monotonic()) * 1000)]
            if link.fileno in ready:
                raise NoHub("the hub ended our link; looking for the next one")
            if self._wake.fileno in ready:
                threading.Event().wait(_LET)  # what else changes meanwhile goes along
                self._wake.take()
                if not self._stopping and link.kid != self._dialler.kid:
                    return True
                if not self._stopping:
                    self._register(link)
            elif not ask_over(link, RENEW, self._own_id, self._incarnation.hex()):
                self._register(link)
            due = time.monotonic() + every
        ask_over(link, LEAVE, self._own_id, self._incarnation.hex())
        return False
