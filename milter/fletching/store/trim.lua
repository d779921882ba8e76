-- Forgets events from before a time, and the marks of journals that are gone.
--
-- KEYS[1] the stream   KEYS[2] its marks, hash: writer -> sequence number   ARGV[1] the least id
--         that must stay

-- Sequence numbers are times in microseconds. A journal keeps no event so much longer than the
-- stream, so nobody will ask for its mark again.
local longer = 7 * 86400000
local marks = redis.call('HGETALL', KEYS[2])
for i = 1, #marks, 2 do
  if marks[i + 1] / 1000 < tonumber(string.match(ARGV[1], '^%d+')) - longer then
    redis.call('HDEL', KEYS[2], marks[i])
  end
end

return redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[1])
