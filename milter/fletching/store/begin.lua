-- A campaign before its first message, and before its SendID leads to it; or one that Redis has
-- lost, made again. As one step, so that none is left that never ends.
--
-- KEYS[1] the campaign's key
-- ARGV[1] seconds that it is kept
-- ARGV[2...] its fields and values

if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 2))
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
