"""Cached stems are found by audio and mode, across users, until they are deleted."""

import json
from dataclasses import replace
from typing import Any

import pytest
from builders import CHAT, Clock, make_job, make_result
from redis.asyncio import Redis

from stemdrop.domain.jobs import CachedStem, Job, Mode
from stemdrop.domain.results import Result, Stem
from stemdrop.domain.song_facts import SongFacts
from stemdrop.storage.connection import StoreRedis, connect
from stemdrop.storage.keys import KEPT as KEPT_KEY
from stemdrop.storage.keys import KEPT_ALL, KEPT_LIFETIME_S, KEPT_OF
from stemdrop.storage.stem_cache import CachedStems, StemCache

STEMS = (
    CachedStem("vocals", "audio", "file-1", "Blue {x} 鼓"),
    CachedStem("instrumental", "document", "file-2"),
)
KEPT = CachedStems(make_result(), STEMS)
VOCALS = (Mode.SEPARATE_VOCAL, "")


@pytest.fixture
def stem_cache(redis: Redis) -> StemCache:
    return StemCache(redis)


def of(job: Job, unique_id: str) -> Job:
    return replace(job, source=replace(job.source, file_unique_id=unique_id))


async def test_stems_are_found_without_their_urls(stem_cache: StemCache) -> None:
    job = make_job()
    assert await stem_cache.find(job.source, VOCALS) is None
    await stem_cache.put(job, KEPT)
    found = await stem_cache.find(replace(job.source, file_id="another's", title="Other"), VOCALS)
    assert found == CachedStems(Result(200, (Stem("vocals", ""), Stem("instrumental", ""))), STEMS)


async def test_what_was_measured_is_kept_and_may_be_lacking(stem_cache: StemCache, redis: Redis) -> None:
    """Entries of earlier versions have neither facts nor peaks."""
    job = make_job()
    measured = replace(KEPT, facts=SongFacts(104, 0.01, "B♭ minor", -11.4), peaks={"vocals": "c-x"})
    await stem_cache.put(job, measured)
    found = await stem_cache.find(job.source, VOCALS)
    assert found
    assert (found.facts, found.peaks) == (measured.facts, measured.peaks)
    key = KEPT_KEY.format(job.source.split_id(*VOCALS))
    stored = json.loads(await redis.get(key) or "")
    await redis.set(key, json.dumps({name: stored[name] for name in ("result", "stems", "account")}))
    bare = replace(found, facts=None, peaks={}, is_measured=False)
    assert await stem_cache.find(job.source, VOCALS) == bare


async def test_measures_are_added_to_what_is_cached_and_to_nothing_else(
    stem_cache: StemCache, redis: Redis
) -> None:
    job, facts = make_job(mode=Mode.SEPARATE_VOCAL), SongFacts(104, 0.01, "B♭ minor")
    await stem_cache.put_measures(job, facts, {"vocals": "c-x"})
    assert await stem_cache.find(job.source, VOCALS) is None
    await stem_cache.put(job, KEPT)
    before = await stem_cache.find(job.source, VOCALS)
    assert before
    assert not before.is_measured
    await redis.expire(KEPT_KEY.format(job.source.split_id(*VOCALS)), 1000)
    for _ in range(2):
        await stem_cache.put_measures(job, facts, {"vocals": "c-x"})
        found = await stem_cache.find(job.source, VOCALS)
        assert found == replace(before, facts=facts, peaks={"vocals": "c-x"}, is_measured=True)
    assert 0 < await redis.ttl(KEPT_KEY.format(job.source.split_id(*VOCALS))) <= 1000


async def test_measures_of_stems_that_were_just_replaced_are_dropped(redis_url: str) -> None:
    job, newer = make_job(mode=Mode.SEPARATE_VOCAL), CachedStems(make_result("vocals"), STEMS[:1])

    class Replaced(StoreRedis):
        async def get(self, name: Any) -> Any:
            found = await super().get(name)
            await StemCache(self).put(job, newer)
            return found

    async with connect(redis_url) as redis:
        await StemCache(redis).put(job, KEPT)
        await StemCache(Replaced(redis.connection_pool)).put_measures(job, None, {"vocals": "c-x"})
        found = await StemCache(redis).find(job.source, VOCALS)
        assert found
        assert (found.stems, found.is_measured) == (newer.stems, False)


async def test_audio_mode_and_instrument_tell_entries_apart(stem_cache: StemCache) -> None:
    job = make_job(mode=Mode.SPLIT_STEM_ADVANCED, instrument="Bass")
    await stem_cache.put(job, KEPT)
    assert await stem_cache.find(job.source, (Mode.SPLIT_STEM_ADVANCED, "Bass"))
    for choice in (VOCALS, (Mode.SPLIT_STEM, ""), (Mode.SPLIT_STEM_ADVANCED, "Kick")):
        assert await stem_cache.find(job.source, choice) is None
    assert await stem_cache.find(of(job, "other").source, (Mode.SPLIT_STEM_ADVANCED, "Bass")) is None
    assert await stem_cache.free(job.source) == {(Mode.SPLIT_STEM_ADVANCED, "Bass")}


async def test_formats_tell_entries_apart(stem_cache: StemCache) -> None:
    """MP3 is what a provider without a choice sends, too."""
    job = make_job()
    await stem_cache.put(replace(job, file_format="flac"), KEPT)
    kept = [bool(await stem_cache.find(job.source, VOCALS, name)) for name in ("flac", "", "mp3", "wav")]
    assert kept == [True, False, False, False]
    assert await stem_cache.free(job.source, "flac") == {VOCALS}
    assert await stem_cache.free(job.source, "mp3") == frozenset()
    await stem_cache.put(job, KEPT)
    await stem_cache.forget(job.source, VOCALS, "flac")
    kept = [bool(await stem_cache.find(job.source, VOCALS, name)) for name in ("flac", "", "mp3", "wav")]
    assert kept == [False, True, True, False]


async def test_all_cached_choices_are_free(stem_cache: StemCache) -> None:
    job = make_job()
    assert await stem_cache.free(job.source) == frozenset()
    choices = [VOCALS, (Mode.SPLIT_STEM, ""), (Mode.SPLIT_STEM_ADVANCED, "Kick")]
    for mode, instrument in choices:
        await stem_cache.put(replace(job, mode=mode, instrument=instrument), KEPT)
    assert await stem_cache.free(job.source) == set(choices)


async def test_a_newer_entry_replaces_the_older(stem_cache: StemCache) -> None:
    newer = CachedStems(make_result("vocals"), (CachedStem("vocals", "audio", "file-9"),))
    job = make_job()
    await stem_cache.put(job, KEPT)
    await stem_cache.put(replace(job, account=5), newer)
    found = await stem_cache.find(job.source, VOCALS)
    assert found
    assert found.stems == newer.stems
    assert await stem_cache.count() == 1


async def test_an_entry_can_be_deleted(stem_cache: StemCache) -> None:
    job = make_job()
    await stem_cache.put(job, KEPT)
    for _ in range(2):
        await stem_cache.forget(job.source, VOCALS)
    assert await stem_cache.find(job.source, VOCALS) is None
    assert await stem_cache.count() == 0


async def test_a_replaced_entry_belongs_to_the_new_account(stem_cache: StemCache, redis: Redis) -> None:
    job = make_job()
    for account in (4, 5):
        await stem_cache.put(replace(job, account=account), KEPT)
    assert [await stem_cache.count_of(account) for account in (4, 5)] == [0, 1]
    assert await stem_cache.forget_of(4) == 0
    assert await stem_cache.find(job.source, VOCALS)
    await stem_cache.forget(job.source, VOCALS)
    assert await redis.keys("*kept*") == []
    # also when the other entry had expired by then
    await stem_cache.put(replace(job, account=4), KEPT)
    await redis.delete(KEPT_KEY.format(f"{job.source.file_unique_id}:separate_vocal:"))
    await stem_cache.put(replace(job, account=5), KEPT)
    assert await stem_cache.forget_of(4) == 0
    assert await stem_cache.count_of(5) == 1


async def test_the_entries_of_one_account_can_be_deleted(stem_cache: StemCache) -> None:
    mine, theirs = of(make_job(), "mine"), of(make_job(account=5), "theirs")
    for job in (mine, replace(mine, mode=Mode.SPLIT_STEM), theirs):
        await stem_cache.put(job, KEPT)
    assert await stem_cache.count() == 3
    assert [await stem_cache.count_of(CHAT), await stem_cache.count_of(5), await stem_cache.count_of(6)] == [
        2,
        1,
        0,
    ]
    assert [await stem_cache.forget_of(CHAT), await stem_cache.forget_of(CHAT)] == [2, 0]
    assert await stem_cache.count_of(CHAT) == 0
    assert await stem_cache.free(mine.source) == frozenset()
    assert await stem_cache.free(theirs.source) == {VOCALS}
    assert await stem_cache.count() == 1


async def test_all_entries_can_be_deleted(stem_cache: StemCache) -> None:
    for number in range(3):
        await stem_cache.put(of(make_job(account=number), str(number)), KEPT)
    assert [await stem_cache.forget_all(), await stem_cache.forget_all()] == [3, 0]
    assert await stem_cache.count() == 0


async def test_every_key_expires(stem_cache: StemCache, redis: Redis) -> None:
    await stem_cache.put(make_job(), KEPT)
    keys = [key async for key in redis.scan_iter("*")]
    assert len(keys) == 3
    for key in keys:
        assert 0 < await redis.ttl(key) <= KEPT_LIFETIME_S


async def test_expired_entries_of_an_active_account_are_removed(redis: Redis, clock: Clock) -> None:
    stem_cache = StemCache(redis, clock)
    for number in range(3):
        await stem_cache.put(of(make_job(), f"old {number}"), KEPT)
    clock.advance(KEPT_LIFETIME_S - 1)
    assert await stem_cache.count() == 3
    clock.advance(2)
    assert await stem_cache.count() == 0
    await stem_cache.put(of(make_job(), "new"), KEPT)
    for index in (KEPT_ALL, KEPT_OF.format(CHAT)):
        assert await redis.zcard(index) == 1


async def test_a_job_without_a_mode_is_not_cached(stem_cache: StemCache) -> None:
    with pytest.raises(ValueError, match="no mode"):
        await stem_cache.put(make_job(mode=None), KEPT)
