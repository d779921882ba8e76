-- Counts mails of a campaign that Postfix accepted. Each count of a process has a name and only
-- grows; Redis remembers how much of it is counted already. So nothing is counted twice, and what
-- Redis has lost is counted the next time.
--
-- KEYS[1] the campaign   KEYS[2] its counters   KEYS[3] hash: name of a count -> how many are
--         counted
-- ARGV for each count: hour|VirtualMTA|list, its name, how many mails in all
-- Returns the run of Redis: in another run, it may have lost some. If the campaign does not exist,
-- counts nothing and returns nil.

local left = redis.call('PTTL', KEYS[1])
if left == -2 then
  return nil
end
for i = 1, #ARGV, 3 do
  local cell, name, mails = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local more = mails - (redis.call('HGET', KEYS[3], name) or 0)
  if more > 0 then
    redis.call('HINCRBY', KEYS[2], 'sent|' .. cell, more)
    redis.call('HSET', KEYS[3], name, mails)
  end
end
-- Both expire with the campaign. If events were counted while it was lost, they expire too early.
for i = 2, 3 do
  if left > 0 and redis.call('PTTL', KEYS[i]) < left - 60000 then
    redis.call('PEXPIRE', KEYS[i], left)
  end
end
return string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
