-- Counts mails of a campaign that Postfix took. Each count has a name and says how many there are
-- in all; how many of those are counted already stands here. So nothing is counted twice, and what
-- Redis has forgotten is counted with the next one.
--
-- KEYS[1] the campaign's key   KEYS[2] its counters   KEYS[3] what is counted already
-- ARGV for each: hour|VirtualMTA|list, the name of the count, how many in all
-- Returns the run of Redis: in another one it may have forgotten some. Nil where the campaign is
-- gone; then nothing is counted.

local left = redis.call('PTTL', KEYS[1])
if left == -2 then
  return nil
end
for i = 1, #ARGV, 3 do
  local place, name, mails = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local more = mails - (redis.call('HGET', KEYS[3], name) or 0)
  if more > 0 then
    redis.call('HINCRBY', KEYS[2], 'sent|' .. place, more)
    redis.call('HSET', KEYS[3], name, mails)
  end
end
-- Both end with the campaign. Where events were counted while that was lost, they end too early.
for i = 2, 3 do
  if left > 0 and redis.call('PTTL', KEYS[i]) < left - 60000 then
    redis.call('PEXPIRE', KEYS[i], left)
  end
end
return string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
