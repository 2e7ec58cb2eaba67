-- The generic cell rate algorithm on one key, which holds the theoretical arrival time as seconds:nanoseconds. All
-- numbers are whole and below 2^53, which is as far as Lua's are exact.
-- ARGV: what the request costs and what may be taken at once, both as time in nanoseconds; a test adds the time.
-- Answers whether it was allowed, and the nanoseconds until everything is there again.
local cost, full = tonumber(ARGV[1]), tonumber(ARGV[2])
local s, ns
if ARGV[3] then
  s, ns = tonumber(ARGV[3]), tonumber(ARGV[4])
else
  local t = redis.call('TIME')
  s, ns = tonumber(t[1]), tonumber(t[2]) * 1000
end
local left = 0
local at = redis.call('GET', KEYS[1])
if at then
  local colon = string.find(at, ':', 1, true)
  left = (tonumber(string.sub(at, 1, colon - 1)) - s) * 1000000000 + tonumber(string.sub(at, colon + 1)) - ns
  left = math.max(0, math.min(left, full)) -- a clock that was set back locks nobody out for longer than a window
end
if left + cost > full then
  return {0, left}
end
if cost > 0 then
  left = left + cost
  local sum = ns + left
  local life = math.ceil(left / 1000000)
  if ARGV[3] then
    life = 86400000 -- a test's time stands still while the server's goes on
  end
  redis.call('SET', KEYS[1], string.format('%.0f:%.0f', s + math.floor(sum / 1000000000), sum % 1000000000),
    'PX', string.format('%.0f', life))
end
return {1, left}
