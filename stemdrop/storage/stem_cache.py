"""`StemCache`: the stems of each audio and mode that Telegram stores, so that a repeated song costs nothing.

The cache holds Telegram's file ids and no audio. `file_unique_id` identifies the content across users and
chats (Bot API, 'File').
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import cast

from stemdrop.domain.jobs import INSTRUMENTS, CachedStem, Choice, Job, Mode, Source
from stemdrop.domain.results import Result
from stemdrop.domain.song_facts import SongFacts
from stemdrop.storage.connection import RedisStore, run_script
from stemdrop.storage.keys import JOB, KEPT, KEPT_ALL, KEPT_LIFETIME_S, KEPT_OF, REMIXED, SPLIT

_REPLACE = """
-- KEYS: an entry   ARGV: what it was, what it is to be
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') end
"""


@dataclass(frozen=True, slots=True)
class CachedStems:
    """One song's stems in one mode; stems of `result` that are missing in `stems` were silent.

    `peaks`: stem key → its encoded peaks (`worker/audio/sound.py`); absent where they were not measured.
    `is_measured`: whole stems were measured, so that measuring again is useless.
    """

    result: Result
    stems: tuple[CachedStem, ...]
    facts: SongFacts | None = None
    peaks: Mapping[str, str] = field(default_factory=dict)
    is_measured: bool = False


class StemCache(RedisStore):
    async def find(self, source: Source, choice: Choice, file_format: str = "") -> CachedStems | None:
        """Return the cached stems of this audio, choice and format; `None` if there are none."""
        stored = await self._redis.get(_key(source, choice, file_format))
        if stored is None:
            return None
        value = json.loads(stored)
        stems = tuple(CachedStem(**stem) for stem in value["stems"])
        facts = SongFacts(**value["facts"]) if value.get("facts") else None
        peaks = value.get("peaks", {})
        is_measured = value.get("is_measured", bool(peaks))
        return CachedStems(Result.from_json(value["result"]), stems, facts, peaks, is_measured)

    async def free(self, source: Source, file_format: str = "") -> frozenset[Choice]:
        """Return the choices that cost nothing: cached, or paid for with links that still work."""
        choices: list[Choice] = [(Mode.SEPARATE_VOCAL, ""), (Mode.SPLIT_STEM, "")]
        choices += [(Mode.SPLIT_STEM_ADVANCED, name) for name in INSTRUMENTS]
        splits = [source.split_id(*choice, file_format) for choice in choices]
        # few choices are cached, so that reading whole entries is faster than asking for each
        stored = await self._redis.mget([*map(KEPT.format, splits), *map(SPLIT.format, splits)])
        found = dict(zip(choices, zip(stored, stored[len(choices) :], strict=False), strict=True))
        paying = {choice: payer for choice, (cached, payer) in found.items() if payer and not cached}
        async with self._redis.pipeline(transaction=False) as pipeline:
            for payer in paying.values():
                pipeline.hget(JOB.format(payer), "has_stems")
            paid = dict(zip(paying, await pipeline.execute() if paying else (), strict=True))
        return frozenset(choice for choice in choices if found[choice][0] or paid.get(choice) == "1")

    async def put(self, job: Job, cached: CachedStems) -> None:
        """Cache the stems of `job`; replaces earlier ones of the same audio, choice and format.

        Remixes of the replaced stems are deleted, too.
        """
        if job.mode is None:
            raise ValueError(f"job {job.id} has no mode")
        key = _key(job.source, (job.mode, job.instrument), job.file_format)
        bare = Result(cached.result.code, tuple(replace(stem, url="") for stem in cached.result.stems))
        stems = [asdict(stem) for stem in cached.stems]
        value = {"result": asdict(bare), "stems": stems, "account": job.account}
        value |= _measures(cached.facts, cached.peaks, is_measured=cached.is_measured)
        now = self._clock()
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(key, json.dumps(value, ensure_ascii=False), ex=KEPT_LIFETIME_S)
            pipeline.delete(_remixed(key))
            for index in (KEPT_ALL, KEPT_OF.format(job.account)):
                pipeline.zadd(index, {key: now})
                # each new entry renews the expiry of the index
                pipeline.zremrangebyscore(index, "-inf", now - KEPT_LIFETIME_S)
                pipeline.expire(index, KEPT_LIFETIME_S)
            await pipeline.execute()

    async def put_measures(self, job: Job, facts: SongFacts | None, peaks: Mapping[str, str]) -> None:
        """Store the measures of the job's whole stems, if these are cached. Idempotent."""
        if job.mode is None:
            raise ValueError(f"job {job.id} has no mode")
        key = _key(job.source, (job.mode, job.instrument), job.file_format)
        stored = await self._redis.get(key)
        if stored is None:
            return
        value = json.loads(stored) | _measures(facts, peaks, is_measured=True)
        # unless other stems have just replaced these
        await run_script(self._redis, _REPLACE, [key], [stored, json.dumps(value, ensure_ascii=False)])

    async def count(self) -> int:
        return int(await self._redis.zcount(KEPT_ALL, self._clock() - KEPT_LIFETIME_S, "+inf"))

    async def count_of(self, account: int) -> int:
        return len(await self._of(account))

    async def forget(self, source: Source, choice: Choice, file_format: str = "") -> None:
        """Delete an entry whose files Telegram no longer has."""
        key = _key(source, choice, file_format)
        stored = await self._redis.get(key)
        if stored is None:
            return
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(key, _remixed(key))
            for index in (KEPT_ALL, KEPT_OF.format(json.loads(stored).get("account"))):
                pipeline.zrem(index, key)
            await pipeline.execute()

    async def forget_of(self, account: int) -> int:
        """Delete the entries from one account's jobs; return how many were deleted."""
        return await self._forget(await self._of(account), KEPT_OF.format(account))

    async def forget_all(self) -> int:
        keys = cast(list[str], await self._redis.zrange(KEPT_ALL, 0, -1))
        return await self._forget(keys, KEPT_ALL)

    async def _of(self, account: int) -> list[str]:
        """Return the keys of the entries from one account's jobs that no other account has replaced."""
        keys = cast(list[str], await self._redis.zrange(KEPT_OF.format(account), 0, -1))
        values = cast(list[str | None], await self._redis.mget(keys)) if keys else []
        stored = [(key, json.loads(value)) for key, value in zip(keys, values, strict=True) if value]
        return [key for key, value in stored if value.get("account", account) == account]

    async def _forget(self, keys: list[str], index: str) -> int:
        forgotten = int(await self._redis.unlink(*keys)) if keys else 0
        if keys:
            await self._redis.unlink(*map(_remixed, keys))
            await self._redis.zrem(KEPT_ALL, *keys)
        await self._redis.delete(index)
        return forgotten


def _measures(facts: SongFacts | None, peaks: Mapping[str, str], *, is_measured: bool) -> dict[str, object]:
    measures = {"facts": facts and asdict(facts), "peaks": dict(peaks)}
    return {**measures, "is_measured": is_measured or bool(peaks)}


def _key(source: Source, choice: Choice, file_format: str) -> str:
    return KEPT.format(source.split_id(*choice, file_format))


def _remixed(key: str) -> str:
    """Return the key of the remixes of these stems."""
    return REMIXED.format(key.removeprefix(KEPT.format("")))
