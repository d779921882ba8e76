-- Keeps where copies for seeds arrived. They expire with the campaign.
--
-- KEYS[1] the campaign   KEYS[2] its placements   ARGV each address, and its placement as JSON
-- If the campaign does not exist, keeps nothing.

local left = redis.call('PTTL', KEYS[1])
if left == -2 then
  return 0
end
for i = 1, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
if left > 0 then
  redis.call('PEXPIRE', KEYS[2], left)
end
return 1
