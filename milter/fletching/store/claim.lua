-- Claims failures for one of the reports that tell of them: the first one has them.
--
-- KEYS[1] hash: number and failure -> the report that has it
-- ARGV[1] the report   ARGV[2] seconds for which the hash is kept   ARGV[3...] number and failure
-- Returns 1 for each failure that the report has, else 0.

local results = {}
for i = 3, #ARGV do
  redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[1])
  results[i - 2] = redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[1] and 1 or 0
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return results
