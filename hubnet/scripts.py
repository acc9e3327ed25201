"""The register in Redis, as a store: its operations are scripts that compare and set in one step, by Redis's own clock.

So a late withdrawal cannot remove a restarted peer, and two hubs cannot undo each other. What the scripts do is the rule of
``core.register``; one suite is run on both. No SCAN, no KEYS, commands of Redis 7.0 only.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from hubnet.broker import Broker
from hubnet.core.channels import Names
from hubnet.core.register import Entry, Late, Renewal, Renewed
from hubnet.errors import BrokerUnavailable
from hubnet.links.complaints import Complaints

if TYPE_CHECKING:
    import redis

Answer = TypeVar("Answer")
_log = logging.getLogger("hubnet")

_NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
# The microseconds tell a register that was lost and begun anew from the one before.
_CHANGED = """
local moment = epoch .. '-' .. t[1] .. '.' .. t[2]
redis.call('HSETNX', version, 'epoch', moment)
local counted = redis.pcall('HINCRBY', version, 'counter', 1)
if type(counted) == 'table' then  -- somebody wrote what is no number, or the last one
  if string.find(counted.err, 'WRONGTYPE') then return counted end
  redis.call('HSET', version, 'epoch', moment, 'counter', 1)
end
"""

# Keys: records of the group, leases, groups, version, hubs.
_WRITE = (
    _NOW
    + """
local version, epoch = KEYS[4], ARGV[8]
local id, text, incarnation, revision, replaces = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[9]
local old = redis.call('HGET', KEYS[1], id)
local fine, seen = false, nil
if old and replaces ~= 'anything' then fine, seen = pcall(cjson.decode, old) end
if fine and type(seen) == 'table' then
  if seen.incarnation ~= incarnation and seen.incarnation ~= replaces then return {'held', old} end
  if seen.incarnation == incarnation and (tonumber(seen.revision) or 0) > revision then return {'older', old} end
end
redis.call('HSET', KEYS[1], id, text)
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[5]), id)
redis.call('SADD', KEYS[3], ARGV[7])
"""
    + _CHANGED
    + """
for n = 1, 5 do redis.call('PEXPIRE', KEYS[n], ARGV[6]) end
return {'written', ''}
"""
)

_WITHDRAW = (
    _NOW
    + """
local version, epoch = KEYS[4], ARGV[3]
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old then
  local fine, seen = pcall(cjson.decode, old)
  if not fine or type(seen) ~= 'table' or seen.incarnation ~= ARGV[2] then return 0 end
elseif not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return 0
end
if ARGV[4] == 'expired' then
  local lease = redis.call('ZSCORE', KEYS[2], ARGV[1])
  if lease and tonumber(lease) > now then return 0 end
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[5], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[3], ARGV[5]) end
"""
    + _CHANGED
    + "return 1"
)

# Keys: leases, hubs, groups, version, then all whose expiry moves along. Arguments: lease, expiry, this hub's id and entry,
# then each id, its group, the number of the key that holds its record, and the SHA-1 of that.
_RENEW = (
    _NOW
    + """
local missing, entry = {}, ARGV[4]
for n = 5, #ARGV, 4 do
  local id, group, mark = ARGV[n], ARGV[n + 1], ARGV[n + 3]
  local text = redis.call('HGET', KEYS[tonumber(ARGV[n + 2])], id)
  if redis.call('ZSCORE', KEYS[1], id) and text and (mark == '' or redis.sha1hex(text) == mark)
      and redis.call('SADD', KEYS[3], group) == 0 then
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), id)
  else
    missing[#missing + 1] = id
  end
end
if entry ~= '' then redis.call('HSET', KEYS[2], ARGV[3], entry) end
for n = 1, #KEYS do redis.call('PEXPIRE', KEYS[n], ARGV[2]) end
return {now, missing, redis.call('HGET', KEYS[4], 'epoch') or ''}
"""
)

_EXPIRED = (
    _NOW
    + """
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES')
return {now, late, redis.call('HGET', KEYS[2], 'epoch'), redis.call('HGET', KEYS[2], 'counter')}
"""
)

# Each argument is a question that only its kind of key answers: what is of another kind was written by a stranger, and is in
# the way of every script until it has gone. No more rights than the other scripts need: a life of 0 ms is as good as DEL.
_CLEAR = """
local cleared = {}
for n = 1, #KEYS do
  local said = ARGV[n] == 'SMEMBERS' and redis.pcall('SMEMBERS', KEYS[n]) or redis.pcall(ARGV[n], KEYS[n], '')
  if type(said) == 'table' and said.err and string.find(said.err, 'WRONGTYPE') then
    redis.call('PEXPIRE', KEYS[n], 0)
    cleared[#cleared + 1] = KEYS[n]
  end
end
return cleared
"""


class RedisStore:
    """The register of one namespace in Redis, as a hub uses it; anybody else may ask for the hubs."""

    def __init__(self, broker: Broker, names: Names) -> None:
        self._broker = broker
        self._names = names
        self._client: redis.Redis | None = None
        self._users: Counter[redis.Redis] = Counter()
        self._lock = threading.Lock()
        self._scripts: dict[str, Any] = {}
        self._complaints = Complaints()

    @property
    def where(self) -> str:
        return self._broker.shown

    def write(self, entry: Entry, lease: int, expiry: int, epoch: str) -> tuple[str, bytes]:
        arguments = [
            entry.peer_id, entry.text, entry.incarnation, entry.revision, lease, expiry, entry.group, epoch, entry.replaces,
        ]  # fmt: skip
        outcome, holder = self._run(_WRITE, self._keys(entry.group), arguments)
        return outcome.decode(), holder

    def withdraw(self, group: str, peer_id: bytes, incarnation: str, epoch: str, *, only_if_expired: bool) -> bool:
        condition = "expired" if only_if_expired else "any"
        return bool(self._run(_WITHDRAW, self._keys(group), [peer_id, incarnation, epoch, condition, group]))

    def renew(self, members: Sequence[Renewal], hub: tuple[bytes, bytes] | None, lease: int, expiry: int) -> Renewed:
        groups = sorted({one.group for one in members})
        names = self._names
        keys = [names.leases, names.hubs, names.groups, names.version, *map(self._records, groups)]
        place = {group: number for number, group in enumerate(groups, 5)}
        arguments: list[Any] = [lease, expiry, *(hub or (b"", b""))]
        for group, peer_id, mark in members:
            arguments += [peer_id, group, place[group], mark]
        now, missing, epoch = self._run(_RENEW, keys, arguments)
        return Renewed(now, list(missing), text(epoch))

    def late(self) -> Late:
        now, late, epoch, counter = self._run(_EXPIRED, [self._names.leases, self._names.version], [])
        since = {late[n]: float(late[n + 1]) for n in range(0, len(late), 2)}
        return Late(now, since, f"{text(epoch or b'')}:{text(counter)}" if counter else "")

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

    def _run(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        def run(client: redis.Redis) -> Any:
            if script not in self._scripts:
                self._scripts[script] = client.register_script(script)
            return self._scripts[script](keys=keys, args=arguments, client=client)

        return self._do(run, keys)

    def _do(self, work: Callable[[redis.Redis], Answer], keys: Sequence[str] = ()) -> Answer:
        """What Redis answers; once more where a key was of another kind, which is then cleared away."""
        import redis

        try:
            with self._lent() as client:
                try:
                    return self._done(work, client, keys)
                except (redis.RedisError, OSError):
                    self._let_go(client)  # an embedded server may be elsewhere by now: ask again next time
                    raise
        except (redis.RedisError, OSError) as error:
            raise BrokerUnavailable(f"the register at {self._broker.shown} is out of reach: {error}") from error

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
        cleared: list[bytes] = client.register_script(_CLEAR)(keys=keys, args=[asks.get(key, "HGET") for key in keys])
        for key in (text(key) for key in cleared):
            if said := self._complaints.about(self.where, f"{key} was of another kind, and has been removed"):
                _log.warning("healed in Redis at %s", said)
        return bool(cleared)


def text(written: bytes) -> str:
    """What somebody wrote, whoever it was."""
    return written.decode(errors="replace")
