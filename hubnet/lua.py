"""What hubs run in Redis: each operation of the register is one piece of Lua that compares and sets in one step.

A hub loads these pieces itself, as scripts, where its user may: that is any Redis without users, and the embedded one. Whoever
may load a script may run any Lua, so the user that we ship may not; for it the same pieces are a library of Redis functions,
which somebody else has loaded. Names of functions end in a digest of all of them: two versions of hubnet share a server.
A script goes by its own digest, a function by a name: whoever may load functions can put others in the place of ours.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Script(NamedTuple):
    """One operation: what it is called, and its Lua, of ``KEYS`` and ``ARGV``.

    Attributes:
        flag: as a function. The register is small, and goes on in a Redis that is full of other things.
    """

    name: str
    text: str
    flag: str = "allow-oom"


_NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)"
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
WRITE = Script(
    "write",
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
""",
)

WITHDRAW = Script(
    "withdraw",
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
    + "return 1",
)

# Keys: leases, hubs, groups, version, then all whose expiry moves along. Arguments: lease, expiry, this hub's id and entry,
# then each id, its group, the number of the key that holds its record, and the SHA-1 of that.
RENEW = Script(
    "renew",
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
""",
)

EXPIRED = Script(
    "expired",
    _NOW
    + """
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES')
return {now, late, redis.call('HGET', KEYS[2], 'epoch'), redis.call('HGET', KEYS[2], 'counter')}
""",
    flag="no-writes",
)

# Each argument is a question that only its kind of key answers: what is of another kind was written by a stranger, and is in
# the way of every script until it has gone. No more rights than the other scripts need: a life of 0 ms is as good as DEL.
CLEAR = Script(
    "clear",
    """
local cleared = {}
for n = 1, #KEYS do
  local said = ARGV[n] == 'SMEMBERS' and redis.pcall('SMEMBERS', KEYS[n]) or redis.pcall(ARGV[n], KEYS[n], '')
  if type(said) == 'table' and said.err and string.find(said.err, 'WRONGTYPE') then
    redis.call('PEXPIRE', KEYS[n], 0)
    cleared[#cleared + 1] = KEYS[n]
  end
end
return cleared
""",
)

SCRIPTS = (WRITE, WITHDRAW, RENEW, EXPIRED, CLEAR)
VERSION = hashlib.sha256(repr(SCRIPTS).encode()).hexdigest()[:8]


def function_of(script: Script) -> str:
    """What its function is called in Redis."""
    return f"hubnet_{script.name}_{VERSION}"


def library() -> str:
    """All of them as a library, for ``FUNCTION LOAD``."""
    functions = [
        f"redis.register_function{{function_name='{function_of(script)}', flags={{'{script.flag}'}}, "
        f"callback=function(KEYS, ARGV)\n{script.text.strip()}\nend}}\n"
        for script in SCRIPTS
    ]
    return "\n".join(
        [f"#!lua name=hubnet_{VERSION}\n-- What hubs of hubnet run: FUNCTION LOAD REPLACE it.\n", *functions]
    )
