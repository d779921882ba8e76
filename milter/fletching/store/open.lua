-- Which campaign does a SendID belong to? The one that it opened, else the candidate's.
-- Runs as one step, so that any number of hosts that begin at once open one campaign.
-- The time left is never made longer: the window counts from the first message.
--
-- KEYS[1] the SendID's key   ARGV[1] candidate   ARGV[2] window in milliseconds
-- Returns the campaign's id and the milliseconds that its window has left.

local campaign = redis.call('GET', KEYS[1])
if campaign then
  return {campaign, redis.call('PTTL', KEYS[1])}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {ARGV[1], tonumber(ARGV[2])}
