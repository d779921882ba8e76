-- Adds events to the end of the stream, in order; those of a journal only once. Each entry has its
-- position, one more than that of the entry before: so the number of entries between two of them is
-- known without counting. An event without text stays out of the stream, but its sequence number is
-- remembered like that of the others.
--
-- KEYS[1] the stream   KEYS[2] hash: journal -> sequence number of its last event in the stream
-- ARGV[1] the journal, '' for events that are in none   ARGV[2] the runs that it knows
-- ARGV[3] the sequence number that must be there   ARGV[4...] each sequence number and event,
--         '' for an event that stays out of the stream
-- Returns the run, and the journal's sequence number before. In a run that the journal does not
-- know, or if that number is too low, it adds nothing: there are events missing that must come
-- first.

local run, before = '', 0
if ARGV[1] ~= '' then
  run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
  before = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
  if not string.find(ARGV[2], run, 1, true) or before < tonumber(ARGV[3]) then
    return {run, before}
  end
end

local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local position = newest and tonumber(newest[2][4]) or 0
local last
for i = 4, #ARGV, 2 do
  if ARGV[1] == '' or tonumber(ARGV[i]) > before then
    if ARGV[i + 1] ~= '' then
      position = position + 1
      redis.call('XADD', KEYS[1], '*', 'event', ARGV[i + 1], 'position', position)
    end
    last = ARGV[i]
  end
end
if last and ARGV[1] ~= '' then
  redis.call('HSET', KEYS[2], ARGV[1], last)
end
return {run, before}
