"""The one Lua script of the shared ledger: everything that a process tells or asks the server, in one atomic step.

Money. Lua's numbers are doubles, exact up to 2^53: as pico-dollars that is $9,007, too little for a month. So an
amount is a decimal string of pico-dollars at rest and on the wire, and inside the script a pair {micro-dollars,
pico-dollars below one micro-dollar}: two exact doubles, good for 9 billion dollars, to the last pico-dollar. Nothing
is rounded anywhere, so there is no remainder to carry and none to lose.

Keys, all with the one hash tag of `KEYS[1]` = `genops:{namespace}`, so that a cluster keeps them on one node:

    …:meta                    hash    schema; `born`: which incarnation of the data this is
    …:account:<name>|<window> hash    settled; held (set aside or spent but not reported yet); slack (leased, unused);
                                      pressed: until when, in server milliseconds, slack in it is asked back
    …:lease:<process>         hash    account → "held slack", the process's part of both
    …:last:<process>          hash    the number of its last exchange, and the answer: asked again, it is given again
    …:alive                   zset    process → when its lease ends, in server milliseconds
    …:rows                    stream  one JSON row per attempt, trimmed by age and number
    …:seen:<day>              set     request ids booked on that day; a repeat is known for one to two days

Steps, in this order: give a known answer again, refuse what is out of date; return the leases of processes that are
gone; book the new rows; take over the caller's own figures; grant what it asks for where there is room, over all
scopes of a call or none; add slack for the calls to come, at most half of an equal share of the room, so that it
shrinks near the limit.

Every kind of key is read before the first write: a foreign value under one of our names fails while nothing is done.
"""

from __future__ import annotations

from typing import Final

SCHEMA: Final = "1"
"""What a server's data must be marked with; another mark is another program's, or another version's."""

EXCHANGE: Final = """
local base, ask = KEYS[1], cmsgpack.unpack(ARGV[1])
local UNIT, DAY_MS = 1000000, 86400000

local function read(text)
  text = text or '0'
  local cut = #text - 6
  if cut <= 0 then return {0, tonumber(text)} end
  return {tonumber(string.sub(text, 1, cut)), tonumber(string.sub(text, cut + 1))}
end
local function write(money)
  if money[1] == 0 then return string.format('%d', money[2]) end
  return string.format('%.0f%06d', money[1], money[2])
end
local function plus(a, b)
  local micro, pico = a[1] + b[1], a[2] + b[2]
  if pico >= UNIT then return {micro + 1, pico - UNIT} end
  return {micro, pico}
end
local function minus(a, b)
  local micro, pico = a[1] - b[1], a[2] - b[2]
  if pico < 0 then micro, pico = micro - 1, pico + UNIT end
  if micro < 0 then return {0, 0} end
  return {micro, pico}
end
local function above(a, b)
  return a[1] > b[1] or (a[1] == b[1] and a[2] > b[2])
end
local function account_key(field) return base .. ':account:' .. field end
local function lease_key(process) return base .. ':lease:' .. process end
local function share(lease, field)
  local held, slack = string.match(redis.call('HGET', lease, field) or '0 0', '^(%d+) (%d+)$')
  return read(held), read(slack)
end

local meta, alive, rows = base .. ':meta', base .. ':alive', base .. ':rows'
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local today = math.floor(now / DAY_MS)
local seen, seen_before = base .. ':seen:' .. today, base .. ':seen:' .. (today - 1)
local lease, last = lease_key(ask.process), base .. ':last:' .. ask.process

local told = redis.call('HMGET', meta, 'schema', 'born')
local schema, born = told[1], told[2]
if schema and schema ~= ask.schema then return cmsgpack.pack({status = 'schema', born = schema}) end
if born and ask.born ~= '' and ask.born ~= born then return cmsgpack.pack({status = 'lost', born = born}) end
local done = redis.call('HMGET', last, 'seq', 'answer')
if done[1] and tonumber(done[1]) == ask.seq then return done[2] end
if done[1] and tonumber(done[1]) > ask.seq then return cmsgpack.pack({status = 'stale', born = born or ''}) end
local known = redis.call('HLEN', lease) > 0
redis.call('XLEN', rows)
redis.call('SCARD', seen)
local check_before = redis.call('SCARD', seen_before) > 0
local gone = redis.call('ZRANGEBYSCORE', alive, '-inf', now, 'LIMIT', 0, 16)
for _, a in ipairs(ask.accounts) do redis.call('HGET', account_key(a[1]), 'settled') end

if not born then
  born = ask.seed
  redis.call('HSET', meta, 'schema', ask.schema, 'born', born)
  if ask.born ~= '' then return cmsgpack.pack({status = 'lost', born = born}) end
end

local function give_back(process)
  local lost = redis.call('HGETALL', lease_key(process))
  for i = 1, #lost, 2 do
    local key = account_key(lost[i])
    local held, slack = string.match(lost[i + 1], '^(%d+) (%d+)$')
    if redis.call('EXISTS', key) == 1 then
      local got = redis.call('HMGET', key, 'held', 'slack')
      redis.call('HSET', key, 'held', write(minus(read(got[1]), read(held))),
                 'slack', write(minus(read(got[2]), read(slack))))
    end
  end
  redis.call('DEL', lease_key(process))
  redis.call('ZREM', alive, process)
end
for _, process in ipairs(gone) do
  if process ~= ask.process then give_back(process) end
end

local accounts = {}
for i, a in ipairs(ask.accounts) do
  local field, held, slack = a[1], read(a[3]), known and read(a[4]) or {0, 0}
  local got = redis.call('HMGET', account_key(field), 'settled', 'held', 'slack', 'pressed')
  local old_held, old_slack = share(lease, field)
  local settled, floor = read(got[1]), read(a[7])
  if above(floor, settled) then settled = floor end
  accounts[i] = {
    field = field, lasting = a[2], before = settled, settled = settled, mine = held, kept = slack,
    held = plus(minus(read(got[2]), old_held), held), slack = plus(minus(read(got[3]), old_slack), slack),
    pressed = tonumber(got[4] or 0), extra = a[5], limit = read(a[6]), granted = 0, full = false,
  }
end

local number, repeats = 0, {}
for _, group in ipairs(ask.groups) do
  local sum = read(group[2])
  for at = 1, #group[3], 3 do
    local id, row, cost = group[3][at], group[3][at + 1], group[3][at + 2]
    number = number + 1
    if (check_before and redis.call('SISMEMBER', seen_before, id) == 1) or redis.call('SADD', seen, id) == 0 then
      repeats[#repeats + 1] = number
      sum = minus(sum, read(cost))
    else
      redis.call('XADD', rows, '*', 'row', row)
    end
  end
  for _, i in ipairs(group[1]) do accounts[i].settled = plus(accounts[i].settled, sum) end
end
if number > 0 then
  redis.call('EXPIRE', seen, 3 * 86400)
  redis.call('XTRIM', rows, 'MINID', '~', string.format('%.0f', now - ask.keep_ms))
  redis.call('XTRIM', rows, 'MAXLEN', '~', ask.keep_rows)
end

local verdicts = {}
for w, want in ipairs(ask.wants) do
  local amount, verdict = read(want[1]), {0}
  for k, i in ipairs(want[2]) do
    local a, limit = accounts[i], read(want[3][k])
    local taken = plus(plus(a.settled, a.held), amount)
    if above(plus(taken, a.slack), limit) then
      a.full = true
      local firm = above(taken, limit)
      if not firm then a.pressed = now + ask.press_ms end
      if verdict[1] == 0 or firm then verdict = {k, firm, write(a.settled), write(a.held)} end
      if firm then break end
    end
  end
  if verdict[1] == 0 then
    for _, i in ipairs(want[2]) do
      local a = accounts[i]
      a.held, a.mine = plus(a.held, amount), plus(a.mine, amount)
    end
  end
  verdicts[w] = verdict
end

local live = redis.call('ZCARD', alive)
if not known then live = live + 1 end
for _, a in ipairs(accounts) do
  if a.extra > 0 and not a.full and a.pressed <= now then
    local room = minus(a.limit, plus(plus(a.settled, a.held), a.slack))
    local give = math.min(a.extra, math.floor(room[1] / (2 * live)))
    if give * 16 >= a.extra then
      a.granted, a.slack, a.kept = give, plus(a.slack, {give, 0}), plus(a.kept, {give, 0})
    end
  end
end

local answers = {}
for i, a in ipairs(accounts) do
  local key, held, slack = account_key(a.field), write(a.mine), write(a.kept)
  redis.call('HSET', key, 'settled', write(a.settled), 'held', write(a.held), 'slack', write(a.slack))
  if a.pressed > now then redis.call('HSET', key, 'pressed', string.format('%.0f', a.pressed)) end
  redis.call('EXPIRE', key, a.lasting and ask.lasting_s or ask.window_s)
  if held == '0' and slack == '0' then redis.call('HDEL', lease, a.field)
  else redis.call('HSET', lease, a.field, held .. ' ' .. slack) end
  answers[i] = {write(a.before), write(a.settled), write(minus(a.held, a.mine)), a.granted, a.pressed > now}
end
if ask.bye or redis.call('HLEN', lease) == 0 then
  give_back(ask.process)
else
  redis.call('ZADD', alive, now + ask.lease_ms, ask.process)
  redis.call('EXPIRE', lease, ask.lasting_s)
end
local answer = cmsgpack.pack({
  status = 'ok', born = born, known = known, accounts = answers, verdicts = verdicts, repeats = repeats,
})
redis.call('HSET', last, 'seq', ask.seq, 'answer', answer)
redis.call('EXPIRE', last, 2 * DAY_MS / 1000)
return answer
"""

__all__ = ["EXCHANGE", "SCHEMA"]
