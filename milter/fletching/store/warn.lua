-- Counts warnings of mails with their campaign.
--
-- KEYS[1] the campaign's key   KEYS[2] its warnings
-- ARGV[1] how many different ones are kept   ARGV[2...] each warning, and how many mails had it
-- They end with the campaign; of one that is gone none is kept.

local left = redis.call('PTTL', KEYS[1])
if left == -2 then
  return 0
end
for i = 2, #ARGV, 2 do
  local known = redis.call('HEXISTS', KEYS[2], ARGV[i]) == 1
  if known or redis.call('HLEN', KEYS[2]) < tonumber(ARGV[1]) then
    redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
if left > 0 then
  redis.call('PEXPIRE', KEYS[2], left)
end
return 1
