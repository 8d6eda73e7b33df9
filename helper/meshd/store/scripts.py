"""The Lua scripts that Redis runs: each one sees and changes the data as a whole, at one instant.

Layout of the data (all of one mesh, database 0):
  changes         stream of ChangeEntry, id `<revision>-<epoch>`, fields `entry` (serialized) and `request` (as below)
  requests-done   hash, `<asker>/<request id>` (of earlier releases, and of what has no asker, the request id alone) ->
                  stream id, for the entries that are in the stream
  <kind>          one hash per kind of object: key -> serialized message
The kind `primary` has one key, "", whose value is the id of the member that leads (UTF-8); its epoch is that of the
entry that wrote it. `settings` and `voters` have the one key "" as well.
  format          number of the format of all this; without it, 1
"""

from __future__ import annotations

CHANGES = "changes"
REQUESTS = "requests-done"
KINDS = ("settings", "member", "route", "invite", "request", "voters", "primary")

FORMAT_KEY = "format"
FORMAT = 1
"""The newest that is read. A later one is for what this release must not touch: its primary writes the key, with an
entry that every member can read, and nodes of an earlier release refuse to start on it."""

ALL_KEYS = frozenset({CHANGES, REQUESTS, FORMAT_KEY, *KINDS})

_LAST_ID = """
local function last_id(stream)
  if redis.call('EXISTS', stream) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end
"""

APPEND = (
    _LAST_ID
    + """
-- KEYS: changes, requests-done, one hash per write
-- ARGV: expected last id, new id, request id, entry, entries to keep, slack; then key, has value, value per write
local changes, requests = KEYS[1], KEYS[2]
local request = ARGV[3]
if request ~= '' then
  local done = redis.call('HGET', requests, request)
  if done then return {'duplicate', done} end
end
local last = last_id(changes)
if last ~= ARGV[1] then return {'conflict', last} end
-- Nothing is undone when a command fails half-way, so what could fail is looked at first.
for i = 3, #KEYS do
  local kind = redis.call('TYPE', KEYS[i])['ok']
  if kind ~= 'none' and kind ~= 'hash' then return {'damaged', KEYS[i]} end
end
redis.call('XADD', changes, ARGV[2], 'entry', ARGV[4], 'request', request)
if request ~= '' then redis.call('HSET', requests, request, ARGV[2]) end
for i = 3, #KEYS do
  local at = 7 + (i - 3) * 3
  if ARGV[at + 1] == '1' then
    redis.call('HSET', KEYS[i], ARGV[at], ARGV[at + 2])
  else
    redis.call('HDEL', KEYS[i], ARGV[at])
  end
end
local excess = redis.call('XLEN', changes) - tonumber(ARGV[5])
if excess > tonumber(ARGV[6]) then
  for _, old in ipairs(redis.call('XRANGE', changes, '-', '+', 'COUNT', excess)) do
    for f = 1, #old[2], 2 do
      if old[2][f] == 'request' and old[2][f + 1] ~= '' then redis.call('HDEL', requests, old[2][f + 1]) end
    end
  end
  redis.call('XTRIM', changes, 'MAXLEN', '=', ARGV[5])
end
return {'done', ARGV[2]}
"""
)
"""The one way in which anything is written."""

POSITION = "#!lua flags=no-writes\n" + _LAST_ID + "return last_id(KEYS[1])\n"

LOAD = (
    "#!lua flags=no-writes\n"
    + _LAST_ID
    + """
-- KEYS: changes, then one hash per kind
local reply = {last_id(KEYS[1])}
for i = 2, #KEYS do reply[i] = redis.call('HGETALL', KEYS[i]) end
return reply
"""
)

ENTRIES = (
    "#!lua flags=no-writes\n"
    + """
-- KEYS: changes. ARGV: id to continue after, last id wanted or '+', how many
-- False when the entry to continue after is not there, or, for 0-0, when the oldest entries are gone.
local changes, after = KEYS[1], ARGV[1]
if redis.call('EXISTS', changes) == 0 then
  if after == '0-0' then return {} end
  return false
end
if after == '0-0' then
  local info, length, added = redis.call('XINFO', 'STREAM', changes), 0, 0
  for i = 1, #info, 2 do
    if info[i] == 'length' then length = info[i + 1] end
    if info[i] == 'entries-added' then added = info[i + 1] end
  end
  if length ~= added then return false end
elseif #redis.call('XRANGE', changes, after, after) == 0 then
  return false
end
return redis.call('XRANGE', changes, '(' .. after, ARGV[2], 'COUNT', ARGV[3])
"""
)

REQUEST = (
    "#!lua flags=no-writes\n"
    + """
-- KEYS: changes, requests-done. ARGV: the request as it is kept, and as earlier releases kept it
local id = redis.call('HGET', KEYS[2], ARGV[1]) or redis.call('HGET', KEYS[2], ARGV[2])
if not id then return false end
return redis.call('XRANGE', KEYS[1], id, id)
"""
)

CONDITION = (
    "#!lua flags=no-writes\n"
    + _LAST_ID
    + """
-- KEYS: changes, voters. The last id, how durable it is, and who votes, seen at one instant.
return {last_id(KEYS[1]), redis.call('INFO', 'persistence'), redis.call('HGET', KEYS[2], '')}
"""
)

COMMITTED = (
    "#!lua flags=no-writes\n"
    + _LAST_ID
    + """
-- KEYS: changes. ARGV: ids. The last id; then for each id 1 when that very entry is in the stream, else 0.
local reply = {last_id(KEYS[1])}
for i = 1, #ARGV do reply[i + 1] = #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) end
return reply
"""
)
