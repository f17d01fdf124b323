"""What the server does in one step: the scripts, in Lua, and what they keep.

Of a url, all in one slot of a cluster, as its name is the hash tag of each key:

    <prefix>:{<url>}      the channel on which nodes are told of it
    <prefix>:{<url>}:m    a hash: epoch `e`, number `n`, `r` which server made it; of a log the bytes `b` of its items,
                          and the milliseconds `s` for which they are kept
    <prefix>:{<url>}:s    of a log, a stream: item 7 is entry 7-0: when it came `t`, its size `z`, itself `i`
    <prefix>:{<url>}:p    a hash: who is there, `<node>/<id>` → entry

What another server made, before a restart or a fail-over, is of another epoch: numbers that it gave last may be lost.
A message on a channel is one letter, epoch, number, a newline and what it carries: see `messages`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1

__all__ = ("DAY", "NOW", "Script", "Scripts")

DAY = 24 * 60 * 60 * 1000  # milliseconds for which a url is remembered that nobody speaks of

NOW = """
local function now(given)
    if given ~= '' then return tonumber(given) end
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

# KEYS: meta, stream. ARGV: server, epoch if a new one is needed, channel, …
_BEGIN = f"""{NOW}
local meta = redis.call('HMGET', KEYS[1], 'e', 'r', 'n', 'b', 's')
local epoch, number = meta[1], tonumber(meta[3] or 0)
local function anew()
    epoch, number = ARGV[2], 0
    redis.call('DEL', KEYS[1], KEYS[2])
    redis.call('HSET', KEYS[1], 'e', epoch, 'r', ARGV[1], 'n', 0)
end
"""

# …, item, its size; of the log: items, milliseconds, bytes; time
_PUBLISH = """#!lua
BEGIN
if meta[2] ~= ARGV[1] then anew() end
number = redis.call('HINCRBY', KEYS[1], 'n', 1)
local shown = string.format('%.0f', number)
redis.call('XADD', KEYS[2], shown .. '-0', 't', string.format('%.0f', now(ARGV[9])), 'z', ARGV[5], 'i', ARGV[4])
local length = redis.call('XLEN', KEYS[2])
local size = tonumber(ARGV[5])
if length > 1 then size = size + tonumber(meta[4] or 0) end
while length > 1 and (length > tonumber(ARGV[6]) or size > tonumber(ARGV[8])) do
    local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
    redis.call('XDEL', KEYS[2], oldest[1])
    size = size - tonumber(oldest[2][4])
    length = length - 1
end
redis.call('HSET', KEYS[1], 'b', string.format('%.0f', size), 's', ARGV[7])
redis.call('PEXPIRE', KEYS[1], math.max(DAY, tonumber(ARGV[7])))
redis.call('PEXPIRE', KEYS[2], ARGV[7])
redis.call('TELL', ARGV[3], 'i' .. epoch .. ' ' .. shown .. '\\n' .. ARGV[4])
return {epoch, number}
"""

# …, kind of message, value. A url that is not known is remembered only if somebody listens.
_CHANGED = """#!lua flags=allow-oom
BEGIN
if meta[2] ~= ARGV[1] then
    local heard = redis.call('TELL', ARGV[3], ARGV[4] .. ARGV[2] .. ' 1\\n' .. ARGV[5])
    if epoch or heard > 0 then
        anew()
        redis.call('HSET', KEYS[1], 'n', 1)
        redis.call('PEXPIRE', KEYS[1], DAY)
    end
    return {ARGV[2], 1}
end
number = redis.call('HINCRBY', KEYS[1], 'n', 1)
redis.call('PEXPIRE', KEYS[1], math.max(DAY, tonumber(meta[5] or 0)))
redis.call('TELL', ARGV[3], ARGV[4] .. epoch .. ' ' .. string.format('%.0f', number) .. '\\n' .. ARGV[5])
return {epoch, number}
"""

# …, the mark that is known. A number that went back is of another epoch, and all who listen are told.
_MARK = """#!lua flags=allow-oom
BEGIN
if meta[2] ~= ARGV[1] then
    anew()
elseif epoch == ARGV[4] and number < tonumber(ARGV[5]) then
    anew()
    redis.call('TELL', ARGV[3], 'e' .. epoch .. ' 0\\n')
end
redis.call('PEXPIRE', KEYS[1], math.max(DAY, tonumber(meta[5] or 0)))
return {epoch, number}
"""

# …, the mark behind which; time
_HISTORY = """#!lua flags=allow-oom
BEGIN
local since = tonumber(ARGV[5])
if meta[2] ~= ARGV[1] or epoch ~= ARGV[4] or since > number then return false end
if since == number then return {} end
local first = string.format('%.0f-0', since + 1)
local items = redis.call('XRANGE', KEYS[2], first, string.format('%.0f-0', number))
if #items ~= number - since then return false end
if tonumber(items[1][2][2]) + tonumber(meta[5]) <= now(ARGV[6]) then return false end
return items
"""

# KEYS: who is there. ARGV: node, whether all that it has is here, how many fields go, these; fields and entries
_PRESENT = """#!lua
local at = 4 + tonumber(ARGV[3])
if ARGV[2] == '1' then
    local own = ARGV[1] .. '/'
    for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
        if string.sub(name, 1, #own) == own then redis.call('HDEL', KEYS[1], name) end
    end
end
for i = 4, at - 1 do redis.call('HDEL', KEYS[1], ARGV[i]) end
for i = at, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], DAY)
return redis.status_reply('OK')
"""

# KEYS: nodes, by when each was heard of last. ARGV: node, milliseconds until one is dead, time.
# Gives whether it was among them, those that are alive, and those that were found dead by this call, and by no other.
_ALIVE = """#!lua flags=allow-oom
NOW
local now = now(ARGV[3])
local is_new = redis.call('ZADD', KEYS[1], now, ARGV[1])
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[2]))
for _, node in ipairs(dead) do redis.call('ZREM', KEYS[1], node) end
redis.call('PEXPIRE', KEYS[1], DAY)
return {is_new, redis.call('ZRANGE', KEYS[1], 0, -1), dead}
""".replace("NOW", NOW)


@dataclass(frozen=True, slots=True)
class Script:
    """One script: `EVALSHA sha`, or `EVAL text` where the server has forgotten it."""

    text: bytes
    sha: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.text, usedforsecurity=False).hexdigest().encode())


class Scripts:
    """All of them, as a server takes them.

    tell    the command by which nodes are told: PUBLISH, in a cluster SPUBLISH
    """

    def __init__(self, tell: str) -> None:
        def script(text: str) -> Script:
            return Script(text.replace("BEGIN", _BEGIN).replace("DAY", str(DAY)).replace("TELL", tell).encode())

        self.publish = script(_PUBLISH)
        self.changed = script(_CHANGED)
        self.mark = script(_MARK)
        self.history = script(_HISTORY)
        self.present = script(_PRESENT)
        self.alive = script(_ALIVE)
        self.all = (self.publish, self.changed, self.mark, self.history, self.present, self.alive)
