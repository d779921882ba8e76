-- The next message number of a campaign, and the record by which a bounce of that message is
-- attributed later.
--
-- No number may be given twice, even if Redis has lost its last seconds, or if both sides of a
-- partition go on. So a server that may not know all numbers so far begins a new range:
--   6 bits: how many ranges there were before   16 random bits   28 bits: goes on counting
-- It may not know them all if it is another server, or was restarted or promoted, since the last
-- number (each of these has a replication id of its own); if the campaign was lost and created
-- again; or if the caller has seen a higher number. But a restarted server with an append-only
-- file, and without a replica now or before, knows all numbers that it gave in the minute before
-- its start.
--
-- KEYS[1] the campaign
-- KEYS[2] what the keys of its bounce records begin with; a block number completes them, and the
--         hash
--         tag keeps them in the slot of KEYS[1]
-- ARGV[1] the bounce record of this message, '' for none
-- ARGV[2] seconds for which the record is kept
-- ARGV[3] messages per key of records
-- ARGV[4] the highest number that the caller has seen in this campaign, 0 for none
-- ARGV[5] 16 random bits
-- Returns the number, or nil if the campaign does not exist.

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
  -- After the last range, counting goes on where it is.
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
  -- The number comes before the record, since messages without a record have no entry. A hash would
  -- take as much memory as single keys as soon as one value is longer than 64 bytes.
  redis.call('RPUSH', block, string.format('%.0f ', number % per_key) .. ARGV[1])
  redis.call('EXPIRE', block, ARGV[2])
end
return number
