-- Counts the failures of addresses, and finds those that fail too often.
--
-- KEYS[1] the addresses that are due for an event: name -> unix milliseconds, a space, the event
-- KEYS[2] what the keys of addresses begin with; a name follows
-- ARGV for each event: name of list and address, 'h' for a hard bounce, 's' for a soft one or 'd'
--      for a delivery, unix milliseconds, campaign and number of the message; then for a bounce: how
--      many such bounces make the address due, the time in which they are counted in milliseconds,
--      and the event to make of this one; for a delivery, these are 0 and empty
-- Events may be written any number of times: a message counts once as hard and once as soft,
-- however many of its bounces are reported.

local function failed(name, type, ms, message, most, within, event)
  local key = KEYS[2] .. name
  local delivered = tonumber(redis.call('HGET', key, 'delivered') or 0)
  if type == 's' and ms <= delivered then
    return
  end
  redis.call('HSETNX', key, type .. ':' .. message, ms)
  local all, newest, count = redis.call('HGETALL', key), 0, 0
  for i = 2, #all, 2 do
    newest = math.max(newest, tonumber(all[i]))
  end
  for i = 1, #all, 2 do
    if tonumber(all[i + 1]) <= newest - within then
      redis.call('HDEL', key, all[i])
    elseif string.sub(all[i], 1, 2) == type .. ':' then
      count = count + 1
    end
  end
  if count >= most then
    -- It begins anew. That an address is due once only is known where the event is made.
    redis.call('DEL', key)
    redis.call('HSETNX', KEYS[1], name, string.format('%.0f ', ms) .. event)
  elseif redis.call('PTTL', key) < within then
    redis.call('PEXPIRE', key, within)
  end
end

local function delivered(name, ms)
  local key = KEYS[2] .. name
  local all = redis.call('HGETALL', key)
  -- Read now: a key is deleted with its last field.
  local before, left = 0, #all > 0 and redis.call('PTTL', key)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 's:' and tonumber(all[i + 1]) <= ms then
      redis.call('HDEL', key, all[i])
    elseif all[i] == 'delivered' then
      before = tonumber(all[i + 1])
    end
  end
  -- An address without failures needs no memory. For others, it is remembered, so that an older
  -- failure that is written later does not count.
  if #all > 0 and ms > before then
    redis.call('HSET', key, 'delivered', string.format('%.0f', ms))
    if left > 0 then
      redis.call('PEXPIRE', key, left)
    end
  end
end

for i = 1, #ARGV, 7 do
  if ARGV[i + 1] == 'd' then
    delivered(ARGV[i], tonumber(ARGV[i + 2]))
  else
    failed(
      ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3], tonumber(ARGV[i + 4]),
      tonumber(ARGV[i + 5]), ARGV[i + 6]
    )
  end
end
return 0
