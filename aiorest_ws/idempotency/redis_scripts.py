"""What a Redis does in one step with the keys of one who asks: the scripts, in Lua, and what they keep.

All in one slot of a cluster, for each who asks:

    <prefix>:{*once/<who>}:h    a hash: key → said, state, ticket, process, status, name, form; and `b`, the bytes of
                                all values, `q`, how many were kept so far
    <prefix>:{*once/<who>}:v    a hash: key → the value of its outcome, as it is encoded
    <prefix>:{*once/<who>}:z    a sorted set: keys, by when they are forgotten, in milliseconds; those that run, never
    <prefix>:{*once/<who>}:k    a sorted set: keys that have a value, in the order in which they were kept

and `<prefix>:{*once}`, a sorted set: the processes that do something, by when each was heard of last.
"""

from __future__ import annotations

from aiorest_ws.realtime.brokers.redis.scripts import DAY, NOW, Script

__all__ = ("ENDED", "RELEASED", "RESERVE")

# KEYS: h, v, z, k. ARGV: time in ms or '', key, ticket, …
_BEGIN = f"""{NOW}
local H, V, Z, K = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now = now(ARGV[1])
local function drop(key)
    local size = redis.call('HSTRLEN', V, key)
    if redis.call('ZREM', K, key) == 1 then
        redis.call('HDEL', V, key)
        redis.call('HINCRBY', H, 'b', -size)
    end
end
local function forget(key)
    drop(key)
    redis.call('HDEL', H, key)
    redis.call('ZREM', Z, key)
end
local function last(milliseconds)
    for _, name in ipairs(KEYS) do redis.call('PEXPIRE', name, milliseconds) end
end
local key = ARGV[2]
local ends = tonumber(redis.call('ZSCORE', Z, key) or now + 1)
if ends <= now then forget(key) end
for _, each in ipairs(redis.call('ZRANGEBYSCORE', Z, '-inf', string.format('%.0f', now), 'LIMIT', 0, 1000)) do
    forget(each)
end
local packed = redis.call('HGET', H, key)
local entry = packed and cmsgpack.unpack(packed)
"""

# …, said, process, most keys
_RESERVE = """#!lua
BEGIN
if entry then
    if entry[1] ~= ARGV[4] then return {'other'} end
    if entry[2] == 'r' then return {'runs', entry[3], entry[4]} end
    if entry[2] == 'l' then return {'lost'} end
    local value = redis.call('HGET', V, key)
    if not value then return {'unkept'} end
    return {'done', entry[5], entry[6], entry[7], value}
end
if redis.call('ZCARD', Z) >= tonumber(ARGV[6]) then return {'many'} end
redis.call('HSET', H, key, cmsgpack.pack({ARGV[4], 'r', ARGV[3], ARGV[5]}))
redis.call('ZADD', Z, '+inf', key)
last(2 * DAY)
return {'yours'}
"""

# …, state ('d': done, 'l': lost), milliseconds to keep it, most bytes, status, name, form, value or ''
_ENDED = """#!lua flags=allow-oom
BEGIN
if not entry or entry[3] ~= ARGV[3] or entry[2] == 'd' or (entry[2] == 'l' and ARGV[4] == 'l') then return 0 end
local milliseconds, value = tonumber(ARGV[5]), ARGV[10]
redis.call('HSET', H, key, cmsgpack.pack({entry[1], ARGV[4], entry[3], entry[4], ARGV[7], ARGV[8], ARGV[9]}))
redis.call('ZADD', Z, string.format('%.0f', now + milliseconds), key)
local size, most = tonumber(redis.call('HGET', H, 'b') or 0) + #value, tonumber(ARGV[6])
while value ~= '' and size > most do
    local oldest = redis.call('ZRANGE', K, 0, 0)[1]
    if not oldest then break end
    size = size - redis.call('HSTRLEN', V, oldest)
    drop(oldest)
end
if value ~= '' and size <= most then
    redis.call('HSET', V, key, value)
    redis.call('HINCRBY', H, 'b', #value)
    redis.call('ZADD', K, redis.call('HINCRBY', H, 'q', 1), key)
end
if redis.call('ZCOUNT', Z, '+inf', '+inf') == 0 then last(milliseconds + 60000) else last(2 * DAY) end
return 1
"""

_RELEASED = """#!lua flags=allow-oom
BEGIN
if entry and entry[3] == ARGV[3] and entry[2] == 'r' then
    forget(key)
    return 1
end
return 0
"""


def _script(text: str) -> Script:
    return Script(text.replace("BEGIN", _BEGIN).replace("DAY", str(DAY)).encode())


RESERVE, ENDED, RELEASED = map(_script, (_RESERVE, _ENDED, _RELEASED))
