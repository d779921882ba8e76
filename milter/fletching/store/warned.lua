-- Counts the mails of one hour by kind of warning, and keeps the latest example of each kind.
--
-- KEYS[1] the warnings of the hour
-- ARGV[1] how many kinds are kept   ARGV[2] the kind of all further ones
-- ARGV[3] milliseconds for which they are kept
-- ARGV[4...] each kind, how many mails had it, an example

for i = 4, #ARGV, 3 do
  local kind = ARGV[i]
  if redis.call('HEXISTS', KEYS[1], 'n:' .. kind) == 0
      and redis.call('HLEN', KEYS[1]) >= 2 * tonumber(ARGV[1]) then
    kind = ARGV[2]
  end
  redis.call('HINCRBY', KEYS[1], 'n:' .. kind, ARGV[i + 1])
  redis.call('HSET', KEYS[1], 'e:' .. kind, ARGV[i + 2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
