"""What Telegram keeps: found by audio and mode, across users, until it is forgotten."""

from dataclasses import replace

import pytest
from builders import CHAT, Clock, make_job, make_result
from redis.asyncio import Redis

from stemdrop.domain.jobs import Job, KeptStem, Mode
from stemdrop.domain.results import Result, Stem
from stemdrop.storage.keys import KEPT as KEPT_KEY
from stemdrop.storage.keys import KEPT_ALL, KEPT_LIFETIME_S, KEPT_OF
from stemdrop.storage.stem_cache import Kept, Shelf

STEMS = (KeptStem("vocals", "audio", "file-1", "Blue {x} 鼓"), KeptStem("instrumental", "document", "file-2"))
KEPT = Kept(make_result(), STEMS)
VOCALS = (Mode.SEPARATE_VOCAL, "")


@pytest.fixture
def shelf(redis: Redis) -> Shelf:
    return Shelf(redis)


def of(job: Job, unique_id: str) -> Job:
    return replace(job, source=replace(job.source, file_unique_id=unique_id))


async def test_what_was_put_is_found_without_addresses(shelf: Shelf) -> None:
    job = make_job()
    assert await shelf.find(job.source, VOCALS) is None
    await shelf.put(job, KEPT)
    found = await shelf.find(replace(job.source, file_id="another's", title="Other"), VOCALS)
    assert found == Kept(Result(200, (Stem("vocals", ""), Stem("instrumental", ""))), STEMS)


async def test_another_audio_mode_or_instrument_is_another(shelf: Shelf) -> None:
    job = make_job(mode=Mode.SPLIT_STEM_ADVANCED, instrument="Bass")
    await shelf.put(job, KEPT)
    assert await shelf.find(job.source, (Mode.SPLIT_STEM_ADVANCED, "Bass"))
    for choice in (VOCALS, (Mode.SPLIT_STEM, ""), (Mode.SPLIT_STEM_ADVANCED, "Kick")):
        assert await shelf.find(job.source, choice) is None
    assert await shelf.find(of(job, "other").source, (Mode.SPLIT_STEM_ADVANCED, "Bass")) is None
    assert await shelf.free(job.source) == {(Mode.SPLIT_STEM_ADVANCED, "Bass")}


async def test_everything_that_is_free_is_named(shelf: Shelf) -> None:
    job = make_job()
    assert await shelf.free(job.source) == frozenset()
    choices = [VOCALS, (Mode.SPLIT_STEM, ""), (Mode.SPLIT_STEM_ADVANCED, "Kick")]
    for mode, instrument in choices:
        await shelf.put(replace(job, mode=mode, instrument=instrument), KEPT)
    assert await shelf.free(job.source) == set(choices)


async def test_the_newest_is_kept(shelf: Shelf) -> None:
    newer = Kept(make_result("vocals"), (KeptStem("vocals", "audio", "file-9"),))
    await shelf.put(make_job(), KEPT)
    await shelf.put(make_job(account=5), newer)
    found = await shelf.find(make_job().source, VOCALS)
    assert found
    assert found.stems == newer.stems
    assert await shelf.count() == 1


async def test_what_telegram_no_longer_keeps_is_forgotten(shelf: Shelf) -> None:
    job = make_job()
    await shelf.put(job, KEPT)
    for _ in range(2):
        await shelf.forget(job.source, VOCALS)
    assert await shelf.find(job.source, VOCALS) is None
    assert await shelf.count() == 0


async def test_what_another_has_brought_since_is_theirs(shelf: Shelf, redis: Redis) -> None:
    job = make_job()
    for account in (4, 5):
        await shelf.put(replace(job, account=account), KEPT)
    assert [await shelf.count_of(account) for account in (4, 5)] == [0, 1]
    assert await shelf.forget_of(4) == 0
    assert await shelf.find(job.source, VOCALS)
    await shelf.forget(job.source, VOCALS)
    assert await redis.keys("*kept*") == []
    # nor where theirs had expired by then
    await shelf.put(replace(job, account=4), KEPT)
    await redis.delete(KEPT_KEY.format(f"{job.source.file_unique_id}:separate_vocal:"))
    await shelf.put(replace(job, account=5), KEPT)
    assert await shelf.forget_of(4) == 0
    assert await shelf.count_of(5) == 1


async def test_one_accounts_songs_are_forgotten_and_no_others(shelf: Shelf) -> None:
    mine, theirs = of(make_job(), "mine"), of(make_job(account=5), "theirs")
    for job in (mine, replace(mine, mode=Mode.SPLIT_STEM), theirs):
        await shelf.put(job, KEPT)
    assert await shelf.count() == 3
    assert [await shelf.count_of(CHAT), await shelf.count_of(5), await shelf.count_of(6)] == [2, 1, 0]
    assert [await shelf.forget_of(CHAT), await shelf.forget_of(CHAT)] == [2, 0]
    assert await shelf.count_of(CHAT) == 0
    assert await shelf.free(mine.source) == frozenset()
    assert await shelf.free(theirs.source) == {VOCALS}
    assert await shelf.count() == 1


async def test_everything_is_forgotten(shelf: Shelf) -> None:
    for number in range(3):
        await shelf.put(of(make_job(account=number), str(number)), KEPT)
    assert [await shelf.forget_all(), await shelf.forget_all()] == [3, 0]
    assert await shelf.count() == 0


async def test_nothing_is_kept_for_ever(shelf: Shelf, redis: Redis) -> None:
    await shelf.put(make_job(), KEPT)
    keys = [key async for key in redis.scan_iter("*")]
    assert len(keys) == 3
    for key in keys:
        assert 0 < await redis.ttl(key) <= KEPT_LIFETIME_S


async def test_who_is_here_every_day_gets_rid_of_what_has_expired(redis: Redis, clock: Clock) -> None:
    shelf = Shelf(redis, clock)
    for number in range(3):
        await shelf.put(of(make_job(), f"old {number}"), KEPT)
    clock.advance(KEPT_LIFETIME_S - 1)
    assert await shelf.count() == 3
    clock.advance(2)
    assert await shelf.count() == 0
    await shelf.put(of(make_job(), "new"), KEPT)
    for index in (KEPT_ALL, KEPT_OF.format(CHAT)):
        assert await redis.zcard(index) == 1


async def test_a_job_without_a_mode_has_nothing_to_keep(shelf: Shelf) -> None:
    with pytest.raises(ValueError, match="no mode"):
        await shelf.put(make_job(mode=None), KEPT)
