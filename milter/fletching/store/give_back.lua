-- Takes back what take.lua counted for a mail that was not accepted after all.
--
-- KEYS[1] as in take.lua   ARGV[1] the labels of the windows, with spaces between
-- ARGV[2] the number of providers; then for each: its name, recipients

for label in string.gmatch(ARGV[1], '%S+') do
  local key = KEYS[1] .. label
  if redis.call('EXISTS', key) == 1 then
    local total = 0
    for at = 3, 1 + 2 * ARGV[2], 2 do
      redis.call('HINCRBY', key, ARGV[at], -ARGV[at + 1])
      total = total + ARGV[at + 1]
    end
    redis.call('HINCRBY', key, '*', -total)
  end
end
