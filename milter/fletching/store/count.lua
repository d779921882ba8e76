-- Counts what happened to messages of one campaign, and what happened to a message for the first
-- time. A bit per message and kind tells that. Events of a journal are counted once, however often
-- they come.
--
-- KEYS[1] the campaign's key   KEYS[2] its counters   KEYS[3] its links
-- KEYS[4] its marks: hash, writer -> sequence number of its last event that is counted
-- KEYS[5] what the keys of its bits begin with
-- ARGV[1] the writer, '' for events that no journal has   ARGV[2] the runs that it knows
-- ARGV[3...] for each: sequence number, kind, when|VirtualMTA|list, message number, digest of the
--            link, the link; the last two are empty where it is no click
-- Gives the run and the mark before. In a run that the writer does not know it does nothing: events
-- may be missing that must come first.
-- All keys end together with the campaign: were bits gone before counters, a message would be
-- unique twice. Redis may have lost the campaign's key, and a worker makes it again with its next
-- message: until then the counts are kept for 30 days.

local run, mark = '', 0
if ARGV[1] ~= '' then
  run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
  mark = tonumber(redis.call('HGET', KEYS[4], ARGV[1]) or 0)
  if not string.find(ARGV[2], run, 1, true) then
    return {run, mark}
  end
end

local left = redis.call('PTTL', KEYS[1])
if left == -2 then
  left = 30 * 86400 * 1000
end

local touched = {[KEYS[2]] = true}
local once = {unsubscribes = true, complaints = true}
-- What a message is counted as for the first time, and by which bits. Who clicks has opened, though
-- no image was loaded; of a privacy proxy's load nobody knows whether a person read.
local unique = {
  opens = {unique_opens = 'opens', confirmed_opens = 'confirmed'},
  privacy_opens = {unique_opens = 'opens'},
  clicks = {unique_clicks = 'clicks', unique_opens = 'opens', confirmed_opens = 'confirmed'},
}

-- By key and field. Many events raise the same counters, and each of these is written once.
local raised = {[KEYS[2]] = {}, [KEYS[3]] = {}}

local function raise(key, field)
  raised[key][field] = (raised[key][field] or 0) + 1
end

-- In blocks of so many messages: a row of bits takes the room of all numbers below its highest one.
local function first(kind, number, block)
  local key = KEYS[5] .. kind .. string.format(':%.0f', math.floor(number / block))
  touched[key] = true
  return redis.call('SETBIT', key, number % block, 1) == 0
end

local function first_of_kind(kind, number)
  return first(kind, number, 65536)
end

-- In small ones: a link that only one message has would take as much room as one that all have.
local function first_of_link(kind, digest, number)
  return first(kind .. ':' .. digest, number, 4096)
end

local function count(kind, place, number, digest, link)
  -- A recipient who unsubscribes twice has unsubscribed once.
  if not once[kind] or first_of_kind(kind, number) then
    raise(KEYS[2], kind .. '|' .. place)
  end
  for counted, bits in pairs(unique[kind] or {}) do
    if first_of_kind(bits, number) then
      raise(KEYS[2], counted .. '|' .. place)
    end
  end
  if digest ~= '' then
    touched[KEYS[3]] = true
    redis.call('HSETNX', KEYS[3], digest, link)
    raise(KEYS[3], digest .. '|' .. kind)
    if kind == 'clicks' and first_of_link(kind, digest, number) then
      raise(KEYS[3], digest .. '|unique_clicks')
    end
  end
end

local last
for i = 3, #ARGV, 6 do
  if ARGV[1] == '' or tonumber(ARGV[i]) > mark then
    count(ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4], ARGV[i + 5])
    last = ARGV[i]
  end
end

for key, fields in pairs(raised) do
  for field, by in pairs(fields) do
    redis.call('HINCRBY', key, field, by)
  end
end
if last and ARGV[1] ~= '' then
  redis.call('HSET', KEYS[4], ARGV[1], last)
  touched[KEYS[4]] = true
end
for key in pairs(touched) do
  -- To ask is cheaper than to write it, and the append-only file stays smaller. A minute is the
  -- room for what a clock and a rounding make of the same end.
  local has = left > 0 and redis.call('PTTL', key)
  if has and (has == -1 or has < left - 60000) then
    redis.call('PEXPIRE', key, left)
  end
end
return {run, mark}
