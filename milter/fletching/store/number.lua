-- The next message number of a campaign, and the record by which a bounce of that message is
-- attributed later.
--
-- KEYS[1] the campaign's key
-- KEYS[2] what the keys of its bounce records begin with; the number makes them whole, and the
--         hash tag keeps all of them in the slot of KEYS[1]
-- ARGV[1] '1' where the campaign may be new, '0' where the caller has seen it before
-- ARGV[2] seconds that a new campaign is kept
-- ARGV[3] the record of this message, '' for none
-- ARGV[4] seconds that the record is kept
-- ARGV[5] messages per key of records
-- ARGV[6...] fields and values of a new campaign
-- Returns the number, or nil where a campaign that was there is gone.

if redis.call('EXISTS', KEYS[1]) == 0 then
  if ARGV[1] == '0' then
    return nil
  end
  redis.call('HSET', KEYS[1], unpack(ARGV, 6))
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end

local number = redis.call('HINCRBY', KEYS[1], 'sent', 1)
if ARGV[3] ~= '' then
  local per_key = tonumber(ARGV[5])
  local block = KEYS[2] .. string.format('%d', math.floor(number / per_key))
  redis.call('HSET', block, string.format('%d', number % per_key), ARGV[3])
  redis.call('EXPIRE', block, ARGV[4])
end
return number
