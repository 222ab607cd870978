"""Redis commands that write a history: events with ids of their own, members of a guest, and loaded members."""

from collections.abc import Iterator, Mapping
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

# What a merge moves into a history: events whose id any of its events has are left out, as in the database.
_MERGE = f"""
local held, new = {{}}, 0
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do held[string.sub(name, -{EVENT_HASH_LENGTH})] = true end
for place = 3, #ARGV, 2 do
  local hash = string.sub(ARGV[place + 1], -{EVENT_HASH_LENGTH})
  if not held[hash] then
    new = new + redis.call('ZADD', KEYS[1], 'NX', ARGV[place], ARGV[place + 1])
    held[hash] = true
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -(ARGV[1] + 1))
if ARGV[2] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return new
"""


def append_command(key: str, scores: Mapping[str, float], max_events: int, ttl_s: int | None) -> Command:
    """Return the command that stores one owner's events, member → score; it replies [new, reused]."""
    return ("EVAL", _APPEND, 1, key, max_events, ttl_s or 0, RECOGNISED_EVENTS, *_words(scores))


def merge_command(key: str, scores: Mapping[str, float], max_events: int, ttl_s: int | None) -> Command:
    """Return the command that moves a guest's events, member → score, into a history; it replies how many were new."""
    return ("EVAL", _MERGE, 1, key, max_events, ttl_s or 0, *_words(scores))


def _words(scores: Mapping[str, float]) -> Iterator[str | float]:
    return (word for name, score in scores.items() for word in (score, name))


def queue_members(pipeline: Any, key: str, scores: dict[str, float], max_events: int, ttl_s: int | None) -> None:
    """Queue one owner's write; new members come first, so that the first reply counts them."""
    # NX: an event that is sent again with another time keeps its first position.
    pipeline.zadd(key, scores, nx=True)
    pipeline.zremrangebyrank(key, 0, -(max_events + 1))
    if ttl_s is not None:
        pipeline.expire(key, ttl_s)
