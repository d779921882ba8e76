-- Claims due seeds of a campaign: each seed is claimed once, by whichever host comes first. The
-- content of the mail that passed the due points is kept once, for all seeds that it claims.
--
-- KEYS[1] the campaign   KEYS[2] its seeds   KEYS[3] the content
-- ARGV[1] milliseconds for which the content is kept at most
-- ARGV[2] the content   ARGV[3] the state of a claimed seed, JSON   ARGV[4...] the due seeds
-- Returns the seeds that were claimed; nil if the campaign does not exist.

local left = redis.call('PTTL', KEYS[1])
if left == -2 then
  return nil
end
local claimed = {}
for i = 4, #ARGV do
  if redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[3]) == 1 then
    claimed[#claimed + 1] = ARGV[i]
  end
end
if #claimed > 0 then
  redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[1])
  if left > 0 then
    redis.call('PEXPIRE', KEYS[2], left)
  end
end
return claimed
