"""Calling: from a peer id, a tag and arguments to the answer, over the pool of that peer.

Only what is known not to have run is sent again by itself, and what may have run only for connections declared idempotent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hubnet.core import admission, calls, codec, frames
from hubnet.core.codec import PLAIN, dumps, loads
from hubnet.core.connections import Connection, untagged
from hubnet.core.flags import INVALID_CONNECTION, Flags
from hubnet.core.frames import SMALL
from hubnet.core.handshake import ANY_INCARNATION, Self, digest_of
from hubnet.counters import Counters
from hubnet.errors import (
    NO,
    YES,
    CallError,
    CallTimeout,
    DecodeError,
    EncodeError,
    HubnetError,
    InvalidConnection,
    LocalProtocolError,
    PeerLost,
    PeerUnreachable,
    RemoteError,
)
from hubnet.links.context import here
from hubnet.links.dial import ANOTHER, BROKEN_OFF, ITSELF, NO_FILES, REFUSED, Dialler, Unreachable
from hubnet.links.doubt import Doubt
from hubnet.links.limits import Limits
from hubnet.links.link import Frame, Link, Vanished
from hubnet.links.pool import IDLE_LIMIT, STALE_AFTER, Pool

_PATIENCE_AGAIN = calls.VANISHED_AFTER_MS / 1000 + 0.2
"""Seconds for the machine of a peer that has just broken a link to answer a dial; our kernel asks again after 1 s and 3 s."""
_NO_KWARGS: dict[str, Any] = {}
_NO_BUFFERS: list[memoryview] = []
_now = time.monotonic


class Endpoint(NamedTuple):
    """A peer as a hub resolved it."""

    peer_id: bytes
    incarnation: bytes
    host: str
    port: int
    friendly: dict[str, Any]


_Known = tuple[Endpoint, Pool]
_Failed = tuple[CallError, Endpoint]
Resolve = Callable[[bytes, float, bool], Endpoint]


def _wanted(endpoint: Endpoint) -> Self:
    """Who has to answer there."""
    return Self(digest_of(endpoint.peer_id), endpoint.incarnation)


class _Request(NamedTuple):
    """One call, ready to be sent as often as it takes."""

    connection: Connection
    peer_id: bytes
    body: bytes
    buffers: Sequence[memoryview]
    depth: int
    deadline: float | None

    def __repr__(self) -> str:  # no arguments
        return (
            f"<a call of {untagged(self.connection.tag)!r} with {len(self.body)} bytes and {len(self.buffers)} buffers>"
        )


class Caller:
    """The calling side of one peer: a pool of links for each peer that it knows."""

    def __init__(self, dialler: Dialler, resolve: Resolve, flags: Flags, counters: Counters, *, reach: float,
        most: int = Limits().call, silence: float = float("inf"),
    ) -> None:  # fmt: skip
        self._dialler = dialler
        self._resolve = resolve
        self._flags = flags
        self._reach = reach
        self._most = most
        self._silence = silence  # seconds for which a peer may shake no hands while a call waits
        self._patience = int(reach * 1000)
        self._prefixes: list[dict[bytes, bytes]] = [{} for _ in range(admission.DEEPEST + 1)]  # by depth and name
        self.pools: dict[bytes, _Known] = {}
        self._lock = threading.Lock()
        self._counters = counters
        self._closed = False
        self._met = 0  # fresh links since cold pools were looked for
        self._greeting = 0  # how often what we say of ourselves has changed
        self.answered = 0

    def call(
        self,
        connection: Connection,
        peer_id: bytes,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout: float | None,
    ) -> Any:
        """Run a connection on a peer and return what it returns.

        Args:
            connection: its tag is what travels.
            peer_id: whom to ask.
            args: positional arguments.
            kwargs: keyword arguments.
            timeout: seconds for everything, or None for as long as the peer lives.

        Raises:
            CallError: see the error tree; ``.ran`` tells whether it ran.
            EncodeError: an argument cannot travel.
        """
        outer = here.call
        deadline = outer.deadline
        if timeout is not None:
            mine = time.monotonic() + timeout
            deadline = mine if deadline is None else min(mine, deadline)
        body, buffers = codec.encode_arguments(args, kwargs)
        self._fits(connection.tag, body, buffers)
        return self._carry(_Request(connection, peer_id, body, buffers, outer.depth + 1, deadline))

    def call_plain(self, connection: Connection, known: _Known, args: tuple[Any, ...], depth: int) -> Any:
        """The hot way of ``call``: positional arguments, no deadline, a peer that was called before."""
        for value in args:
            if type(value) not in PLAIN:
                body, buffers = codec.encode_arguments(args, _NO_KWARGS)
                self._fits(connection.tag, body, buffers)
                break
        else:
            body, buffers = dumps((args, _NO_KWARGS), 5), _NO_BUFFERS
        prefix = self._prefixes[depth].get(connection.name) or self._prefix(connection.name, depth)
        endpoint, pool = known
        idle = pool.idle
        try:
            link = idle.pop() if not buffers and len(body) < SMALL else None
        except IndexError:  # none is idle
            link = None
        if link is not None and _now() - link.used > STALE_AFTER and link.wait_readable(0):
            link.close()
            link = None
        if link is None:
            return self._carry(_Request(connection, endpoint.peer_id, body, buffers, depth, None))
        try:
            answer = link.exchange_plain(prefix, body)
        except BaseException as error:
            link.close()  # an answer still to come would be taken for the next call's
            if not isinstance(error, CallError):
                raise
            return self._carry(_Request(connection, endpoint.peer_id, body, buffers, depth, None), (error, endpoint))
        link.used = now = _now()  # as Pool.give() does
        idle.append(link)
        if pool.closed or (len(idle) > 1 and now - idle[0].used > IDLE_LIMIT):
            pool.retire()
        if isinstance(answer, bytes):
            self.answered += 1  # no other thread can run between load and store of one attribute
            try:
                return loads(answer)
            except Exception as error:
                raise DecodeError(
                    f"the result of {untagged(connection.tag)} {codec.cannot_rebuild(error)}", ran=YES
                ) from error
        return self._otherwise(connection.tag, endpoint, answer)

    def _fits(self, tag: str, body: bytes, buffers: Sequence[memoryview]) -> None:
        if (size := len(body) + sum(buffer.nbytes for buffer in buffers)) > self._most:
            raise EncodeError(
                f"the arguments of {untagged(tag)!r} have {size} bytes, more than HUBNET_CALL_LIMIT={self._most}: raise it on "
                "both peers, or send less at a time",
                ran=NO,
            )

    def _prefix(self, name: bytes, depth: int) -> bytes:
        prefix = self._prefixes[depth][name] = frames.prefix(frames.REQUEST, name, depth, self._patience)
        return prefix

    def _carry(self, request: _Request, failed: _Failed | None = None) -> Any:
        """Send a request, over an idle link or a fresh one, again while it is known not to have run."""
        connection, peer_id, body, buffers, depth, deadline = request
        attempts = 0
        ran: _Failed | None = None  # a try that may have run: that is what is told, whatever becomes of those after it
        try:
            while True:
                if failed is not None:
                    attempts += 1
                    error, endpoint = failed
                    if error.ran != NO:
                        ran = failed
                    if isinstance(error, (CallTimeout, Vanished)) or not calls.may_repeat(
                        error.ran, idempotent=connection.idempotent, attempts=attempts
                    ):
                        error, endpoint = ran or failed
                        raise self._told(error, connection.tag, endpoint) from error
                known = self.pools.get(peer_id)
                link = known[1].take() if known is not None and failed is None else None
                if known is None or link is None:
                    known, link = self._reach_again(request, ran or failed)
                try:
                    frame = link.exchange(connection.name, body, buffers, depth, self._patience, deadline)
                    break
                except BaseException as error:
                    link.close()
                    if not isinstance(error, CallError):
                        raise
                    failed = error, known[0]
            known[1].give(link)
            if ran is not None and frame.kind == frames.REFUSED:
                refusal, _ = calls.refused(bytes(frame.body), connection=connection.tag, peer=peer_id)
                raise self._told(ran[0], connection.tag, ran[1]) from refusal
        except HubnetError as error:
            self._counters.add(f"calls.{type(error).__name__}")
            raise
        return self._otherwise(connection.tag, known[0], frame)

    def _reach_again(self, request: _Request, failed: _Failed | None) -> tuple[_Known, Link]:
        """A fresh link; if there is none, an earlier try that may have run is what the caller must be told."""
        try:
            again = None if failed is None else _PATIENCE_AGAIN
            return self._reach_out(request.connection.tag, request.peer_id, request.deadline, again)
        except HubnetError as error:
            if failed is None or failed[0].ran == NO:
                raise
            raise self._told(failed[0], request.connection.tag, failed[1]) from error

    def _reach_out(
        self, tag: str, peer_id: bytes, deadline: float | None, patience: float | None
    ) -> tuple[_Known, Link]:
        """Resolve (from the cache first) and dial; a peer that has restarted is asked for once more."""
        limit = time.monotonic() + self._reach
        if deadline is not None and deadline < limit:
            limit = deadline
        stale: Unreachable | None = None
        for fresh in (False, True):
            endpoint = self._where(peer_id, limit, stale)
            greeting = self._greeting
            try:
                link = self._dial(endpoint, limit, patience)
            except Unreachable as error:
                if deadline is not None and time.monotonic() >= deadline:
                    text = f"{untagged(tag)} did not run, its deadline passed while dialling: {error}"
                    raise CallTimeout(text, connection=tag, peer=peer_id, ran=NO) from error
                if not fresh and error.how in {ANOTHER, ITSELF, REFUSED, BROKEN_OFF}:
                    stale = error
                    continue
                raise PeerUnreachable(str(error), connection=tag, peer=peer_id) from error
            except CallError as error:
                error.connection, error.peer = tag, peer_id
                raise
            link.friendly, link.foreign_id = endpoint.friendly, peer_id
            link.on_stall = Doubt(self._dialler, endpoint.host, endpoint.port, _wanted(endpoint), self._silence)
            known = self._known(endpoint, link)
            if link.kid != known[1].kid:
                known[1].kid = link.kid
            if greeting != self._greeting:  # what it was greeted with holds no more: it serves this call alone
                known = endpoint, Pool(link.kid)
                known[1].close()
            return known, link
        raise LocalProtocolError("unreachable code")

    def _dial(self, endpoint: Endpoint, limit: float, patience: float | None) -> Link:
        """A fresh link; where no more files may be open here, idle links to others make room for it."""
        wanted = _wanted(endpoint)
        while True:
            try:
                return self._dialler.dial(endpoint.host, endpoint.port, wanted, limit, sure=True, patience=patience)
            except Unreachable as error:
                if error.how != NO_FILES or not self._give_up_idle():
                    raise

    def _give_up_idle(self) -> bool:
        """Close one idle link, of the peer that has most of them; whether there was one."""
        fullest = max((pool for _, pool in list(self.pools.values())), key=len, default=None)
        return fullest is not None and fullest.retire()

    def _where(self, peer_id: bytes, limit: float, stale: Unreachable | None) -> Endpoint:
        """Where a peer is; asked for afresh once what was known has led nowhere."""
        try:
            return self._resolve(peer_id, limit, stale is not None)
        except PeerUnreachable as error:
            if stale is not None and stale.how == BROKEN_OFF:
                raise PeerUnreachable(f"{error}: {stale}", peer=peer_id) from stale
            raise

    def _known(self, endpoint: Endpoint, link: Link) -> _Known:
        """The peer that a fresh link leads to, and its pool."""
        with self._lock:
            known = self.pools.get(endpoint.peer_id)
            same = known is not None and known[0].incarnation == endpoint.incarnation
            if known and not same:
                known[1].close()
            found = endpoint, known[1] if known and same else Pool(self._dialler.kid)
            found[1].meet(link)
            if self._closed:
                found[1].close()
            else:
                self.pools[endpoint.peer_id] = found
                self._let_go_of_cold()  # which this one is not any more
            return found

    def _let_go_of_cold(self) -> None:
        """Peers that have gone, or were not called for long: with every eighth of as many fresh links as there are peers."""
        self._met += 1
        if self._met < len(self.pools) // 8:  # else to meet so many peers would take the square of that
            return
        self._met, now = 0, _now()
        for peer_id, (_, pool) in list(self.pools.items()):
            if pool.is_cold(now):
                del self.pools[peer_id]
                pool.close()

    def forget(self, peer_id: bytes, incarnation: bytes) -> None:
        """Close what is kept for an incarnation that has gone."""
        with self._lock:
            known = self.pools.get(peer_id)
            if known and incarnation in (ANY_INCARNATION, known[0].incarnation):
                del self.pools[peer_id]
                known[1].close()

    def renew(self) -> None:
        """Let go of links under another key than the one that is offered first, as soon as no call uses them."""
        kid = self._dialler.kid
        self._let_go(lambda pool: pool.kid != kid)

    def greet_anew(self) -> None:
        """Let go of all links, as soon as no call uses them: what we say of ourselves on them has changed."""
        self._greeting += 1
        self._let_go(lambda _: True)

    def _let_go(self, which: Callable[[Pool], bool]) -> None:
        with self._lock:
            for peer_id, (endpoint, pool) in list(self.pools.items()):
                if which(pool):
                    self.pools[peer_id] = (endpoint, Pool(self._dialler.kid))
                    pool.close()

    @property
    def links(self) -> int:
        """Idle outgoing links."""
        return sum(len(pool) for _, pool in list(self.pools.values()))

    @staticmethod
    def _told(error: CallError, tag: str, endpoint: Endpoint) -> CallError:
        where = f"{endpoint.host}:{endpoint.port}"
        if isinstance(error, CallTimeout):
            return CallTimeout(
                f"{untagged(tag)} on {where} did not answer before its deadline; it may still be running",
                connection=tag, peer=endpoint.peer_id, ran=error.ran,
            )  # fmt: skip
        if isinstance(error, Vanished):
            run = "did not run" if error.ran == NO else "may have run"
            text = f"lost {where} with {untagged(tag)} under way: {error}; it {run}"
            return PeerLost(text, connection=tag, peer=endpoint.peer_id, ran=error.ran)
        if error.ran == NO:
            return PeerUnreachable(f"{where}: {error}; the call did not run", connection=tag, peer=endpoint.peer_id)
        return PeerLost(
            f"lost {where} while it ran {untagged(tag)}: {error}; it may have run",
            connection=tag,
            peer=endpoint.peer_id,
            ran=error.ran,
        )

    def _otherwise(self, tag: str, endpoint: Endpoint, frame: Frame) -> Any:
        """The answers that are no small result."""
        if frame.kind == frames.RESULT:
            self.answered += 1
            return codec.decode(frame.body, frame.buffers, ran=YES)
        if frame.kind == frames.FLAG:
            self._counters.add("calls.flag")
            return self._flags.run(bytes(frame.body).decode(), tag, dict(endpoint.friendly))
        if frame.kind == frames.RAISED:
            said = codec.decode(frame.body, ran=YES)
            self._counters.add("calls.CallTimeout" if said["late"] else "calls.RemoteError")
            raise_remote(said, tag, endpoint)
        if frame.kind == frames.REFUSED:
            error, said = calls.refused(bytes(frame.body), connection=tag, peer=endpoint.peer_id)
            self._counters.add("calls." + type(error).__name__)
            if isinstance(error, InvalidConnection):
                return self._flags.run(
                    INVALID_CONNECTION, tag, {**endpoint.friendly, "connections": said.get("connections", [])}
                )
            raise error
        raise PeerLost(f"a {frames.KINDS[frame.kind]} frame is no answer", connection=tag, peer=endpoint.peer_id)

    def abandon(self) -> None:
        """In a forked child: close our copies of idle links without a word."""
        for _, pool in self.pools.values():
            for link in pool.idle:
                link.close()

    def close(self) -> None:
        """Say goodbye on every idle link; those in use follow when they come back."""
        with self._lock:
            self._closed = True
            for _, pool in self.pools.values():
                pool.close()
            self.pools.clear()


def raise_remote(said: dict[str, Any], tag: str, endpoint: Endpoint) -> None:
    """Raise RemoteError for what the function raised, the original exception as its cause where it travelled.

    CallTimeout where that was a further call, and the deadline of this one.
    """
    original = None
    if said["original"] is not None:
        try:
            original = codec.decode(said["original"])
        except HubnetError:
            original = None  # its type exists over there only; the text says it all
    where = f"{untagged(tag)} on {endpoint.host}:{endpoint.port}"
    if said["late"]:
        text = f"{where} ran into its deadline: {said['message']}"
        raise CallTimeout(text, connection=tag, peer=endpoint.peer_id, ran=YES) from original
    short = str(said["type"]).removeprefix("builtins.")
    raise RemoteError(
        f"{where} raised {short}: {said['message']}",
        type_name=said["type"],
        traceback_text=said["traceback"],
        connection=tag,
        peer=endpoint.peer_id,
    ) from original
