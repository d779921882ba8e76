-- Puts events at the end of the stream, in order, all of them or none.
--
-- KEYS[1] the stream   ARGV[1...] the events in JSON
for _, event in ipairs(ARGV) do
  redis.call('XADD', KEYS[1], '*', 'event', event)
end
return #ARGV
