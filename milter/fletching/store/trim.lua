-- Deletes events from before a time, and the entries of journals that are gone.
--
-- KEYS[1] the stream   KEYS[2] hash: journal -> sequence number of its last event in the stream
-- ARGV[1] the lowest id that must stay

-- Sequence numbers are times in microseconds. No journal keeps events so much longer than the
-- stream, so an older entry is never needed again.
local longer = 7 * 86400000
local journals = redis.call('HGETALL', KEYS[2])
for i = 1, #journals, 2 do
  if journals[i + 1] / 1000 < tonumber(string.match(ARGV[1], '^%d+')) - longer then
    redis.call('HDEL', KEYS[2], journals[i])
  end
end

return redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[1])
