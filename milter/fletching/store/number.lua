-- The next message number of a campaign, and the record by which a bounce of that message is
-- attributed later.
--
-- A number must never be given twice, also where Redis has lost its last seconds, or where the two
-- sides of a partition go on. So a server that cannot know all numbers so far takes a new range:
--   6 bits: how many ranges there were before   16 bits of chance   28 bits: goes on counting
-- It cannot know them where it is another one, or was restarted or promoted, since the last number
-- (each has a replication id of its own), where the campaign was lost and made again, and where the
-- asker has seen a higher one. But a restarted server with an append-only file, and no replica now or
-- before, has all that it gave in the minute before its start.
--
-- KEYS[1] the campaign's key
-- KEYS[2] what the keys of its bounce records begin with; the number makes them whole, and the
--         hash tag keeps all of them in the slot of KEYS[1]
-- ARGV[1] the record of this message, '' for none
-- ARGV[2] seconds that the record is kept
-- ARGV[3] messages per key of records
-- ARGV[4] the highest number that the asker has seen in this campaign, 0 for none
-- ARGV[5] chance, 16 bits
-- Returns the number, or nil where the campaign is gone.

local opened, last, run, at = unpack(redis.call('HMGET', KEYS[1], 'opened', 'number', 'run', 'at'))
if not opened then
  return nil
end

local now = redis.call('TIME')[1]
local replication = redis.call('INFO', 'replication')
local server = string.match(replication, 'master_replid:(%w+)') or ''

local function has_what_it_gave()
  local uptime = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
  local away = now - (uptime or 0) - (at or 0)
  return run ~= 'lost' and away >= 0 and away < 60
    and string.find(redis.call('INFO', 'persistence'), 'aof_enabled:1', 1, true)
    and string.find(replication, 'connected_slaves:0', 1, true)
    and string.find(replication, 'master_replid2:0+%s')
end

local number, seen = tonumber(last or 0), tonumber(ARGV[4])
if seen > number or (run and run ~= server and not has_what_it_gave()) then
  number = math.max(number, seen)
  local range = math.min(math.floor(number / 2 ^ 44) + 1, 63) * 2 ^ 16 + ARGV[5]
  -- The last generation goes on where it is.
  number = math.max(number, range * 2 ^ 28 + number % 2 ^ 28)
end
number = number + 1

local digits = string.format('%.0f', number)
if run == server then
  redis.call('HSET', KEYS[1], 'number', digits, 'at', now)
else
  redis.call('HSET', KEYS[1], 'number', digits, 'at', now, 'run', server)
end
if ARGV[1] ~= '' then
  local per_key = tonumber(ARGV[3])
  local block = KEYS[2] .. string.format('%.0f', math.floor(number / per_key))
  -- Which one it is stands before it: a message without a record leaves no gap in a list. A hash
  -- would be no smaller than its entries, one by one, as soon as one of them is over 64 octets.
  redis.call('RPUSH', block, string.format('%.0f ', number % per_key) .. ARGV[1])
  redis.call('EXPIRE', block, ARGV[2])
end
return number
