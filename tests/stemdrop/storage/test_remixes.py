"""Orders of remixes move on once, and what Telegram stores of them goes with the stems they come from."""

import asyncio
from dataclasses import replace

import pytest
from builders import CHAT, Clock, make_job, make_result
from redis.asyncio import Redis

from stemdrop.domain.jobs import CachedStem, Job, Mode
from stemdrop.domain.mixing_desk import Draft
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.recipes import OFF_DB, Recipe, Remix, RemixState
from stemdrop.services.remixing import Remixing
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import (
    DESK,
    DESKS_OF,
    JOB_LIFETIME_S,
    ORDERS_OF,
    REMIX,
    REMIX_LIFETIME_S,
    REMIXED,
    REMIXES_OPEN,
)
from stemdrop.storage.remixes import Remixes
from stemdrop.storage.stem_cache import CachedStems, StemCache
from stemdrop.tasks.engine import Engine

QUIET = Recipe(gains=(("vocals", -12),))
KEPT = CachedStems(make_result(), (CachedStem("vocals", "audio", "file-1"),))
SENT = Sent(7, "file-9", "unique-9", title="A song (80%)")


@pytest.fixture
def remixes(redis: Redis, clock: Clock) -> Remixes:
    return Remixes(redis, clock)


@pytest.fixture
async def ordered(remixes: Remixes) -> Remix:
    remix = Remix("remix-1", "job-1", CHAT, (QUIET, Recipe(speed=80)))
    assert await remixes.add(remix, 2)
    return remix


async def state(remixes: Remixes, remix: Remix) -> RemixState:
    found = await remixes.get(remix.id)
    assert found
    return found.state


async def test_an_order_is_stored_once(remixes: Remixes, ordered: Remix, clock: Clock) -> None:
    assert await remixes.add(replace(ordered, language="ru"), 2)
    assert await remixes.get(ordered.id) == replace(ordered, created_at=clock())
    assert await remixes.open_ids(clock()) == [ordered.id]


async def test_a_user_may_have_a_limited_number_of_open_orders(remixes: Remixes, ordered: Remix) -> None:
    second, third = replace(ordered, id="remix-2"), replace(ordered, id="remix-3")
    assert await remixes.add(second, 2)
    assert not await remixes.add(third, 2)
    assert await remixes.move(second, RemixState.SENT)
    assert await remixes.add(third, 2)


async def test_a_run_overrides_earlier_ones_and_is_counted(remixes: Remixes, ordered: Remix) -> None:
    first = await remixes.begin(ordered)
    second = await remixes.begin(ordered)
    assert first
    assert second
    assert (first.number, second.number) == (1, 2)
    assert not await remixes.is_rendered_by(ordered.id, first.token)
    assert await remixes.is_rendered_by(ordered.id, second.token)
    assert not await remixes.move(ordered, RemixState.SENDING, token=first.token)
    for _ in range(2):
        assert await remixes.move(ordered, RemixState.SENDING, token=second.token)
    for _ in range(2):
        await remixes.uncount(ordered.id, first.token)
        await remixes.uncount(ordered.id, second.token)
    third = await remixes.begin(ordered)
    assert third
    assert third.number == 2


async def test_an_order_that_is_being_sent_is_not_cancelled(
    remixes: Remixes, ordered: Remix, redis_url: str
) -> None:
    remixing = Remixing(remixes, Engine(redis_url))
    run = await remixes.begin(ordered)
    assert run
    assert await remixes.move(ordered, RemixState.SENDING, token=run.token)
    assert not await remixing.cancel(ordered)
    assert await remixes.open_ids(2e9) == [ordered.id]
    assert await remixes.begin(ordered)
    for _ in range(2):
        assert await remixing.cancel(ordered)
    assert await remixes.begin(ordered) is None
    assert await remixes.open_ids(2e9) == []
    assert not await remixes.move(ordered, RemixState.SENT)
    assert await state(remixes, ordered) is RemixState.CANCELLED


async def test_only_a_failed_order_is_opened_again(remixes: Remixes, ordered: Remix) -> None:
    await remixes.begin(ordered)
    assert not await remixes.reopen(ordered)
    assert await remixes.move(ordered, RemixState.FAILED)
    for _ in range(2):
        assert await remixes.reopen(ordered)
    assert await remixes.open_ids(2e9) == [ordered.id]
    run = await remixes.begin(ordered)
    assert run
    assert run.number == 1


async def test_what_arrived_is_recorded_and_deleted_orders_stay_deleted(
    remixes: Remixes, ordered: Remix, redis: Redis
) -> None:
    await remixes.tick(ordered.id, {"0": SENT})
    await remixes.note_message(ordered.id, -5, 8)
    assert await remixes.sent(ordered.id) == {"0": SENT}
    found = await remixes.get(ordered.id)
    assert found
    assert (found.chat_id, found.message_id) == (-5, 8)
    await remixes.move(ordered, RemixState.SENT)
    for _ in range(2):
        await remixes.forget_of(CHAT)
        await remixes.tick(ordered.id, {"1": SENT})
        await remixes.note_message(ordered.id, -5, 9)
        assert await remixes.begin(ordered) is None
        assert await redis.keys("stemdrop:*remix*") == []


async def test_orders_end_with_their_record(
    remixes: Remixes, ordered: Remix, redis: Redis, clock: Clock
) -> None:
    assert 0 < await redis.ttl(REMIX.format(ordered.id)) <= REMIX_LIFETIME_S
    await redis.delete(REMIX.format(ordered.id))
    assert not await remixes.move(ordered, RemixState.FAILED)
    await remixes.drop(ordered.id)
    assert await redis.exists(REMIXES_OPEN) == 0


@pytest.fixture
def stem_cache(redis: Redis) -> StemCache:
    return StemCache(redis)


async def test_a_remix_is_cached_with_the_stems_of_its_split(
    remixes: Remixes, stem_cache: StemCache, redis: Redis
) -> None:
    job = make_job()
    await remixes.cache(job, QUIET.digest, SENT)
    assert await remixes.cached(job, QUIET.digest) is None
    await stem_cache.put(job, KEPT)
    await remixes.cache(job, QUIET.digest, SENT)
    another = replace(make_job(), source=job.source, account=5)
    assert await remixes.cached(another, QUIET.digest) == SENT
    assert await remixes.cached(replace(job, file_format="flac"), QUIET.digest) is None
    assert await remixes.cached(job, Recipe().with_gain("vocals", OFF_DB).digest) is None
    assert await redis.ttl(REMIXED.format(job.source.split_id(Mode.SEPARATE_VOCAL, ""))) > 0
    await remixes.forget_cached(job, QUIET.digest)
    assert await remixes.cached(job, QUIET.digest) is None


@pytest.mark.parametrize("how", ["replaced", "forgotten", "deleted", "all deleted"])
async def test_a_split_that_is_replaced_or_forgotten_forgets_its_remixes(
    remixes: Remixes, stem_cache: StemCache, how: str
) -> None:
    job, other = make_job(), make_job(account=5)
    for each in (job, other):
        await stem_cache.put(each, KEPT)
        await remixes.cache(each, QUIET.digest, SENT)
    if how == "replaced":
        await stem_cache.put(job, KEPT)
    elif how == "forgotten":
        await stem_cache.forget(job.source, (Mode.SEPARATE_VOCAL, ""))
    elif how == "deleted":
        await stem_cache.forget_of(CHAT)
    else:
        assert await stem_cache.forget_all() == 2
    assert await remixes.cached(job, QUIET.digest) is None
    assert bool(await remixes.cached(other, QUIET.digest)) == (how != "all deleted")


async def test_a_deleted_job_has_no_desk(store: JobStore, redis: Redis) -> None:
    job: Job = make_job()
    await store.add(job, once=job.id)
    await redis.hset(DESK.format(job.id), "1", "{}")
    await store.forget(job.id)
    assert await redis.exists(DESK.format(job.id)) == 0


def test_an_order_of_a_zip_has_a_digest_of_its_own() -> None:
    one = Remix("a", "job", 1, (QUIET,), is_archive=True)
    assert one.digest == replace(one, id="b", user_id=2).digest
    assert len({one.digest, QUIET.digest, replace(one, recipes=(QUIET, Recipe())).digest}) == 3


async def test_every_key_of_an_order_expires(remixes: Remixes, ordered: Remix, redis: Redis) -> None:
    """One that is opened again is the only one of its user."""
    await remixes.move(ordered, RemixState.FAILED)
    await remixes.reopen(ordered)
    await remixes.first_order(ordered, "tap")
    keys = await redis.keys("stemdrop:*remix*")
    assert [key for key in keys if await redis.ttl(key) < 0] == []
    assert len(keys) == 5


async def test_two_taps_at_once_for_what_has_come_order_it_once(
    remixes: Remixes, redis: Redis, redis_url: str, clock: Clock
) -> None:
    await asyncio.gather(*(redis.ping() for _ in range(3)))
    async with Engine(redis_url) as engine:
        remixing = Remixing(remixes, engine, clock)
        job = make_job(id="job-1")
        first = await remixing.order_once(job, CHAT, [QUIET], by="tap 1", language="en")
        assert first
        await remixes.move(first, RemixState.SENT)
        for number, passed_s in enumerate((60, -3600)):
            clock.advance(passed_s)
            taps = (f"tap 2.{number}", f"tap 3.{number}")
            orders = [remixing.order_once(job, CHAT, [QUIET], by=tap, language="en") for tap in taps]
            again = await asyncio.gather(*orders)
            assert len({remix.id for remix in again if remix}) == 1
            assert first not in again
            first = again[0]
            assert first
            await remixes.move(first, RemixState.SENT)


async def test_what_a_user_has_ordered_is_known_for_a_limited_number(
    remixes: Remixes, ordered: Remix, redis: Redis
) -> None:
    for number in range(205):
        one = replace(ordered, job_id=f"job-{number}")
        assert await remixes.first_order(one, "tap") == await remixes.first_order(one, "other tap") == "tap"
    assert await redis.hlen(ORDERS_OF.format(CHAT)) <= 200


async def test_orders_of_another_version_do_not_keep_a_user_from_deleting(
    remixes: Remixes, ordered: Remix, redis: Redis
) -> None:
    assert await remixes.add(replace(ordered, id="remix-3"), 9)
    await redis.hset(REMIX.format(ordered.id), "recipes", '[{"gains": [], "reverb": 3}]')
    assert [remix.id for remix in await remixes.open_of(CHAT)] == ["remix-3"]
    assert await remixes.exists(ordered.id)


async def test_desks_of_long_ago_are_forgotten(
    remixes: Remixes, store: JobStore, redis: Redis, clock: Clock
) -> None:
    for job_id in ("job-1", "job-2"):
        await store.add(make_job(id=job_id), once=job_id)
        await remixes.change_draft(job_id, CHAT, lambda draft: draft)
        clock.advance(JOB_LIFETIME_S + 1)
    assert await redis.zrange(DESKS_OF.format(CHAT), 0, -1) == ["job-2"]
    await remixes.forget_of(CHAT)
    assert await redis.exists(DESK.format("job-2")) == 0


async def test_a_draft_of_another_version_is_replaced(
    remixes: Remixes, store: JobStore, redis: Redis
) -> None:
    await store.add(make_job(id="job-1"), once="job-1")
    newer = '{"recipe": {"gains": [], "reverb": 3}, "solos": [], "taps": []}'
    await redis.hset(DESK.format("job-1"), str(CHAT), newer)
    assert await remixes.draft("job-1", CHAT) == Draft()
    assert await remixes.change_draft("job-1", CHAT, lambda draft: draft.with_values(speed=80))
    assert (await remixes.draft("job-1", CHAT)).recipe.speed == 80
