-- Counts the warnings of mails of a campaign. They expire with the campaign.
--
-- KEYS[1] the campaign   KEYS[2] its warnings
-- ARGV[1] how many different warnings are kept   ARGV[2...] each warning, and how many mails had it
-- If the campaign does not exist, counts nothing.

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
