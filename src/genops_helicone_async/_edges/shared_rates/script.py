"""The one Lua script of the shared rates: any number of reservations and returns, in order, in one atomic step.

A bucket is what it will be at `at` (server microseconds), the last moment it gave out: `level`, 0 up to the capacity.
A reservation is usable at `at` if the level then is enough, else when it will be; that is the new `at`. So the bucket
goes through the moments as a real one would: what becomes usable from one moment to another is at most the level at
the first, or what was waited for there, plus what flows in between.

What is given back while moments lie ahead must not bring any of these forward, they have been told. What was used in
part (`is_due`: its moment had come) goes into the `pot`, for the next who asks for no more than that, at once. What
was not due is as if it had never been asked for, from its moment on: it adds to the level at `at`. Either way the
bucket is fuller than it was at moments ahead; what it could not have held then is lost, or two calls would be let go
together where one may. Hence `early` and `late`: the highest level right before a moment up to `middle`, and after it,
without the pot. When `middle` has passed, `late` takes the place of `early`.

Moments are whole microseconds, rounded up, and what flows in by rounding is kept: the rate is exact in the long run.
A bucket vanishes once it is full. One that vanished before that, because the server lost its data, begins as the
caller last saw it (`reminders`). Everything is read before the first write: a foreign value fails with nothing done.
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
    local at, level, pot, seen, capacity, rate, middle, early, late = unpack(state)
    if now < seen then  -- the clock was put back
      at, middle = at - (seen - now), middle - (seen - now)
    end
    if now >= at then
      level = math.min(capacity, level + pot + (now - at) * rate)
      at, pot, middle, early, late = now, 0, now, 0, 0
    elseif now > middle then
      middle, early, late = at, late, 0
    end
    buckets[i] = {at = at, level = level, pot = pot, middle = middle, early = early, late = late}
  end
end

for i, ask in ipairs(asks) do
  local which, amount, capacity, rate, is_due = unpack(ask)
  local b = buckets[which] or {at = now, level = capacity, pot = 0, middle = now, early = 0, late = 0}
  buckets[which], b.capacity, b.rate, b.level = b, capacity, rate, math.min(b.level, capacity)
  local room = math.max(0, capacity - math.max(b.early, b.late))
  b.pot, waits[i] = math.min(b.pot, room), 0
  if amount < 0 and b.at <= now then
    b.level = math.min(b.level - amount, capacity)
  elseif amount < 0 and is_due then
    b.pot = math.min(b.pot - amount, room)
  elseif amount < 0 then
    local back = math.min(-amount, room - b.pot)
    b.level, b.early, b.late = b.level + back, b.early + back, b.late + back
  elseif b.at > now and amount <= b.pot then
    b.pot = b.pot - amount
  else
    if amount > b.level then
      local filling = math.ceil((amount - b.level) / rate)
      b.at, b.level = b.at + filling, math.max(amount, b.level + filling * rate)
    end
    if b.at > now then b.late = math.max(b.late, b.level) end
    b.level, waits[i] = b.level - amount, b.at - now
  end
end

for i, key in ipairs(KEYS) do
  local b = buckets[i]
  states[i] = {b.at, b.level, b.pot, now, b.capacity, b.rate, b.middle, b.early, b.late}
  local full = math.ceil((b.at - now + (b.capacity - b.level) / b.rate) / 1000) + 1
  redis.call('SET', key, cmsgpack.pack(states[i]), 'PX', string.format('%.0f', full))
end
return cmsgpack.pack({waits, states})
"""

__all__ = ["SERVER_TIME", "SHARE"]
