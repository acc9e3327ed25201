"""The register in Redis: the records of peers, their leases, and the list of hubs.

Only hubs come here, but for one key: anybody of the net may read which hubs there are. Records are signed JSON, readable
with HGETALL. Scripts compare and set in one step, by Redis's own clock, so that a late withdrawal cannot remove a restarted
peer and two hubs cannot undo each other. No SCAN, no KEYS, commands of Redis 7.0 only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hubnet.broker import Broker
from hubnet.core import signing
from hubnet.core.channels import Names, encoded
from hubnet.core.identity import decode_id
from hubnet.core.keys import Keyring
from hubnet.core.membership import HubEntry, Record
from hubnet.errors import AuthenticationError, BrokerUnavailable

if TYPE_CHECKING:
    import redis

Answer = TypeVar("Answer")
_ANYTHING = "anything"  # as the script knows it
_log = logging.getLogger("hubnet")

_NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
_CHANGED = "redis.call('HSETNX', version, 'epoch', epoch .. '-' .. now) redis.call('HINCRBY', version, 'counter', 1) "

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
local fine, seen = pcall(cjson.decode, old or '')
if not fine or type(seen) ~= 'table' or seen.incarnation ~= ARGV[2] then return 0 end
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

# Keys: leases, hubs, then all whose expiry moves along. Arguments: lease, expiry, this hub's id and entry, then each id
# and the number of the key that holds its record.
_RENEW = (
    _NOW
    + """
local missing, entry = {}, ARGV[4]
for n = 5, #ARGV, 2 do
  local id, records = ARGV[n], KEYS[tonumber(ARGV[n + 1])]
  if redis.call('ZSCORE', KEYS[1], id) and redis.call('HEXISTS', records, id) == 1 then
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), id)
  else
    missing[#missing + 1] = id
  end
end
if entry ~= '' then redis.call('HSET', KEYS[2], ARGV[3], entry) end
for n = 1, #KEYS do redis.call('PEXPIRE', KEYS[n], ARGV[2]) end
return {now, missing}
"""
)

_EXPIRED = (
    _NOW
    + """
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES')
return {now, late, redis.call('HGET', KEYS[2], 'epoch'), redis.call('HGET', KEYS[2], 'counter')}
"""
)


class Written(NamedTuple):
    """What became of a record.

    Attributes:
        outcome: "written"; "held": another incarnation holds the id; "older": a newer revision stands already.
        holder: the record that stands in the way, if any.
    """

    outcome: str
    holder: Record | None


class Snapshot(NamedTuple):
    """The whole register at one version.

    Attributes:
        version: changes whenever a record does.
        records: by id.
        silent_for: seconds since the lease ended, for those whose lease has.
    """

    version: str
    records: dict[bytes, Record]
    silent_for: dict[bytes, float]


class Registry:
    """The register of one namespace."""

    def __init__(self, broker: Broker, names: Names, ring: Keyring, *, lease: float, suspect: float) -> None:
        self._broker = broker
        self._names = names
        self._ring = ring
        self._lease = lease
        self._lease_ms = int(lease * 1000)
        self._expiry_ms = int((suspect + 2 * lease) * 1000)
        self._epoch = os.urandom(8).hex()
        self._client: redis.Redis | None = None
        self._scripts: dict[str, Any] = {}
        self._cached: tuple[str, dict[bytes, Record]] = ("", {})
        self._redis_now = 0.0
        self.strangers = 0
        """Hubs in the register that signed with a secret which is not ours, when last read."""

    # -- what hubs do ----------------------------------------------------------------------------------------------

    def write(self, peer_id: bytes, record: Record, *, replaces: str = "") -> Written:
        """Put a record in, with a fresh lease, unless another incarnation holds the id.

        Args:
            peer_id: the field.
            record: with ``incarnation`` and ``revision``.
            replaces: incarnation (hex) that is known to be gone and may be written over.
        """
        group = decode_id(peer_id).group
        keys = self._keys(group)
        text = signing.sign(record, self._place(keys[0], peer_id), self._ring)
        arguments = [
            peer_id, text, record["incarnation"], record["revision"], self._lease_ms, self._expiry_ms,
            encoded(group), self._epoch, replaces,
        ]  # fmt: skip
        outcome, holder = self._run(_WRITE, keys, arguments)
        standing = self._verified(holder, keys[0], peer_id) if holder else None
        if holder and standing is None and replaces != _ANYTHING:
            return self.write(
                peer_id, record, replaces=_ANYTHING
            )  # nobody of this net signed it: it has no right to the id
        return Written(outcome.decode(), standing)

    def withdraw(self, peer_id: bytes, incarnation: str, *, only_if_expired: bool = False) -> bool:
        """Take a record out, if it is still of this incarnation (hex); whether it was."""
        group = decode_id(peer_id).group
        condition = "expired" if only_if_expired else "any"
        arguments = [peer_id, incarnation, self._epoch, condition, encoded(group)]
        return bool(self._run(_WITHDRAW, self._keys(group), arguments))

    def renew(self, ids: Iterable[bytes], hub: tuple[bytes, Record] | None = None) -> list[bytes]:
        """Give these ids a fresh lease in one command; those whose record had gone come back."""
        ids = list(ids)
        entry = b""
        if hub and not self._redis_now:
            seconds, micros = self._do(lambda client: client.time())
            self._redis_now = seconds + micros / 1e6
        if hub:
            said = {**hub[1], "renewed": self._redis_now}
            entry = signing.sign(said, self._place(self._names.hubs, hub[0]), self._ring).encode()
        groups = sorted({decode_id(peer_id).group for peer_id in ids})
        names = self._names
        keys = [names.leases, names.hubs, names.groups, names.version, *map(names.peers, groups)]
        place = {group: number for number, group in enumerate(groups, 5)}
        arguments = [self._lease_ms, self._expiry_ms, hub[0] if hub else b"", entry]
        for peer_id in ids:
            arguments += [peer_id, place[decode_id(peer_id).group]]
        now, missing = self._run(_RENEW, keys, arguments)
        self._redis_now = now / 1000
        return list(missing)

    def snapshot(self) -> Snapshot:
        """All records; read again only when the version says so."""
        now, late, epoch, counter = self._run(_EXPIRED, [self._names.leases, self._names.version], [])
        self._redis_now = now / 1000
        silent = {late[n]: (now - float(late[n + 1])) / 1000 for n in range(0, len(late), 2)}
        version = f"{(epoch or b'').decode()}:{(counter or b'').decode()}"
        if version != self._cached[0] or version == ":":
            self._cached = (version, self._read_all())
        return Snapshot(version, self._cached[1], silent)

    def _read_all(self) -> dict[bytes, Record]:
        names = self._names
        groups: set[Any] = self._do(lambda client: client.smembers(names.groups))
        keys = [names.peers("") + group.decode() for group in groups]

        def read(client: redis.Redis) -> list[dict[bytes, bytes]]:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.hgetall(key)
            return list(pipe.execute())

        found: dict[bytes, Record] = {}
        for key, records in zip(keys, self._do(read) if keys else [], strict=True):
            for peer_id, text in records.items():
                if record := self._verified(text, key, peer_id):
                    found[peer_id] = record
        return found

    # -- what anybody may read -------------------------------------------------------------------------------------

    def hubs(self) -> list[HubEntry]:
        """The hubs that signed themselves in."""
        said = self._broker.ask(b"HGETALL", self._names.hubs.encode())
        self.strangers = len(said) // 2
        found = []
        for peer_id, text in zip(said[::2], said[1::2], strict=True):
            if entry := self._verified(text, self._names.hubs, peer_id):
                incarnation = bytes.fromhex(entry["incarnation"])
                self.strangers -= 1
                found.append(HubEntry(peer_id, entry["host"], entry["port"], incarnation, entry["renewed"]))
        return found

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _keys(self, group: str) -> list[str]:
        names = self._names
        return [names.peers(group), names.leases, names.groups, names.version, names.hubs]

    @staticmethod
    def _place(key: str, peer_id: bytes) -> str:
        return f"{key}|{peer_id.decode(errors='replace')}"

    def _verified(self, text: bytes, key: str, peer_id: bytes) -> Record | None:
        try:
            return signing.verify(text, self._place(key, peer_id), self._ring)
        except AuthenticationError as error:
            _log.warning("ignored %s", error)
            return None

    def _run(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        def run(client: redis.Redis) -> Any:
            if script not in self._scripts:
                self._scripts[script] = client.register_script(script)
            return self._scripts[script](keys=keys, args=arguments, client=client)

        return self._do(run)

    def _do(self, work: Callable[[redis.Redis], Answer]) -> Answer:
        import redis

        try:
            if self._client is None:
                self._client = self._broker.client()
            return work(self._client)
        except (redis.RedisError, OSError) as error:
            self.close()  # an embedded server may be elsewhere by now: ask again next time
            raise BrokerUnavailable(f"the register at {self._broker.shown} is out of reach: {error}") from error
