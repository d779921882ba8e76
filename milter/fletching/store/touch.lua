-- Adds lines to the touches of messages. Time and memory for each message are limited.
--
-- KEYS the touches of each message
-- ARGV[1] milliseconds to keep them   ARGV[2] bytes to keep   ARGV[3...] the lines for each key
local most = tonumber(ARGV[2])
for at, key in ipairs(KEYS) do
  if redis.call('STRLEN', key) > most then
    redis.call('SET', key, redis.call('GETRANGE', key, -math.floor(most / 2), -1))
  end
  redis.call('APPEND', key, ARGV[at + 2])
  redis.call('PEXPIRE', key, ARGV[1])
end
return #KEYS
