"""`Users`: who may use the bot, who runs it, and what each user has chosen."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from stemdrop.domain.abilities import Abilities
from stemdrop.domain.jobs import Job, Mode
from stemdrop.domain.titles import in_sentence
from stemdrop.settings import Settings
from stemdrop.storage.connection import run_script
from stemdrop.storage.keys import (
    ADMIN_LINK,
    ADMIN_LINK_USED,
    ADMINS,
    ALLOWED,
    COUNTED,
    COUNTED_LIFETIME_S,
    DAY_S,
    INVITATION,
    INVITATION_LIFETIME_S,
    ONCE_IN_A_WHILE,
    REQUEST,
    REQUESTS,
    USER,
)

_MAX_NAME = 80
# What was interrupted may be done again after this time, in which it would have ended.
_INTERRUPTED_S = 120

# The link makes an admin only while there is none: of two users who open the link, the first wins.
_BECOME_ADMIN = """
-- KEYS: link, admins, used   ARGV: word, user id, seconds for which the new admin gets the same answer again
local won = ARGV[2] .. ' ' .. ARGV[1]
if redis.call('GET', KEYS[3]) == won then return redis.call('SISMEMBER', KEYS[2], ARGV[2]) end
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('SCARD', KEYS[2]) > 0 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('SET', KEYS[3], won, 'EX', ARGV[3])
return 1
"""

_FIRST_WORD = """
-- KEYS: link, admins   ARGV: word. Several bots that start at once print the same link.
if redis.call('SCARD', KEYS[2]) > 0 then return '' end
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
"""

_REMOVE = """
-- KEYS: allowed, admins   ARGV: user id, 1 if the settings name admins
redis.call('SREM', KEYS[1], ARGV[1])
-- the last admin stays, who alone can let users in
if ARGV[2] == '1' or redis.call('SCARD', KEYS[2]) > 1 then redis.call('SREM', KEYS[2], ARGV[1]) end
"""

_ACCEPT_INVITATION = """
-- KEYS: invitation, allowed, request, requests   ARGV: user id, word, lifetime of an answered request
local admin = redis.call('GET', KEYS[1])
if not admin then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SADD', KEYS[2], ARGV[1])
if redis.call('HGET', KEYS[3], 'state') == 'waiting' then  -- the user had asked before
  redis.call('HSET', KEYS[3], 'state', 'let_in', 'decided_by', ARGV[2], 'admin', admin)
  redis.call('EXPIRE', KEYS[3], ARGV[3])
  redis.call('ZREM', KEYS[4], ARGV[1])
end
return 1
"""

_EXPIRE_OWN = """
-- KEYS: what was done   ARGV: run, seconds (0: at once)
-- it may be that of a later run, if this one was slow, or gone, if `may_say_again` was called meanwhile
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
"""

_MIGRATE = """
-- KEYS: allowed, the old chat's hash, the new one's   ARGV: old chat id, new chat id
if redis.call('SREM', KEYS[1], ARGV[1]) == 1 then redis.call('SADD', KEYS[1], ARGV[2]) end
local known = redis.call('HGETALL', KEYS[2])
for i = 1, #known, 2 do redis.call('HSETNX', KEYS[3], known[i], known[i + 1]) end
redis.call('DEL', KEYS[2])
"""


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the bot.

    `language` is empty unless the user chose one; `daily_credits` is `None` unless an admin set it, and 0 for
    no limit. `telegram_language` is the language of an admin's Telegram, for alerts. `usual` is the mode
    whose button is marked; `splits_at_once`: a private song is split in that mode without a tap.
    `file_format` is the wanted format of stems, empty unless the user chose one; `instrument` is the one that
    the user plays, of `mixing_desk.INSTRUMENTS`.
    """

    id: int
    name: str = ""
    username: str = ""
    language: str = ""
    telegram_language: str = ""
    daily_credits: int | None = None
    usual: Mode = Mode.SEPARATE_VOCAL
    file_format: str = ""
    splits_at_once: bool = False
    instrument: str = ""
    is_admin: bool = False
    is_allowed: bool = False

    @property
    def called(self) -> str:
        """The name for admins, with the id, since users can choose any name."""
        name = in_sentence(self.name, _MAX_NAME)
        number = f"@{self.username}, {self.id}" if self.username else str(self.id)
        return f"{name} ({number})" if name else number


class Users:
    """The users and admins. Every method raises `StoreUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings

    async def person(self, user_id: int, chat_id: int = 0) -> Person:
        """Return a user who writes in `chat_id`; a chat may be allowed as a whole."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(USER.format(user_id))
            pipeline.sismember(ADMINS, str(user_id))
            pipeline.smismember(ALLOWED, [str(user_id), str(chat_id)])
            known, is_admin, allowed = await pipeline.execute()
        settings = self._settings
        ids = {user_id, chat_id}
        is_admin = bool(is_admin) or user_id in settings.admins
        by_setting = settings.access == "open" or ids & (settings.allowed_users | settings.admins)
        credits = known.get("daily_credits")
        return Person(
            id=user_id,
            name=known.get("name", ""),
            username=known.get("username", ""),
            language=known.get("language", ""),
            telegram_language=known.get("telegram_language", ""),
            daily_credits=None if credits is None else int(credits),
            usual=Mode(known.get("usual", Mode.SEPARATE_VOCAL)),
            file_format=known.get("file_format", ""),
            splits_at_once=known.get("at_once") == "1",
            instrument=known.get("instrument", ""),
            is_admin=is_admin,
            is_allowed=is_admin or bool(by_setting) or any(allowed),
        )

    async def limit(self, account: int) -> int:
        """Return the credits that this account may spend a day; 0: no limit."""
        credits = await self._redis.hget(USER.format(account), "daily_credits")
        return self._settings.daily_credits if credits is None else int(credits)

    async def allowed(self) -> list[Person]:
        """Return the users and chats that admins let in from the chat, sorted by id."""
        ids = await self._redis.smembers(ALLOWED)
        return [await self.person(int(number)) for number in sorted(ids, key=int)]

    async def admins(self) -> set[int]:
        ids = await self._redis.smembers(ADMINS)
        return {int(number) for number in ids} | self._settings.admins

    async def set_language(self, user_id: int, code: str) -> None:
        await self._set(user_id, language=code)

    async def set_usual(self, user_id: int, mode: Mode) -> None:
        await self._set(user_id, usual=mode.value)

    async def set_file_format(self, user_id: int, file_format: str) -> None:
        await self._set(user_id, file_format=file_format)

    async def file_format(self, job: Job, abilities: Abilities) -> str:
        """Return the format in which the job's user gets stems; see `Abilities.file_format`."""
        if not abilities.formats:
            return ""
        wanted = await self._redis.hget(USER.format(job.user_id or job.account), "file_format")
        return abilities.file_format(str(wanted or ""))

    async def usual(self, user_id: int) -> Mode:
        """Return the mode whose button is marked for this user."""
        return Mode(str(await self._redis.hget(USER.format(user_id), "usual") or Mode.SEPARATE_VOCAL))

    async def set_splits_at_once(self, user_id: int, is_on: bool) -> None:
        await self._set(user_id, at_once="1" if is_on else "0")

    async def set_instrument(self, user_id: int, instrument: str) -> None:
        """Set the instrument that the user plays; empty: none."""
        await self._set(user_id, instrument=instrument)

    async def set_telegram_language(self, user_id: int, code: str) -> None:
        await self._set(user_id, telegram_language=code)

    async def set_name(self, user_id: int, name: str, username: str = "") -> None:
        await self._set(user_id, name=name[:_MAX_NAME], username=username)

    async def with_username(self, username: str) -> int:
        """Return the id of the admin or admitted user with this @name; 0: there is none."""
        known = [await self.person(number) for number in await self.admins()] + await self.allowed()
        # many people have no username, which no `@` alone may stand for
        found = (person.id for person in known if username and person.username.lower() == username.lower())
        return next(found, 0)

    async def set_daily_credits(self, user_id: int, credits: int | None) -> None:
        """Set the user's credits a day; 0: no limit; `None`: the default of the settings."""
        if credits is None:
            await self._redis.hdel(USER.format(user_id), "daily_credits")
        else:
            await self._set(user_id, daily_credits=str(credits))

    async def is_let_in(self, user_id: int) -> bool:
        """Whether the user was let in by an admin or by the admin link, and not by a setting."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.sismember(ALLOWED, str(user_id))
            pipeline.sismember(ADMINS, str(user_id))
            return any(await pipeline.execute())

    async def add(self, user_id: int) -> None:
        await self._redis.sadd(ALLOWED, str(user_id))

    async def remove(self, user_id: int) -> None:
        """Remove a user or admin; the last admin and the admins of the settings stay."""
        by_setting = "1" if self._settings.admins else "0"
        await run_script(self._redis, _REMOVE, [ALLOWED, ADMINS], [str(user_id), by_setting])

    async def first_admin_word(self) -> str:
        """Return the one-time word of the admin link; empty when there is an admin."""
        if self._needs_admin:
            word = secrets.token_urlsafe(16)
            return str(await run_script(self._redis, _FIRST_WORD, [ADMIN_LINK, ADMINS], [word]))
        # an earlier link must not work if the settings change back
        await self._redis.delete(ADMIN_LINK)
        return ""

    async def become_admin(self, user_id: int, word: str) -> bool:
        """Make the user the admin if the word is that of the link. Idempotent for the same user."""
        if not self._needs_admin:
            return False
        keys, args = [ADMIN_LINK, ADMINS, ADMIN_LINK_USED], [word, str(user_id), COUNTED_LIFETIME_S]
        return bool(await run_script(self._redis, _BECOME_ADMIN, keys, args))

    async def invite(self, admin_id: int) -> str:
        """Return a word that lets one more user in within a week."""
        word = secrets.token_urlsafe(12)
        await self._redis.set(INVITATION.format(word), str(admin_id), ex=INVITATION_LIFETIME_S)
        return word

    async def accept_invitation(self, user_id: int, word: str) -> bool:
        """Let the user in if the word is that of an unused invitation, and close a waiting request."""
        keys = [INVITATION.format(word), ALLOWED, REQUEST.format(user_id), REQUESTS]
        return bool(await run_script(self._redis, _ACCEPT_INVITATION, keys, [user_id, word, DAY_S]))

    @asynccontextmanager
    async def once_in_a_while(self, what: str, every_s: int) -> AsyncIterator[bool]:
        """Yield whether `what`, often a message, may be done now, in the block, once in `every_s` seconds.

        After an exception in the block it may be done again at once, and soon if the process died.
        """
        key, first_s = ONCE_IN_A_WHILE.format(what), min(every_s, _INTERRUPTED_S)
        run = secrets.token_hex(8)
        is_due = bool(await self._redis.set(key, run, ex=first_s, nx=True))
        try:
            yield is_due
        except Exception:
            if is_due:
                await run_script(self._redis, _EXPIRE_OWN, [key], [run, 0])
            raise
        if is_due and every_s > first_s:
            await run_script(self._redis, _EXPIRE_OWN, [key], [run, every_s])

    async def may_say_again(self, what: str) -> None:
        """Allow the message `what` again at once, since what it said no longer holds."""
        await self._redis.delete(ONCE_IN_A_WHILE.format(what))

    async def migrate(self, old_chat_id: int, new_chat_id: int) -> None:
        """Move the access and settings of a group that became a supergroup. Idempotent."""
        keys = [ALLOWED, USER.format(old_chat_id), USER.format(new_chat_id)]
        await run_script(self._redis, _MIGRATE, keys, [str(old_chat_id), str(new_chat_id)])

    async def counted(self, once: str, counters: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the `counters` of the first call with this `once`, so that a repeated run tells the same."""
        key = COUNTED.format(once)
        await self._redis.set(key, json.dumps(counters), ex=COUNTED_LIFETIME_S, nx=True)
        stored = await self._redis.get(key)
        return tuple(json.loads(stored)) if stored else counters

    async def forget(self, user_id: int) -> None:
        """Delete the user's name, language and settings; what admins have set for the user stays."""
        names = ("name", "username", "language", "telegram_language", "usual", "file_format", "at_once")
        await self._redis.hdel(USER.format(user_id), *names, "instrument")

    @property
    def _needs_admin(self) -> bool:
        """Whether the first admin comes by a link and not by a setting."""
        return self._settings.access == "invite" and not self._settings.admins

    async def _set(self, user_id: int, **fields: str) -> None:
        await self._redis.hset(USER.format(user_id), mapping=cast(Any, fields))
