"""`Remixes`: orders of remixes, the drafts of mixing desks, and the remixes that Telegram stores."""

import json
import secrets
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, cast

from stemdrop.domain.jobs import Job
from stemdrop.domain.mixing_desk import Draft
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.recipes import OPEN_REMIXES, Recipe, Remix, RemixState
from stemdrop.storage import remix_scripts
from stemdrop.storage.connection import RedisStore, run_script
from stemdrop.storage.keys import (
    ALL_REMIXES_OF,
    DESK,
    DESKS_OF,
    JOB,
    JOB_LIFETIME_S,
    KEPT,
    ORDERS_OF,
    REMIX,
    REMIX_LIFETIME_S,
    REMIXED,
    REMIXES_OF,
    REMIXES_OPEN,
)

_SENT = "sent:"
# How many orders of one user are remembered: more than can be made while two equal orders count as one.
_ORDERS_KNOWN = 200
# How many taps of a draft are remembered: only one of the last taps is ever handled again.
_TAPS_KNOWN = 20


@dataclass(frozen=True, slots=True)
class RenderRun:
    """A run of the task that renders a remix: the `number`-th that counts; `token` identifies it."""

    token: str
    number: int


class Remixes(RedisStore):
    async def add(self, remix: Remix, most_open: int) -> bool:
        """Store an order. Idempotent. False: its user already has `most_open` open orders."""
        fields = {
            "job_id": remix.job_id,
            "user_id": str(remix.user_id),
            "recipes": json.dumps([asdict(recipe) for recipe in remix.recipes]),
            "is_archive": json.dumps(remix.is_archive),
            "language": remix.language,
            "created_at": str(self._clock()),
            "state": remix.state.value,
        }
        args = [remix.id, self._clock(), REMIX_LIFETIME_S, most_open]
        args += [text for pair in fields.items() for text in pair]
        keys = [*self._keys(remix), ALL_REMIXES_OF.format(remix.user_id)]
        return bool(await run_script(self._redis, remix_scripts.ADD, keys, args))

    async def get(self, remix_id: str) -> Remix | None:
        stored = cast(dict[str, str], await self._redis.hgetall(REMIX.format(remix_id)))
        if "recipes" not in stored:
            return None
        return Remix(
            id=remix_id,
            job_id=stored["job_id"],
            user_id=int(stored["user_id"]),
            recipes=tuple(Recipe.from_json(recipe) for recipe in json.loads(stored["recipes"])),
            is_archive=bool(json.loads(stored["is_archive"])),
            language=stored["language"],
            created_at=float(stored["created_at"]),
            state=RemixState(stored["state"]),
            message_id=int(stored.get("message_id", 0)),
            chat_id=int(stored.get("chat_id", 0)),
        )

    async def move(
        self, remix: Remix, to: RemixState, states: Collection[RemixState] = OPEN_REMIXES, token: str = ""
    ) -> bool:
        """Move an order that is in one of these states to the state `to`. Idempotent.

        False: it is in another state, was deleted, or `token` is not that of its last run.
        """
        args = [remix.id, _listed(states), to.value, "1" if to in OPEN_REMIXES else "", token]
        return bool(await run_script(self._redis, remix_scripts.MOVE, self._keys(remix), args))

    async def begin(self, remix: Remix) -> RenderRun | None:
        """Begin a run, which overrides earlier ones. `None`: the order has ended, or was deleted."""
        token = secrets.token_hex(8)
        args = [_listed(OPEN_REMIXES), RemixState.RENDERING.value, token]
        number = int(await run_script(self._redis, remix_scripts.BEGIN, [REMIX.format(remix.id)], args))
        return RenderRun(token, number) if number else None

    async def is_rendered_by(self, remix_id: str, token: str) -> bool:
        """Whether the order is still to be rendered, and by this run."""
        state, run = await self._redis.hmget(REMIX.format(remix_id), ["state", "run"])
        return state == RemixState.RENDERING and run == token

    async def uncount(self, remix_id: str, token: str) -> None:
        """Take back the count of a run that was ended from outside. Idempotent."""
        await run_script(self._redis, remix_scripts.UNCOUNT, [REMIX.format(remix_id)], [token])

    async def reopen(self, remix: Remix) -> bool:
        """Let a failed order be rendered again. Idempotent. False: it has not failed."""
        states = [RemixState.WAITING.value, RemixState.FAILED.value]
        args = [remix.id, self._clock(), REMIX_LIFETIME_S, *states]
        return bool(await run_script(self._redis, remix_scripts.REOPEN, self._keys(remix), args))

    async def open_ids(self, before: float) -> list[str]:
        """Return the ids of orders that were made `before` (Unix seconds) and have not ended."""
        return cast(list[str], await self._redis.zrangebyscore(REMIXES_OPEN, "-inf", before))

    async def exists(self, remix_id: str) -> bool:
        """Whether the order is stored, even if only another version can read it."""
        return bool(await self._redis.exists(REMIX.format(remix_id)))

    async def open_of(self, user_id: int) -> list[Remix]:
        """Return a user's open orders, without those that this version cannot read."""
        ids = cast(list[str], await self._redis.zrange(REMIXES_OF.format(user_id), 0, -1))
        found = []
        for remix_id in ids:
            with suppress(ValueError):  # of another version
                found.append(await self.get(remix_id))
        return [remix for remix in found if remix]

    async def drop(self, remix_id: str) -> None:
        """Remove an expired order from the list of open ones."""
        await self._redis.zrem(REMIXES_OPEN, remix_id)

    async def forget_of(self, user_id: int) -> None:
        """Delete a user's orders and drafts; a remix that is being rendered is then not sent."""
        known = ALL_REMIXES_OF.format(user_id)
        ids = cast(list[str], await self._redis.zrange(known, 0, -1))
        if ids:
            await self._redis.zrem(REMIXES_OPEN, *ids)
        keys = [REMIX.format(remix_id) for remix_id in ids]
        for job_id in await self._redis.zrange(DESKS_OF.format(user_id), 0, -1):
            # the jobs of channels and groups stay, and so do their desks
            await cast(Any, self._redis.hdel(DESK.format(job_id), str(user_id)))
        keys += [key.format(user_id) for key in (REMIXES_OF, ALL_REMIXES_OF, ORDERS_OF, DESKS_OF)]
        await self._redis.delete(*keys)

    async def note_message(self, remix_id: str, chat_id: int, message_id: int) -> None:
        """Note the message that shows the progress."""
        fields = ["message_id", str(message_id), "chat_id", str(chat_id)]
        await run_script(self._redis, remix_scripts.WRITE, [REMIX.format(remix_id)], fields)

    async def tick(self, remix_id: str, sent: Mapping[str, Sent]) -> None:
        """Record that these files (name → message) are in the chat."""
        args = [text for name, it in sent.items() for text in (f"{_SENT}{name}", json.dumps(asdict(it)))]
        await run_script(self._redis, remix_scripts.WRITE, [REMIX.format(remix_id)], args)

    async def sent(self, remix_id: str) -> dict[str, Sent]:
        """Return the files that are in the chat, by name."""
        stored = cast(dict[str, str], await self._redis.hgetall(REMIX.format(remix_id)))
        found = {name: text for name, text in stored.items() if name.startswith(_SENT)}
        return {name.removeprefix(_SENT): Sent(**json.loads(text)) for name, text in found.items()}

    async def change_draft(
        self, job_id: str, user_id: int, change: Callable[[Draft], Draft], by: str = ""
    ) -> Draft:
        """Change the draft of a user on the mixing desk of a job, and return it.

        `by` names the tap: a tap that is handled again changes nothing. `change` may be called again if two
        taps are handled at once: it must set values, and not add to them.
        """
        keys = [DESK.format(job_id), JOB.format(job_id), DESKS_OF.format(user_id)]
        while True:
            stored = await self._stored_draft(job_id, user_id)
            taps = json.loads(stored)["taps"] if stored else []
            if by in taps:
                return _draft(stored)
            draft = change(_draft(stored))
            new = draft.to_json() | {"taps": [*taps, *([by] if by else [])][-_TAPS_KNOWN:]}
            args = [str(user_id), stored, json.dumps(new), JOB_LIFETIME_S, job_id, self._clock()]
            if await run_script(self._redis, remix_scripts.SET_DRAFT, keys, args):
                return draft

    async def draft(self, job_id: str, user_id: int) -> Draft:
        return _draft(await self._stored_draft(job_id, user_id))

    async def _stored_draft(self, job_id: str, user_id: int) -> str:
        return cast(str | None, await self._redis.hget(DESK.format(job_id), str(user_id))) or ""

    async def first_order(self, remix: Remix, by: str, instead_of: str = "") -> str:
        """Return the name of the user's equal order, other than `instead_of`; else store and return `by`."""
        args = [_what(remix), by, instead_of, REMIX_LIFETIME_S, _ORDERS_KNOWN]
        return str(
            await run_script(self._redis, remix_scripts.FIRST_ORDER, [ORDERS_OF.format(remix.user_id)], args)
        )

    async def cached(self, job: Job, digest: str) -> Sent | None:
        """Return the file that Telegram stores for the job's split and the digest of a recipe or ZIP."""
        stored = await self._redis.hget(REMIXED.format(_split_id(job)), digest)
        return Sent(**json.loads(stored)) if stored else None

    async def cache(self, job: Job, digest: str, sent: Sent) -> None:
        """Remember the file for all users, as long as the stems of the split are in the cache."""
        keys = [key.format(_split_id(job)) for key in (REMIXED, KEPT)]
        await run_script(self._redis, remix_scripts.CACHE, keys, [digest, json.dumps(asdict(sent))])

    async def forget_cached(self, job: Job, digest: str) -> None:
        """Delete an entry whose file Telegram no longer has."""
        await self._redis.hdel(REMIXED.format(_split_id(job)), digest)

    @staticmethod
    def _keys(remix: Remix) -> list[str]:
        return [REMIX.format(remix.id), REMIXES_OF.format(remix.user_id), REMIXES_OPEN]


def _listed(states: Collection[RemixState]) -> str:
    return f",{','.join(states)},"


def _split_id(job: Job) -> str:
    if job.mode is None:
        raise ValueError(f"job {job.id} has no mode")
    return job.source.split_id(job.mode, job.instrument, job.file_format)


def _draft(stored: str) -> Draft:
    if stored:
        with suppress(ValueError):  # of another version
            return Draft.from_json(json.loads(stored))
    return Draft()


def _what(remix: Remix) -> str:
    return f"{remix.job_id}:{remix.is_archive}:{remix.digest}"
