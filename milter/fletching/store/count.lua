-- Counts what happened to messages of one campaign, and what happened to a message for the first
-- time: one bit per message and kind records that. Events of a journal are counted once, however
-- often they are sent.
--
-- KEYS[1] the campaign   KEYS[2] its counters   KEYS[3] its links
-- KEYS[4] hash: journal -> sequence number of its last event that is counted
-- KEYS[5] what the keys of its bits begin with
-- KEYS[6] its counters by provider   KEYS[7] its failures by reason, words and provider
-- KEYS[8] its counters by step
-- ARGV[1] the journal, '' for events that are in none   ARGV[2] the runs that it knows
-- ARGV[3...] for each event: sequence number, kind, hour|VirtualMTA|list, step, message number
--            (empty if each event counts), digest of the text, the text, provider, reason. The text
--            is the link of a click, or the server's words of a failure. What an event does not
--            have is empty.
-- Returns the run, and the journal's sequence number before. In a run that the journal does not
-- know, it counts nothing: there may be events missing that must come first.
-- All keys expire together with the campaign: if bits expired before counters, a message would be
-- unique twice. If Redis has lost the campaign, a worker creates it again with its next message;
-- until then the counts are kept for 30 days.

local run, before = '', 0
if ARGV[1] ~= '' then
  run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
  before = tonumber(redis.call('HGET', KEYS[4], ARGV[1]) or 0)
  if not string.find(ARGV[2], run, 1, true) then
    return {run, before}
  end
end

local left = redis.call('PTTL', KEYS[1])
if left == -2 then
  left = 30 * 86400 * 1000
end

local touched = {[KEYS[2]] = true}
-- The same failure may be reported by Postfix's log and by a bounce.
local once = {
  unsubscribes = true, complaints = true, delivered = true, deferred = true,
  bounces_hard = true, bounces_soft = true, bounces_other = true, seeds = true,
}
local blocked = {blocked = true, rate_limited = true, policy = true, spam = true}
local most_groups = 200
-- What a message is counted as for the first time, and by which bits. Someone who clicks has opened
-- the message even if no image was loaded. After a privacy proxy's load, it is unknown whether a
-- person read the message.
local unique = {
  opens = {unique_opens = 'opens', confirmed_opens = 'confirmed'},
  privacy_opens = {unique_opens = 'opens'},
  clicks = {unique_clicks = 'clicks', unique_opens = 'opens', confirmed_opens = 'confirmed'},
}

-- By key and field. Many events raise the same counter, which is then written once.
local raised = {[KEYS[2]] = {}, [KEYS[3]] = {}, [KEYS[6]] = {}, [KEYS[7]] = {}, [KEYS[8]] = {}}

local function raise(key, field)
  raised[key][field] = (raised[key][field] or 0) + 1
end

-- In blocks of messages, since a string of bits takes memory for all numbers below its highest one.
local function first(kind, number, block)
  local key = KEYS[5] .. kind .. string.format(':%.0f', math.floor(number / block))
  touched[key] = true
  return redis.call('SETBIT', key, number % block, 1) == 0
end

local function first_of_kind(kind, number)
  return first(kind, number, 65536)
end

-- In small blocks: otherwise a link of only one message would take as much memory as one of all.
local function first_of_link(kind, digest, number)
  return first(kind .. ':' .. digest, number, 4096)
end

-- The group of a server's words. When there are too many, all others of a reason are one group.
local function group_of(reason, digest, words)
  if redis.call('HEXISTS', KEYS[7], digest) == 0 then
    if tonumber(redis.call('HGET', KEYS[7], 'groups') or 0) < most_groups then
      redis.call('HINCRBY', KEYS[7], 'groups', 1)
    else
      digest, words = reason, ''
    end
    redis.call('HSETNX', KEYS[7], digest, reason .. ' ' .. words)
  end
  return digest
end

local function count_click(kind, number, digest, link)
  redis.call('HSETNX', KEYS[3], digest, link)
  raise(KEYS[3], digest .. '|' .. kind)
  if kind == 'clicks' and first_of_link(kind, digest, number) then
    raise(KEYS[3], digest .. '|unique_clicks')
  end
end

local function count(kind, cell, step, number, digest, text, provider, reason)
  if not number or not once[kind] or first_of_kind(kind, number) then
    raise(KEYS[2], kind .. '|' .. cell)
    if step ~= '' then
      raise(KEYS[8], kind .. '|' .. step)
    end
    if provider ~= '' then
      raise(KEYS[6], kind .. '|' .. provider)
    end
    if reason ~= '' then
      raise(KEYS[7], group_of(reason, digest, text) .. '|' .. kind .. '|' .. provider)
    end
  end
  if blocked[reason] and first_of_kind('blocked', number) then
    raise(KEYS[2], 'blocked|' .. cell)
    raise(KEYS[6], 'blocked|' .. provider)
  end
  for counted, bits in pairs(unique[kind] or {}) do
    if first_of_kind(bits, number) then
      raise(KEYS[2], counted .. '|' .. cell)
    end
  end
  if digest ~= '' and reason == '' then
    count_click(kind, number, digest, text)
  end
end

local last
for i = 3, #ARGV, 9 do
  if ARGV[1] == '' or tonumber(ARGV[i]) > before then
    local number = tonumber(ARGV[i + 4])
    count(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], number, unpack(ARGV, i + 5, i + 8))
    last = ARGV[i]
  end
end

for key, fields in pairs(raised) do
  touched[key] = touched[key] or next(fields) ~= nil
  for field, by in pairs(fields) do
    redis.call('HINCRBY', key, field, by)
  end
end
if last and ARGV[1] ~= '' then
  redis.call('HSET', KEYS[4], ARGV[1], last)
  touched[KEYS[4]] = true
end
for key, is_touched in pairs(touched) do
  -- Asking is cheaper than writing, and keeps the append-only file smaller. The minute allows for
  -- clocks and rounding.
  local has = is_touched and left > 0 and redis.call('PTTL', key)
  if has and (has == -1 or has < left - 60000) then
    redis.call('PEXPIRE', key, left)
  end
end
return {run, before}
