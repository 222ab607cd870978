"""Redis commands that write a history: events with ids of their own, and members that are moved or loaded."""

from collections.abc import Mapping
from typing import Any

from retort.shared.history.cluster_reads import Command
from retort.shared.history.store import EVENT_HASH_LENGTH, RECOGNISED_EVENTS

# One owner's write: events whose id one of the newest events has are left out. A member ends with the hash of its id.
# All names are searched as one string, because a Lua string for each of their hashes would cost more than the write.
_APPEND = f"""
local names = redis.call('ZREVRANGE', KEYS[1], 0, ARGV[3] - 1)
local joined = table.concat(names, '\\n') .. '\\n'
local written, new, reused = {{}}, 0, 0
for place = 4, #ARGV, 2 do
  local name = ARGV[place + 1]
  local hash = string.sub(name, -{EVENT_HASH_LENGTH})
  local _, found = string.find(joined, hash .. '\\n', 1, true)
  if found ~= nil then
    if string.sub('\\n' .. joined, found - #name, found) ~= '\\n' .. name then reused = reused + 1 end
  elseif written[hash] == nil then
    new = new + redis.call('ZADD', KEYS[1], 'NX', ARGV[place], name)
    written[hash] = name
  elseif written[hash] ~= name then
    reused = reused + 1
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -(ARGV[1] + 1))
if ARGV[2] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return {{new, reused}}
"""


def append_command(key: str, scores: Mapping[str, float], max_events: int, ttl_s: int | None) -> Command:
    """Return the command that stores one owner's events, member → score; it replies [new, reused]."""
    members = (word for name, score in scores.items() for word in (score, name))
    return ("EVAL", _APPEND, 1, key, max_events, ttl_s or 0, RECOGNISED_EVENTS, *members)


def queue_members(pipeline: Any, key: str, scores: dict[str, float], max_events: int, ttl_s: int | None) -> None:
    """Queue one owner's write; new members come first, so that the first reply counts them."""
    # NX: an event that is sent again with another time keeps its first position.
    pipeline.zadd(key, scores, nx=True)
    pipeline.zremrangebyrank(key, 0, -(max_events + 1))
    if ttl_s is not None:
        pipeline.expire(key, ttl_s)
