"""`AccessRequests`: strangers who want to use the bot, and what an admin decided about each."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import cast

from stemdrop.storage.connection import RedisStore, run_script
from stemdrop.storage.keys import (
    ALLOWED,
    DAY_S,
    REFUSAL_LIFETIME_S,
    REQUEST,
    REQUEST_LIFETIME_S,
    REQUESTS,
    REQUESTS_OF_DAY,
    REQUESTS_UNSEEN,
)

# How many strangers a day the admins are told of one by one, and how many may wait.
SHOWN_A_DAY = 10
WAITING_MOST = 200

# `asked_by` is the update that asked: if it is handled again, it gets the same answer.
_ASK = """
-- KEYS: request, requests, number of the day
-- ARGV: id, now, update, lifetime, most that are shown, most that wait, name, username, language,
-- the message with a song, or 0
local known = redis.call('HMGET', KEYS[1], 'state', 'asked_by', 'outcome', 'asked_at', 'song', 'song_update')
if known[1] == 'refused' then return 'refused' end
if known[2] == ARGV[3] then return known[3] end
local song, song_update = known[5] or '0', known[6] or '0'
if ARGV[10] ~= '0' and tonumber(ARGV[3]) > tonumber(song_update) then
  song, song_update = ARGV[10], ARGV[3]
end
if known[1] == 'waiting' and tonumber(ARGV[2]) - tonumber(known[4]) < 86400 then
  redis.call('HSET', KEYS[1], 'song', song, 'song_update', song_update)
  return 'waiting'
end
local number = redis.call('INCR', KEYS[3])
redis.call('EXPIRE', KEYS[3], 172800)
local outcome = 'waiting'
if number <= tonumber(ARGV[5]) then outcome = 'shown'
elseif number == tonumber(ARGV[5]) + 1 then outcome = 'too_many' end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'state', 'waiting', 'asked_by', ARGV[3], 'outcome', outcome, 'asked_at', ARGV[2],
           'name', ARGV[7], 'username', ARGV[8], 'language', ARGV[9],
           'song', song, 'song_update', song_update)
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[6]))
return outcome
"""

# The first decision holds; a tap that is handled again finds its own.
_DECIDE = """
-- KEYS: request, requests, allowed   ARGV: id, decision, update or tap, admin id, lifetime, 1 to overrule
redis.call('ZREM', KEYS[2], ARGV[1])
local state = redis.call('HGET', KEYS[1], 'state')
local by = redis.call('HGET', KEYS[1], 'decided_by')
if by == ARGV[3] then return 1 end
if state and state ~= 'waiting' and ARGV[6] == '0' then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'decided_by', ARGV[3], 'admin', ARGV[4])
redis.call('HDEL', KEYS[1], 'answered')
redis.call('EXPIRE', KEYS[1], ARGV[5])
if ARGV[2] == 'let_in' then
  redis.call('SADD', KEYS[3], ARGV[1])
else
  redis.call('HDEL', KEYS[1], 'song', 'song_update')
end
return 1
"""

_SET = """
-- KEYS: request   ARGV: field, value. One that has expired does not come back.
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
"""

_FORGET = """
-- KEYS: request, requests   ARGV: id. What was decided and when they asked stay, or they could ask at once.
redis.call('HDEL', KEYS[1], 'name', 'username', 'language', 'song', 'song_update')
redis.call('ZREM', KEYS[2], ARGV[1])
"""


class Asked(StrEnum):
    """What follows when a stranger asks."""

    SHOWN = "shown"  # the admins are shown this one
    TOO_MANY = "too_many"  # the admins are told that they are shown no more today
    WAITING = "waiting"  # the admins were told before, or find the stranger in their list
    REFUSED = "refused"  # an admin has refused the stranger


class Decision(StrEnum):
    LET_IN = "let_in"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A request of a stranger or chat (negative id). `messages`: admin id → the message that asks this admin.

    `song` is the id of the stranger's last message with a song, `song_update` that of its update; 0: none.
    """

    id: int
    name: str = ""
    username: str = ""
    language: str = ""
    state: str = ""
    admin: int = 0
    is_answered: bool = False
    messages: tuple[tuple[int, int], ...] = ()
    song: int = 0
    song_update: int = 0


class AccessRequests(RedisStore):
    async def ask(self, request: AccessRequest, once: str, now: float) -> Asked:
        """Store a request; a stranger asks once a day, and not after a refusal. Idempotent for `once`."""
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        keys = [REQUEST.format(request.id), REQUESTS, REQUESTS_OF_DAY.format(day)]
        limits = [REQUEST_LIFETIME_S, SHOWN_A_DAY, WAITING_MOST]
        args = [request.id, now, once, *limits, request.name, request.username, request.language]
        args.append(request.song)
        return Asked(await run_script(self._redis, _ASK, keys, args))

    async def decide(
        self, stranger_id: int, decision: Decision, once: str, admin_id: int, *, overrules: bool = False
    ) -> bool:
        """Let a stranger in or refuse them; False if that was decided before, by another tap."""
        lifetime_s = REFUSAL_LIFETIME_S if decision is Decision.REFUSED else DAY_S
        keys = [REQUEST.format(stranger_id), REQUESTS, ALLOWED]
        args = [stranger_id, decision, once, admin_id, lifetime_s, int(overrules)]
        return bool(await run_script(self._redis, _DECIDE, keys, args))

    async def get(self, stranger_id: int) -> AccessRequest:
        """Return a request, with empty fields where there is none (any more)."""
        found = cast(dict[str, str], await self._redis.hgetall(REQUEST.format(stranger_id)))
        messages = {int(field): int(found[field]) for field in found if field.lstrip("-").isdigit()}
        return AccessRequest(
            id=stranger_id,
            name=found.get("name", ""),
            username=found.get("username", ""),
            language=found.get("language", ""),
            state=found.get("state", ""),
            admin=int(found.get("admin", 0)),
            is_answered="answered" in found,
            messages=tuple(messages.items()),
            song=int(found.get("song", 0)),
            song_update=int(found.get("song_update", 0)),
        )

    async def waiting(self, now: float) -> list[int]:
        """Return the ids of the strangers who wait, the latest request first."""
        await self._redis.zremrangebyscore(REQUESTS, 0, now - REQUEST_LIFETIME_S)
        return [int(str(found)) for found in await self._redis.zrevrange(REQUESTS, 0, -1)]

    async def set_message(self, stranger_id: int, admin_id: int, message_id: int) -> None:
        await run_script(self._redis, _SET, [REQUEST.format(stranger_id)], [admin_id, message_id])

    async def set_answered(self, stranger_id: int) -> None:
        """Note that the stranger was told of the decision."""
        await run_script(self._redis, _SET, [REQUEST.format(stranger_id)], ["answered", 1])

    async def add_unseen(self, stranger_id: int, admin_id: int) -> None:
        key = REQUESTS_UNSEEN.format(admin_id)
        await self._redis.sadd(key, str(stranger_id))
        await self._redis.expire(key, REQUEST_LIFETIME_S)

    async def unseen(self, admin_id: int) -> list[int]:
        """Return the strangers of whom this admin could not be told."""
        return [int(found) for found in await self._redis.smembers(REQUESTS_UNSEEN.format(admin_id))]

    async def set_seen(self, stranger_id: int, admin_id: int) -> None:
        await self._redis.srem(REQUESTS_UNSEEN.format(admin_id), str(stranger_id))

    async def forget(self, stranger_id: int) -> None:
        """Delete the personal fields of a stranger's request; a refusal stays."""
        await run_script(self._redis, _FORGET, [REQUEST.format(stranger_id), REQUESTS], [stranger_id])
