-- Adds lines to traces. An event whose head is there already is not added again, so events that are
-- written again add nothing. (Accepted mails are sorted out when they are read.)
--
-- KEYS the blocks
-- ARGV[1] milliseconds to keep a block   ARGV[2] '1' if that begins again now, '' if only for a
--         block that is new
-- ARGV[3] entries of a block above which each message has no more than ARGV[4] lines
-- ARGV[5...] for each line: number of its key in KEYS, head, content
-- Returns how many were added.

local keep, most, each = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])

-- The second byte of a head is the type. An accepted mail is one entry, an event two.
local function is_accepted(head)
  return string.byte(head, 2) == 1
end

-- The lines of each message in a block, counted once: a long block takes Redis a millisecond.
local counted = {}
local function lines_of(key, message)
  if not counted[key] then
    local lines, entries, at = {}, redis.call('LRANGE', key, 0, -1), 1
    while entries[at] do
      local other = string.byte(entries[at])
      lines[other] = (lines[other] or 0) + 1
      at = at + (is_accepted(entries[at]) and 1 or 2)
    end
    counted[key] = lines
  end
  return counted[key][message] or 0
end

-- Whoever loads the same image for ever must not fill the memory, nor the block's other messages.
local function has_room(key, head)
  return redis.call('LLEN', key) < most or lines_of(key, string.byte(head)) < each
end

local added = 0
for i = 5, #ARGV, 3 do
  local key, head, content = KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2]
  if is_accepted(head) then
    redis.call('RPUSH', key, head .. content)
    added = added + 1
  elseif has_room(key, head) and not redis.call('LPOS', key, head) then
    redis.call('RPUSH', key, head, content)
    added = added + 1
    if counted[key] then
      local message = string.byte(head)
      counted[key][message] = (counted[key][message] or 0) + 1
    end
  end
end

for _, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left == -1 or (ARGV[2] == '1' and left >= 0 and left < keep - 60000) then
    redis.call('PEXPIRE', key, keep)
  end
end
return added
