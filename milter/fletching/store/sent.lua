-- Counts mails of a campaign that Postfix accepted. Each count of a process has a name and only
-- grows; Redis remembers how much of it is counted already. So nothing is counted twice, and what
-- Redis has lost is counted the next time.
--
-- KEYS[1] the campaign   KEYS[2] its counters   KEYS[3] hash: name of a count -> how many are
--         counted   KEYS[4] its counters by step
-- ARGV for each count: hour|VirtualMTA|list, step of its last mail ('' for none), its name, how many
--         mails in all
-- Returns the run of Redis: in another run, it may have lost some. If the campaign does not exist,
-- counts nothing and returns nil.

local left = redis.call('PTTL', KEYS[1])
if left == -2 then
  return nil
end
for i = 1, #ARGV, 4 do
  local cell, step, name, mails = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local more = mails - (redis.call('HGET', KEYS[3], name) or 0)
  if more > 0 then
    redis.call('HINCRBY', KEYS[2], 'sent|' .. cell, more)
    if step ~= '' then
      redis.call('HINCRBY', KEYS[4], 'sent|' .. step, more)
    end
    redis.call('HSET', KEYS[3], name, mails)
  end
end
-- All expire with the campaign. If events were counted while it was lost, they expire too early.
for i = 2, 4 do
  if left > 0 and redis.call('PTTL', KEYS[i]) < left - 60000 then
    redis.call('PEXPIRE', KEYS[i], left)
  end
end
return string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
