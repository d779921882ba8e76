-- Counts the recipients of a mail in every period in which a VirtualMTA has limits, if all of them
-- have room; else counts nothing. In one step, so that no limit is exceeded, however many hosts
-- send at once. The windows are chosen by Redis' clock, which is the same for all hosts.
--
-- KEYS[1] what the keys of the VirtualMTA's windows begin with; the label of a window completes
--         them, and the hash tag keeps them in one slot
-- ARGV[1] the number of providers; then for each: its name, recipients
-- then for each period: seconds for which its windows are kept after their end, and four windows:
--   label, start in unix seconds, cap of each provider, cap of all together ('' for no cap).
--   The last one only ends the one before it.
-- Returns the labels of the windows in which they are counted, with spaces between, '' if there was
-- no room; and how much room is left in the fullest window.

local now = tonumber(redis.call('TIME')[1])
local names, amounts, total = {}, {}, 0
local last = 1 + 2 * ARGV[1]
for at = 2, last, 2 do
  names[#names + 1] = ARGV[at]
  amounts[#amounts + 1] = tonumber(ARGV[at + 1])
  total = total + amounts[#amounts]
end
names[#names + 1] = '*'
amounts[#amounts + 1] = total

local counters, labels, left = {}, {}, 2 ^ 31
for period = last + 1, #ARGV, 17 do
  local window = period + 1
  for later = window + 4, window + 8, 4 do
    if now >= tonumber(ARGV[later + 1]) then
      window = later
    end
  end
  local key = KEYS[1] .. ARGV[window]
  local used = redis.call('HMGET', key, unpack(names))
  for at, amount in ipairs(amounts) do
    local cap = tonumber(ARGV[window + (names[at] == '*' and 3 or 2)])
    if cap then
      left = math.min(left, cap - (tonumber(used[at] or 0) or 0) - amount)
    end
  end
  if left < 0 then
    return {'', 0}
  end
  local ends = tonumber(ARGV[window + 5])
  labels[#labels + 1] = ARGV[window]
  counters[#counters + 1] = {key, math.max(60, ends - now + ARGV[period])}
end

for _, counter in ipairs(counters) do
  for at, amount in ipairs(amounts) do
    redis.call('HINCRBY', counter[1], names[at], amount)
  end
  redis.call('EXPIRE', counter[1], counter[2])
end
return {table.concat(labels, ' '), left}
