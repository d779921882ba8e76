-- Which campaign does a SendID belong to? The one that it opened, else the candidate's.
-- Runs as one step, so that any number of hosts that begin at once open one campaign.
-- The time left is never made longer: the window counts from the first message.
--
-- KEYS[1] the SendID's key
-- ARGV[1] the campaign that gives way to the candidate, '' for none
-- ARGV[2] candidate, '' where none shall be opened
-- ARGV[3] window in milliseconds
-- Returns the campaign's id and the milliseconds that its window has left, or nil for none.

local campaign = redis.call('GET', KEYS[1])
if campaign and campaign ~= ARGV[1] then
  return {campaign, redis.call('PTTL', KEYS[1])}
end
if ARGV[2] == '' then
  return nil
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {ARGV[2], tonumber(ARGV[3])}
