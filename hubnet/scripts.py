"""The register in Redis, as a store: its operations are scripts that compare and set in one step, by Redis's own clock.

So a late withdrawal cannot remove a restarted peer, and two hubs cannot undo each other. What the scripts do is the rule of
``core.register``; one suite is run on both. They are scripts that this hub loads itself, or functions that were loaded for it:
these first where HUBNET_REDIS_URL names a user, whose rights may be few. No SCAN, no KEYS, commands of Redis 7.0 only.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from hubnet import lua
from hubnet.broker import Broker
from hubnet.core.channels import Names
from hubnet.core.register import Entry, Late, Renewal, Renewed
from hubnet.errors import BrokerUnavailable
from hubnet.links.complaints import Complaints
from hubnet.redis_socket import ANSWER_LIMIT

if TYPE_CHECKING:
    import redis

Answer = TypeVar("Answer")
_log = logging.getLogger("hubnet")
_MOST_AT_ONCE = 16  # each has a connection; Redis does one thing at a time, but may be some milliseconds away
_NOT_LOADED = "Function not found"
_LOAD_THEM = (
    "hubnet's functions are not loaded there, and this user may load no scripts: let one who may load what "
    "`hubnet redis functions` prints (docs/redis.md)"
)


class _FairSemaphore:
    """So many at a time, in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def acquire(self, timeout: float) -> bool:
        """Wait for a place; whether it came in time."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            mine = threading.Event()
            self._waiting.append(mine)
        if mine.wait(timeout):
            return True
        with self._lock:
            if mine.is_set():  # it came just now
                return True
            self._waiting.remove(mine)
            return False

    def release(self) -> None:
        """It is free: for whoever has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1


class RedisStore:
    """The register of one namespace in Redis, as a hub uses it; anybody else may ask for the hubs."""

    def __init__(self, broker: Broker, names: Names) -> None:
        self._broker = broker
        self._names = names
        self._client: redis.Redis | None = None
        self._users: Counter[redis.Redis] = Counter()
        self._lock = threading.Lock()
        self._places = _FairSemaphore(_MOST_AT_ONCE)
        self._scripts: dict[lua.Script, Any] = {}
        self._by_function = broker.has_user
        self._complaints = Complaints()

    @property
    def where(self) -> str:
        return self._broker.shown

    def write(self, entry: Entry, lease: int, expiry: int, epoch: str) -> tuple[str, bytes]:
        arguments = [
            entry.peer_id, entry.text, entry.incarnation, entry.revision, lease, expiry, entry.group, epoch, entry.replaces,
        ]  # fmt: skip
        return self._run(lua.WRITE, self._keys(entry.group), arguments, lambda said: (said[0].decode(), b"" + said[1]))

    def withdraw(self, group: str, peer_id: bytes, incarnation: str, epoch: str, *, only_if_expired: bool) -> bool:
        condition = "expired" if only_if_expired else "any"
        arguments = [peer_id, incarnation, epoch, condition, group]
        return self._run(lua.WITHDRAW, self._keys(group), arguments, lambda said: int(said) == 1)

    def renew(self, members: Sequence[Renewal], hub: tuple[bytes, bytes] | None, lease: int, expiry: int) -> Renewed:
        groups = sorted({one.group for one in members})
        names = self._names
        keys = [names.leases, names.hubs, names.groups, names.version, *map(self._records, groups)]
        place = {group: number for number, group in enumerate(groups, 5)}
        arguments: list[Any] = [lease, expiry, *(hub or (b"", b""))]
        for group, peer_id, mark in members:
            arguments += [peer_id, group, place[group], mark]
        return self._run(lua.RENEW, keys, arguments, _renewed)

    def late(self) -> Late:
        return self._run(lua.EXPIRED, [self._names.leases, self._names.version], [], _late)

    def records(self) -> dict[str, dict[bytes, bytes]]:
        said: set[Any] = self._do(lambda client: client.smembers(self._names.groups), [self._names.groups])
        groups = [text(group) for group in said]

        def read(client: redis.Redis) -> list[dict[bytes, bytes]]:
            pipe = client.pipeline(transaction=False)
            for group in groups:
                pipe.hgetall(self._records(group))
            return list(pipe.execute())

        return dict(
            zip(groups, self._do(read, [self._records(group) for group in groups]) if groups else [], strict=True)
        )

    def hubs(self, deadline: float | None = None) -> dict[bytes, bytes]:
        said = self._broker.ask(b"HGETALL", self._names.hubs.encode(), deadline=deadline)
        return dict(zip(said[::2], said[1::2], strict=True))

    def now(self) -> float:
        seconds, micros = self._do(lambda client: client.time())
        return float(seconds * 1000 + micros / 1000)

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
            used = client is not None and self._users[client] > 0
        if client is not None and not used:
            client.close()

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of few at a time: many peers may come at once, and each asker has a connection of its own to Redis."""
        if not self._places.acquire(ANSWER_LIMIT):
            raise BrokerUnavailable(f"the register at {self._broker.shown} is slow, and others wait for it as well")
        try:
            yield
        finally:
            self._places.release()

    @contextmanager
    def _lent(self) -> Iterator[redis.Redis]:
        """The client that all threads share. Whoever fails lets go of it, and the last of those that use it closes it.

        Closing it under another thread would fail what that one asks, with an error that is nobody's.
        """
        made = self._client or self._broker.client()
        with self._lock:
            client = self._client = self._client or made
            self._users[client] += 1
        try:
            yield client
        finally:
            with self._lock:
                self._users[client] -= 1
                last = self._client is not client and not self._users[client]
                if not self._users[client]:
                    del self._users[client]
            if last:
                client.close()

    def _let_go(self, client: redis.Redis) -> None:
        with self._lock:
            if self._client is client:
                self._client = None

    def _records(self, group: str) -> str:
        return self._names.peers("") + group

    def _keys(self, group: str) -> list[str]:
        names = self._names
        return [self._records(group), names.leases, names.groups, names.version, names.hubs]

    def _run(self, script: lua.Script, keys: list[str], arguments: list[Any], read: Callable[[Any], Answer]) -> Answer:
        said = self._do(lambda client: self._called(client, script, keys, arguments), keys)
        try:
            return read(said)
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise BrokerUnavailable(
                f"what answers {script.name!r} at {self._broker.shown} is not hubnet's: load its functions anew (docs/redis.md)"
            ) from error

    def _called(self, client: redis.Redis, script: lua.Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Call it the way that went last, or the other where that one is closed."""
        import redis

        closed: list[redis.ResponseError] = []
        for by_function in (self._by_function, not self._by_function):
            way = self._as_function if by_function else self._as_script
            try:
                answer = way(client, script, keys, arguments)
            except redis.ResponseError as error:
                if not _is_closed(error):
                    raise
                closed.append(error)
            else:
                self._by_function = by_function
                return answer
        if any(_NOT_LOADED in str(error) for error in closed):
            raise redis.exceptions.NoPermissionError(_LOAD_THEM) from closed[0]
        raise closed[0]

    def _as_function(
        self, client: redis.Redis, script: lua.Script, keys: Sequence[str], arguments: Sequence[Any]
    ) -> Any:
        return client.fcall(lua.function_of(script), len(keys), *keys, *arguments)

    def _as_script(self, client: redis.Redis, script: lua.Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        if script not in self._scripts:
            self._scripts[script] = client.register_script(script.text)
        return self._scripts[script](keys=keys, args=arguments, client=client)

    def _do(self, work: Callable[[redis.Redis], Answer], keys: Sequence[str] = ()) -> Answer:
        """What Redis answers; once more where a key was of another kind, which is then cleared away."""
        import redis

        try:
            with self._place(), self._lent() as client:
                try:
                    return self._done(work, client, keys)
                except (redis.RedisError, OSError):
                    self._let_go(client)  # an embedded server may be elsewhere by now: ask again next time
                    raise
        except (redis.RedisError, OSError) as error:
            raise self._broker.out_of_reach(error, "the register") from error

    def _done(self, work: Callable[[redis.Redis], Answer], client: redis.Redis, keys: Sequence[str]) -> Answer:
        import redis

        try:
            return work(client)
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error) or not self._cleared(client, keys):
                raise
            return work(client)

    def _cleared(self, client: redis.Redis, keys: Sequence[str]) -> bool:
        """Remove those that are of another kind than ours are; what stood there, its owners write again."""
        asks = {self._names.leases: "ZSCORE", self._names.groups: "SMEMBERS"}
        cleared: list[bytes] = self._called(client, lua.CLEAR, keys, [asks.get(key, "HGET") for key in keys])
        for key in (text(key) for key in cleared):
            if said := self._complaints.about(self.where, f"{key} was of another kind, and has been removed"):
                _log.warning("healed in Redis at %s", said)
        return bool(cleared)


def _renewed(said: Any) -> Renewed:
    now, missing, epoch = said
    return Renewed(int(now), [b"" + one for one in missing], text(epoch))


def _late(said: Any) -> Late:
    now, late, epoch, counter = said
    since = {b"" + late[n]: float(late[n + 1]) for n in range(0, len(late), 2)}
    return Late(int(now), since, f"{text(epoch or b'')}:{text(counter)}" if counter else "")


def _is_closed(error: redis.ResponseError) -> bool:
    """Whether it is this way of calling a script that does not go there, and not the script itself."""
    import redis

    said = str(error)
    return isinstance(error, redis.exceptions.NoPermissionError) or _NOT_LOADED in said or "unknown command" in said


def text(written: bytes) -> str:
    """What somebody wrote, whoever it was."""
    return written.decode(errors="replace")
