-- Enters a campaign into the index, and strikes out those that have ended: each entry has the time
-- of its campaign's first message.
--
-- KEYS[1] the index
-- ARGV[1] the campaign   ARGV[2] its time   ARGV[3] campaigns from before this time have ended

redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])
return 1
