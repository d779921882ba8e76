-- Puts events at the end of the stream, in order; those of a journal only once. Each has its place
-- there, one more than the last one's: so how many are between two of them is known without counting.
--
-- KEYS[1] the stream   KEYS[2] its marks: hash, writer -> sequence number of its last event there
-- ARGV[1] the writer, '' for events that no journal has   ARGV[2] the runs that it knows
-- ARGV[3] the sequence number that must be there   ARGV[4...] each sequence number and event
-- Gives the run and the mark before. In a run that the writer does not know, or behind a mark that
-- is too low, it does nothing: events are missing that must come first.

local run, mark = '', 0
if ARGV[1] ~= '' then
  run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
  mark = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
  if not string.find(ARGV[2], run, 1, true) or mark < tonumber(ARGV[3]) then
    return {run, mark}
  end
end

local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local place = newest and tonumber(newest[2][4]) or 0
local last
for i = 4, #ARGV, 2 do
  if ARGV[1] == '' or tonumber(ARGV[i]) > mark then
    place = place + 1
    redis.call('XADD', KEYS[1], '*', 'event', ARGV[i + 1], 'place', place)
    last = ARGV[i]
  end
end
if last and ARGV[1] ~= '' then
  redis.call('HSET', KEYS[2], ARGV[1], last)
end
return {run, mark}
