-- The next message number of a campaign, and the record by which a bounce of that message is
-- attributed later.
--
-- KEYS[1] the campaign's key
-- KEYS[2] what the keys of its bounce records begin with; the number makes them whole, and the
--         hash tag keeps all of them in the slot of KEYS[1]
-- KEYS[3] the campaign's counters
-- ARGV[1] the record of this message, '' for none
-- ARGV[2] seconds that the record is kept
-- ARGV[3] messages per key of records
-- ARGV[4] where the message is counted as sent: hour|VirtualMTA|list
-- Returns the number, or nil where the campaign is gone.

if redis.call('EXISTS', KEYS[1]) == 0 then
  return nil
end

local number = redis.call('HINCRBY', KEYS[1], 'sent', 1)
if redis.call('HINCRBY', KEYS[3], 'sent|' .. ARGV[4], 1) == 1 then
  -- Counters end with their campaign.
  local left = redis.call('PTTL', KEYS[1])
  if left > 0 then
    redis.call('PEXPIRE', KEYS[3], left)
  end
end
if ARGV[1] ~= '' then
  local per_key = tonumber(ARGV[3])
  local block = KEYS[2] .. string.format('%d', math.floor(number / per_key))
  -- Which one it is stands before it: a message without a record leaves no gap in a list. A hash
  -- would be no smaller than its entries, one by one, as soon as one of them is over 64 octets.
  redis.call('RPUSH', block, string.format('%d ', number % per_key) .. ARGV[1])
  redis.call('EXPIRE', block, ARGV[2])
end
return number
