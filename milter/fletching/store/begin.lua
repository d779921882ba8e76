-- Creates a campaign before its first message and before its SendID leads to it; or creates one
-- again that Redis has lost. In one step, so that none is left without an expiry.
--
-- KEYS[1] the campaign
-- ARGV[1] seconds for which it is kept
-- ARGV[2...] its fields and values

if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 2))
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
