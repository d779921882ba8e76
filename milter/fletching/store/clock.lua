-- Redis' clock, and its jumps since a courier last read it.
--
-- KEYS[1] the clock   ARGV[1] the difference in milliseconds that is taken for a jump
-- ARGV[2] milliseconds since the caller last read the clock, by its own clock; 0 for the first time
-- Returns the time, whether the clock has just jumped, and all jumps, "from:to from:to", oldest
-- first.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local seen = tonumber(redis.call('HGET', KEYS[1], 'seen') or now)
local jumps = redis.call('HGET', KEYS[1], 'jumps') or ''
local jumped = 0

-- Time that passed while Redis was unavailable is no jump: the caller's own clock shows it.
if math.abs(now - seen) > tonumber(ARGV[1]) and
   math.abs(now - seen - tonumber(ARGV[2])) > tonumber(ARGV[1]) then
  jumped = 1
  local all = {}
  for each in string.gmatch(jumps, '%S+') do
    all[#all + 1] = each
  end
  all[#all + 1] = string.format('%.0f:%.0f', seen, now)
  jumps = table.concat(all, ' ', math.max(1, #all - 19))
end

redis.call('HSET', KEYS[1], 'seen', string.format('%.0f', now), 'jumps', jumps)
return {now, jumped, jumps}
