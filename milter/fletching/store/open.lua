-- The open campaign of a SendID; if there is none, the candidate becomes it. In one step, so that
-- any number of hosts that begin at once open one campaign. The window is never extended: it counts
-- from the first message.
--
-- KEYS[1] the SendID
-- ARGV[1] the campaign that the candidate replaces, '' for none
-- ARGV[2] the candidate, '' to open none
-- ARGV[3] the window in milliseconds
-- Returns the campaign's id and the milliseconds that are left of its window, or nil if there is
-- none.

local campaign = redis.call('GET', KEYS[1])
if campaign and campaign ~= ARGV[1] then
  return {campaign, redis.call('PTTL', KEYS[1])}
end
if ARGV[2] == '' then
  return nil
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {ARGV[2], tonumber(ARGV[3])}
