"""The script behind `RedisQuotas`: all that a server does with buckets, in one step."""

from __future__ import annotations

__all__ = ["SCRIPT"]

SCRIPT = """
local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function written(number) return string.format('%.6f', number) end

local state = {}
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do state[flat[i]] = flat[i + 1] end

redis.call('ZADD', KEYS[2], now, ask.member)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ask.forget)
redis.call('EXPIRE', KEYS[2], ask.forget)

local blocked = tonumber(state.blocked or 0)
local longer = ask.block > 0 and now + ask.block > blocked + 0.001
if longer then blocked = now + ask.block end

local wait = 0
for _, one in ipairs(ask.buckets) do
    local level = tonumber(state[one.name .. ':level'])
    local at = tonumber(state[one.name .. ':at'])
    if one.period > 0 then
        local window = math.floor(now / one.period)
        if not level then level = one.full
        elseif window > at then level = one.full + math.min(level, 0) end
        at = math.max(window, at or 0)
    else
        if not level then level, at = one.full, now
        elseif now > at then level, at = level + (now - at) * one.rate, now end
        level = math.min(level, one.full)
        if longer then level, at = math.min(level, 0), blocked end
    end
    level = math.min(level + one.back, one.full)
    if one.lower then level = math.min(level, one.lower) end
    one.level, one.at = level, at
    local missing = math.min(one.need, one.full) - level
    if ask.asks and missing > 0.000001 then
        local comes = one.period - now % one.period
        if one.period == 0 then comes = missing / one.rate + math.max(0, at - now) end
        wait = math.max(wait, comes)
    end
end
wait = math.max(wait, blocked - now)

-- Whoever was refused first is next, lest small needs elsewhere take what a large one waits for.
local granted = false
local turn = state.turn
if turn and now >= tonumber(state.turn_until) then turn = nil end
if ask.asks and turn and turn ~= ask.member then
    wait = math.max(wait, tonumber(state.turn_at) - now, 0) + 0.002
elseif ask.asks and wait <= 0.000001 then
    granted, turn = true, nil
elseif ask.asks and wait < 60 then
    turn = ask.member
    redis.call('HSET', KEYS[1], 'turn_at', written(now + wait),
        'turn_until', written(now + wait + ask.grace))
end
if turn then redis.call('HSET', KEYS[1], 'turn', turn) else redis.call('HDEL', KEYS[1], 'turn') end

local levels, extras = {}, {}
local full_in = math.max(1, blocked - now)
for i, one in ipairs(ask.buckets) do
    extras[i] = 0
    if granted then
        one.level = one.level - one.need
        extras[i] = math.max(0, math.min(one.extra, one.level))
        one.level = one.level - extras[i]
    end
    levels[i] = one.level
    redis.call('HSET', KEYS[1], one.name .. ':level', written(one.level),
        one.name .. ':at', written(one.at))
    if one.period > 0 then full_in = math.max(full_in, one.period - now % one.period)
    else full_in = math.max(full_in, (one.full - one.level) / one.rate + math.max(0, one.at - now))
    end
end
redis.call('HSET', KEYS[1], 'blocked', written(blocked))
redis.call('PEXPIRE', KEYS[1], math.ceil(full_in * 2000))
return cjson.encode({granted = granted, wait = wait, blocked = math.max(0, blocked - now),
    members = redis.call('ZCARD', KEYS[2]), levels = levels, extras = extras})
"""
