-- Takes back what take.lua counted for a mail that was not accepted after all. Nothing goes below
-- zero: Redis may have lost what was counted, and then less than nothing would be room for more.
--
-- KEYS[1] as in take.lua   ARGV[1] the labels of the windows, with spaces between
-- ARGV[2] the number of providers; then for each: its name, recipients

for label in string.gmatch(ARGV[1], '%S+') do
  local key = KEYS[1] .. label
  if redis.call('EXISTS', key) == 1 then
    for at = 3, 1 + 2 * ARGV[2], 2 do
      local counted = tonumber(redis.call('HGET', key, ARGV[at]) or 0)
      local back = math.min(ARGV[at + 1], counted)
      if back > 0 then
        redis.call('HINCRBY', key, ARGV[at], -back)
        redis.call('HINCRBY', key, '*', -back)
      end
    end
  end
end
