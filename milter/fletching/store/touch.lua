-- Adds lines to the touches of messages, each of which is kept for some time and in some octets.
--
-- KEYS the messages' touches   ARGV[1] milliseconds   ARGV[2] octets   ARGV[3...] lines for each key
local most = tonumber(ARGV[2])
for at, key in ipairs(KEYS) do
  if redis.call('STRLEN', key) > most then
    redis.call('SET', key, redis.call('GETRANGE', key, -math.floor(most / 2), -1))
  end
  redis.call('APPEND', key, ARGV[at + 2])
  redis.call('PEXPIRE', key, ARGV[1])
end
return #KEYS
