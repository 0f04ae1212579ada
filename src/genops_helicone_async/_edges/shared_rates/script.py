"""The one Lua script of the shared rates: any number of reservations and returns, in order, in one atomic step.

A bucket is what it will be at the last moment it gave out: `at` (server microseconds), `level` (0 up to the capacity).
A reservation is usable at `at` if the level then is enough, else when it will be; that is the new `at`. So moments
never decrease, each is told once, and the bucket goes through them as a real one would: what becomes usable from one
moment to another is at most the level at the first, or what was waited for there, plus what flows in between.

What is given back is added at `at`, too, where moments that were already given out lie before it. With the returned
amount the bucket would have been fuller at each of those; what it could not have held then is lost, or two calls
would be let go at once where one may. Hence `early` and `late`: the highest level right before the moments up to
`middle`, and after it. When `middle` has passed, `late` takes the place of `early`.

Moments are whole microseconds, rounded up, and what flows in by rounding is kept: the rate is exact in the long run.
A bucket vanishes once it is full. One that vanished before that, because the server lost its data, begins as the
caller last saw it (`reminders`).
"""

from __future__ import annotations

from typing import Final

SERVER_TIME: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
"""

SHARE: Final = """
local asks, reminders = unpack(cmsgpack.unpack(ARGV[1]))
local buckets, waits, states = {}, {}, {}

for i, key in ipairs(KEYS) do
  local kept = redis.call('GET', key)
  local state = kept and cmsgpack.unpack(kept) or reminders[i]
  if state then
    local at, level, seen, capacity, rate, middle, early, late = unpack(state)
    if now < seen then  -- the clock was put back
      at, middle = at - (seen - now), middle - (seen - now)
    end
    if now >= at then
      level = math.min(capacity, level + (now - at) * rate)
      at, middle, early, late = now, now, 0, 0
    elseif now > middle then
      middle, early, late = at, late, 0
    end
    buckets[i] = {at = at, level = level, middle = middle, early = early, late = late}
  end
end

for i, ask in ipairs(asks) do
  local which, amount, capacity, rate = unpack(ask)
  local b = buckets[which] or {at = now, level = capacity, middle = now, early = 0, late = 0}
  buckets[which] = b
  b.capacity, b.rate, b.level = capacity, rate, math.min(b.level, capacity)
  if amount >= 0 then
    if amount > b.level then
      local filling = math.ceil((amount - b.level) / rate)
      b.at, b.level = b.at + filling, math.max(amount, b.level + filling * rate)
    end
    if b.at > now then b.late = math.max(b.late, b.level) end
    b.level = b.level - amount
  else
    local back = math.max(0, math.min(-amount, capacity - math.max(b.level, b.early, b.late)))
    b.level = b.level + back
    if b.at > now then b.early, b.late = b.early + back, b.late + back end
  end
  waits[i] = b.at - now
end

for i, key in ipairs(KEYS) do
  local b = buckets[i]
  states[i] = {b.at, b.level, now, b.capacity, b.rate, b.middle, b.early, b.late}
  local full = math.ceil((b.at - now + (b.capacity - b.level) / b.rate) / 1000) + 1
  redis.call('SET', key, cmsgpack.pack(states[i]), 'PX', string.format('%.0f', full))
end
return cmsgpack.pack({waits, states})
"""

__all__ = ["SERVER_TIME", "SHARE"]
