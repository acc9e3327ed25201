#!lua name=hubnet_8de1ab7a
-- What hubs of hubnet run: FUNCTION LOAD REPLACE it.

redis.register_function{function_name='hubnet_write_8de1ab7a', flags={'allow-oom'}, callback=function(KEYS, ARGV)
local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)
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

local moment = epoch .. '-' .. t[1] .. '.' .. t[2]
redis.call('HSETNX', version, 'epoch', moment)
local counted = redis.pcall('HINCRBY', version, 'counter', 1)
if type(counted) == 'table' then  -- somebody wrote what is no number, or the last one
  if string.find(counted.err, 'WRONGTYPE') then return counted end
  redis.call('HSET', version, 'epoch', moment, 'counter', 1)
end

for n = 1, 5 do redis.call('PEXPIRE', KEYS[n], ARGV[6]) end
return {'written', ''}
end}

redis.register_function{function_name='hubnet_withdraw_8de1ab7a', flags={'allow-oom'}, callback=function(KEYS, ARGV)
local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)
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

local moment = epoch .. '-' .. t[1] .. '.' .. t[2]
redis.call('HSETNX', version, 'epoch', moment)
local counted = redis.pcall('HINCRBY', version, 'counter', 1)
if type(counted) == 'table' then  -- somebody wrote what is no number, or the last one
  if string.find(counted.err, 'WRONGTYPE') then return counted end
  redis.call('HSET', version, 'epoch', moment, 'counter', 1)
end
return 1
end}

redis.register_function{function_name='hubnet_renew_8de1ab7a', flags={'allow-oom'}, callback=function(KEYS, ARGV)
local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)
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
end}

redis.register_function{function_name='hubnet_expired_8de1ab7a', flags={'no-writes'}, callback=function(KEYS, ARGV)
local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES')
return {now, late, redis.call('HGET', KEYS[2], 'epoch'), redis.call('HGET', KEYS[2], 'counter')}
end}

redis.register_function{function_name='hubnet_clear_8de1ab7a', flags={'allow-oom'}, callback=function(KEYS, ARGV)
local cleared = {}
for n = 1, #KEYS do
  local said = ARGV[n] == 'SMEMBERS' and redis.pcall('SMEMBERS', KEYS[n]) or redis.pcall(ARGV[n], KEYS[n], '')
  if type(said) == 'table' and said.err and string.find(said.err, 'WRONGTYPE') then
    redis.call('PEXPIRE', KEYS[n], 0)
    cleared[#cleared + 1] = KEYS[n]
  end
end
return cleared
end}
