"""`GET /metrics`: every event is counted once and reported in Prometheus' format."""

import asyncio
import json
import logging
import re
import time
from dataclasses import replace
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from product import NOBODY, Clock, Product, new_job, open_product, result_of
from prometheus_client.parser import text_string_to_metric_families
from provider import KEY, Provider
from telegram.error import Forbidden

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import Failure, Job, JobState, Mode
from stemdrop.errors import Refused, StoreUnavailable, TryLater, Unreachable
from stemdrop.observability.metric_definitions import (
    API_CALLS,
    DELIVERY_BYTES,
    FLOOD_SECONDS,
    METRICS,
    Kind,
)
from stemdrop.provider.registry import provider_labels
from stemdrop.provider.sunoapi.client import SeparationClient
from stemdrop.storage.counters import Counters
from stemdrop.storage.heartbeats import Heartbeat, Heartbeats
from stemdrop.storage.keys import COUNTS
from stemdrop.tasks.engine import Queue, Task
from webhook.metrics import MetricsCache, render_metrics

Samples = dict[str, float]


async def scraped(product: Product) -> Samples:
    """Return every sample that is not 0, without the prefix of the names."""
    await product.counters.write()
    snapshot, providers = await product.snapshots.take(), provider_labels(product.settings)
    return samples(render_metrics(snapshot, providers, expects_callbacks=True).decode())


def samples(text: str) -> Samples:
    found = {}
    names = {metric.full_name.removesuffix("_total"): [it.name for it in metric.labels] for metric in METRICS}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            ordered = [*names[family.name], *(["le"] if "le" in sample.labels else [])]
            labels = ",".join(sample.labels[name] for name in ordered if name in sample.labels)
            if sample.value:
                found[f"{sample.name.removeprefix('stemdrop_')}{{{labels}}}"] = sample.value
    return found


def only(found: Samples, *names: str) -> Samples:
    return {key: value for key, value in found.items() if key.partition("{")[0] in names}


async def test_every_metric_is_reported_from_the_start(product: Product, client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert set(families) == {metric.full_name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        family = families[metric.full_name.removesuffix("_total")]
        assert family.type == metric.kind
        assert family.documentation == metric.meaning
        # 0 credits would not be the same as unknown credits
        assert family.samples or metric.kind is Kind.HISTOGRAM or metric.name.startswith("credits")
    assert samples(answer.text).keys() - {"redis_memory_bytes{}"} == {
        "callbacks_expected{}",
        f"info{{{version('stemdrop')}}}",
    }


async def test_open_jobs_are_counted_by_state_and_mode(product: Product, sent: Message) -> None:
    store = product.store
    for _ in range(2):
        await product.at(JobState.SEPARATING, sent, task_id=Job.new_id())
    await product.at(JobState.SUBMITTING, sent, mode=Mode.SEPARATE_VOCAL)
    await product.at(JobState.CHOOSING, sent)
    shown = await product.at(JobState.SUBMITTING, sent)
    await store.cancel(shown.id)
    await store.close(shown.id)
    found = only(await scraped(product), "jobs")
    assert found == {"jobs{separating,split_stem}": 2, "jobs{submitting,separate_vocal}": 1}


async def test_the_age_of_the_oldest_job_in_each_state_is_reported(product: Product, sent: Message) -> None:
    first = await product.at(JobState.SEPARATING, sent, task_id="a")
    product.clock.advance(-500)
    second = await product.at(JobState.SEPARATING, sent, task_id="b")
    assert second.moved_at < first.moved_at
    found = only(await scraped(product), "job_oldest_seconds")
    assert found == {"job_oldest_seconds{separating,split_stem}": pytest.approx(500, abs=60)}


async def test_more_jobs_than_one_script_reads_are_added_up(product: Product) -> None:
    async with product.redis.pipeline(transaction=False) as pipeline:
        for number in range(1100):
            mode = "split_stem" if number % 2 else "separate_vocal"
            fields: dict[Any, Any] = {
                "state": "separating",
                "mode": json.dumps(mode),
                "moved_at": str(time.time() - number),
            }
            pipeline.hset(f"stemdrop:job:{number:016x}", mapping=fields)
            pipeline.zadd("stemdrop:jobs:open", {f"{number:016x}": number})
        pipeline.zadd("stemdrop:jobs:open", {"expired": 5})
        await pipeline.execute()
    found = await scraped(product)
    assert found["jobs{separating,split_stem}"] == found["jobs{separating,separate_vocal}"] == 550
    assert found["job_oldest_seconds{separating,split_stem}"] == pytest.approx(1099, abs=60)


async def test_the_time_in_each_state_is_reported(product: Product, sent: Message) -> None:
    job = await product.at(JobState.CHOOSING, sent, mode=None)
    product.clock.advance(7)
    await product.store.pick(job, Mode.SPLIT_STEM, "", 0)
    product.clock.advance(0.3)
    await product.store.begin_create(job.id)
    await product.store.accept(job.id, "task-1")
    product.clock.advance(45)
    await product.store.move(job.id, [JobState.SEPARATING], JobState.DELIVERING)
    product.clock.advance(4000)
    await product.store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED)
    found = await scraped(product)
    counters = only(found, "job_state_seconds_count")
    assert counters == {
        f"job_state_seconds_count{{{state},split_stem}}": 1
        for state in ("choosing", "submitting", "separating", "delivering")
    }
    for state, seconds, first in (
        ("choosing", 7, "10.0"),
        ("submitting", 0.3, "0.5"),
        ("separating", 45, "60.0"),
        ("delivering", 4000, "+Inf"),
    ):
        total = found[f"job_state_seconds_sum{{{state},split_stem}}"]
        assert total == pytest.approx(seconds, abs=0.1)
        within = [
            key
            for key in only(found, "job_state_seconds_bucket")
            if key.startswith(f"job_state_seconds_bucket{{{state},")
        ]
        assert float(within[0].rpartition(",")[2].rstrip("}")) == float(first)


async def test_a_job_created_in_a_state_has_not_left_another_one(product: Product, sent: Message) -> None:
    job = replace(new_job(sent), state=JobState.SUBMITTING, mode=Mode.SPLIT_STEM)
    await product.store.add(job, once=job.id)
    assert await product.store.move(job.id, [JobState.SUBMITTING], JobState.SUBMITTING)
    assert only(await scraped(product), "job_state_seconds_count") == {}


async def test_each_end_of_a_job_is_counted_once(product: Product, sent: Message) -> None:
    store = product.store
    delivering = [await product.at(JobState.DELIVERING, sent, task_id=f"t{number}") for number in range(4)]
    ends = [JobState.DELIVERING], JobState.DELIVERED
    assert await store.move(delivering[0].id, *ends)
    assert not await store.move(delivering[0].id, *ends)
    await store.move(delivering[1].id, *ends, missing=("vocals",))
    await store.fail(delivering[2].id, [JobState.DELIVERING], Failure("500", charged=True))
    await store.fail(delivering[3].id, [JobState.DELIVERING], Failure("1234"))
    await store.cancel((await product.at(JobState.CHOOSING, sent, mode=None)).id)
    deleted = await product.at(JobState.SUBMITTING, sent)
    await store.forget(deleted.id)
    found = only(await scraped(product), "jobs_ended_total", "jobs_failed_total")
    assert found == {
        "jobs_ended_total{delivered,split_stem}": 1,
        "jobs_ended_total{incomplete,split_stem}": 1,
        "jobs_ended_total{failed,split_stem}": 2,
        "jobs_ended_total{cancelled,none}": 1,
        "jobs_failed_total{500}": 1,
        "jobs_failed_total{other}": 1,
    }


async def test_callbacks_are_counted_by_outcome(
    product: Product, client: httpx.AsyncClient, sent: Message
) -> None:
    job = await product.at(JobState.SEPARATING, sent)

    def path(job: Job) -> str:
        return urlsplit(product.links.callback_url(job.id, job.chat_id)).path

    good = {
        "code": 200,
        "data": {"task_id": "task-1", "vocal_removal_info": {"vocal_url": "https://x/v.mp3"}},
    }
    foreign = {"code": 200, "data": {"task_id": "task-2"}}
    await product.redis.config_set("maxmemory", "1")
    try:
        assert (await client.post(path(job), json=good)).status_code == 503
    finally:
        await product.redis.config_set("maxmemory", "0")
    for status, where, body in (
        (422, path(job), {"code": "x"}),
        (403, path(job), foreign),
        (403, path(job)[:-1], good),
        (403, path(replace(job, id=Job.new_id())), good),
        (200, path(job), good),
        (200, path(job), good),
        (200, path(job), good),
    ):
        assert (await client.post(where, json=body)).status_code == status
    assert (await client.post(path(job), content=b" " * 1_100_000)).status_code == 413
    assert only(await scraped(product), "callbacks_total") == {
        "callbacks_total{unavailable}": 1,
        "callbacks_total{stored}": 1,
        "callbacks_total{repeated}": 2,
        "callbacks_total{forged}": 1,
        "callbacks_total{foreign}": 1,
        "callbacks_total{unknown}": 1,
        "callbacks_total{bad_contract}": 1,
        "callbacks_total{too_large}": 1,
    }


async def test_api_calls_are_counted_by_call_outcome_and_code(
    provided_product: Product, provider: Provider
) -> None:
    provider.credits = 73
    await provided_product.providers.asked[0].balance()
    for code in (401, 9876):
        provider.credits_refusal = (code, "no")
        with pytest.raises(Refused):
            await provided_product.providers.asked[0].balance()
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        with pytest.raises(Unreachable):
            await SeparationClient(http, NOBODY, NOBODY, KEY, provided_product.counters).fetch("task-1")
    found = await scraped(provided_product)
    assert only(found, "api_calls_total", "api_refusals_total", "credits_left") == {
        "api_calls_total{credits,ok}": 1,
        "api_calls_total{credits,refused}": 2,
        "api_calls_total{detail,unreachable}": 1,
        "api_refusals_total{401}": 1,
        "api_refusals_total{other}": 1,
        "credits_left{}": 73,
    }
    assert found["credits_seen_timestamp_seconds{}"] == pytest.approx(time.time(), abs=60)


async def test_where_several_are_asked_each_figure_names_its_provider(
    several_providers: Product, provider: Provider, own_separator: Provider, sent: Message
) -> None:
    product = several_providers
    provider.refusal, provider.credits, own_separator.answers_by_itself = (402, "no credits"), 7, False
    for it in product.providers.asked:
        await it.balance()
    job = await product.at(JobState.SUBMITTING, sent)
    await product.submission(has_callbacks=False).run(job.id)
    task_id = (await product.job(job.id)).task_id
    for _ in range(2):  # a repeated result is counted once
        await product.store.receive(job.id, job.chat_id, task_id, result_of({"vocals": "https://a.example"}))
    found = await scraped(product)
    names = ("create_calls_total", "fail_overs_total", "circuit_open", "credits_left", "api_refusals_total")
    assert only(found, *names) == {
        "create_calls_total{sunoapi,asked}": 1,
        "create_calls_total{sunoapi,refused}": 1,
        "create_calls_total{selfhosted,asked}": 1,
        "create_calls_total{selfhosted,accepted}": 1,
        "create_calls_total{selfhosted,succeeded}": 1,
        "fail_overs_total{sunoapi}": 1,
        "circuit_open{sunoapi}": 1,
        "credits_left{sunoapi}": 7,
        "credits_left{selfhosted}": 1000,
        "api_refusals_total{402,sunoapi}": 1,
    }
    assert found["api_calls_total{create,refused,sunoapi}"] == found["api_calls_total{create,ok,selfhosted}"]
    tries = only(found, "last_try_timestamp_seconds")
    assert {key.partition("{")[2] for key in tries} >= {"api,reached}", "selfhosted,reached}"}


async def test_stems_are_counted_in_bytes_and_seconds(
    provided_product: Product, provider: Provider, sent: Message
) -> None:
    stems = {"vocals": f"{provider.url}/stems/vocals.mp3", "drums": f"{provider.url}/nothing.mp3"}
    job = await provided_product.at(JobState.DELIVERING, sent, result=result_of(stems))
    await provided_product.delivery().run(job.id)
    found = await scraped(provided_product)
    counted = only(found, "delivery_seconds_count", "stem_fetches_total", "jobs_ended_total")
    assert counted == {
        "delivery_seconds_count{fetch}": 1,
        "delivery_seconds_count{send}": 1,
        "stem_fetches_total{ok}": 1,
        "stem_fetches_total{gone}": 1,
        "jobs_ended_total{incomplete,split_stem}": 1,
    }
    assert found["delivery_bytes_total{fetch}"] == len(provider.stem)
    assert found["delivery_bytes_total{send}"] >= len(provider.stem)  # with its tags


async def test_waits_for_telegram_are_counted(
    redis_url: str, telegram: Telegram, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")  # the library's coming behaviour; the old one warns
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, is_flood_limited=True, clock=Clock()) as product,
    ):

        async def wait(seconds: float) -> None:
            product.clock.advance(seconds)

        monkeypatch.setattr("stemdrop.chat.telegram_bot.sleep", wait)
        telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method="sendMessage", retry_after_s=1)
        await product.bot.send_message(alice.id, "Hello")
        telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method="sendMessage", retry_after_s=60)
        with pytest.raises(TryLater):
            await product.bot.send_message(alice.id, "Hello")
        telegram.faults.add(FaultKind.BLOCKED, method="getChat")
        with pytest.raises(Forbidden):
            await product.bot.get_chat(alice.id)
        found = only(
            await scraped(product), "flood_waits_total", "flood_wait_seconds_total", "telegram_calls_total"
        )
    seconds = {how: found.pop(f"flood_wait_seconds_total{{{how}}}") for how in ("asked", "waited", "put_off")}
    assert seconds == {
        "asked": 61,
        "waited": pytest.approx(1, abs=0.01),
        "put_off": pytest.approx(60, abs=0.01),
    }
    assert found == {
        "flood_waits_total{asked}": 2,
        "flood_waits_total{waited}": 1,
        "flood_waits_total{put_off}": 1,
        "telegram_calls_total{ok}": 1,
        "telegram_calls_total{flood}": 2,
        "telegram_calls_total{gone}": 1,
    }


async def test_tasks_are_counted_by_queue(product: Product) -> None:
    begun, later, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(argument: str) -> None:
        if argument == "later":
            later.set()
            raise TryLater(100, "not now")
        begun.set()
        await stop.wait()

    for argument in ("later", "held"):
        await product.engine.add(Task.PACK, argument, argument)
    await product.engine.add(Task.DELIVER, "a", "a")
    working = asyncio.create_task(product.engine.work(Queue.PACKS, {Task.PACK: run}, stop, concurrency=1))
    await asyncio.gather(later.wait(), begun.wait())
    while (found := await scraped(product)).get("queue_tasks{packs,put_off}") != 1:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.01)
    packs = (await product.snapshots.take()).queues[Queue.PACKS]
    assert packs.reasons == {"not now": 1}
    # a running task no longer waits
    assert only(found, "queue_oldest_seconds").keys() == {"queue_oldest_seconds{deliveries}"}
    await product.engine.add(Task.PACK, "waiting", "waiting")
    await asyncio.sleep(0.002)  # so that the age is not 0
    found = await scraped(product)
    stop.set()
    await working
    tasks = only(found, "queue_tasks")
    assert tasks == {
        "queue_tasks{packs,put_off}": 1,
        "queue_tasks{packs,running}": 1,
        "queue_tasks{packs,waiting}": 1,
        "queue_tasks{deliveries,waiting}": 1,
    }
    assert only(found, "queue_oldest_seconds").keys() == {
        "queue_oldest_seconds{packs}",
        "queue_oldest_seconds{deliveries}",
    }
    assert 0 < found["queue_oldest_seconds{deliveries}"] < 60
    assert only(await scraped(product), "queue_tasks") == {
        "queue_tasks{packs,put_off}": 1,
        "queue_tasks{packs,waiting}": 1,
        "queue_tasks{deliveries,waiting}": 1,
    }


async def test_processes_and_dead_letters_are_counted(product: Product) -> None:
    heartbeats, now = Heartbeats(product.redis), time.time()
    for pid, role, trouble in ((1, "bot", ""), (2, "worker", ""), (3, "worker", "no room"), (4, "odd", "")):
        await heartbeats.note(Heartbeat(role, "host", pid, "0.1.0", now, now, trouble))
    await product.dead_letters.add("update:1", "a tap", "died")
    await product.dead_letters.add("update:2", "a tap", "died")
    found = await scraped(product)
    assert only(found, "processes", "processes_in_trouble", "given_up_tasks") == {
        "processes{bot}": 1,
        "processes{worker}": 2,
        "processes{other}": 1,
        "processes_in_trouble{worker}": 1,
        "given_up_tasks{update}": 2,
    }


async def test_counts_of_two_processes_are_added_and_written_at_the_end(product: Product) -> None:
    for _ in range(2):
        counters = Counters(product.redis)
        async with counters.written():
            counters.add(FLOOD_SECONDS, "waited", by=0.25)
            counters.add(DELIVERY_BYTES, "send", by=3_000_000_000)
    found = only(await scraped(product), "flood_wait_seconds_total", "delivery_bytes_total")
    assert found == {"flood_wait_seconds_total{waited}": 0.5, "delivery_bytes_total{send}": 6e9}


async def test_a_failure_to_count_does_not_stop_a_job(
    product: Product, sent: Message, caplog: pytest.LogCaptureFixture
) -> None:
    await product.redis.set(COUNTS, "no hash")
    with caplog.at_level(logging.INFO):
        job = await product.at(JobState.DELIVERING, sent)
        await product.store.fail(job.id, [JobState.DELIVERING], Failure("500"))
        product.counters.add(API_CALLS, "create", "ok")
        await product.counters.write()
    assert (await product.job(job.id)).state is JobState.FAILED
    assert [record for record in caplog.records if record.name.startswith("stemdrop")] == []
    with pytest.raises(StoreUnavailable):
        await scraped(product)
    await product.redis.delete(COUNTS)
    await product.redis.hset(
        COUNTS, mapping={"from a newer version|x": "1", "jobs_ended|a|b|c": "1", "api_calls": "?"}
    )
    assert only(await scraped(product), "api_calls_total") == {"api_calls_total{create,ok}": 1}


async def test_frequent_requests_share_one_snapshot(product: Product, client: httpx.AsyncClient) -> None:
    await product.redis.config_resetstat()
    answers = await asyncio.gather(*(client.get("/metrics") for _ in range(20)))
    snapshots = int((await product.redis.info("commandstats"))["cmdstat_xlen"]["calls"]) / len(Queue)
    texts = {re.sub("(?m)^stemdrop_redis_memory_bytes .*", "", answer.text) for answer in answers}
    assert len(texts) == 1
    assert snapshots <= 5  # once, or where the machine is slow once a second


async def test_concurrent_requests_share_one_rendering_and_its_failure() -> None:
    renderings, may_end = 0, asyncio.Event()

    async def render() -> bytes:
        nonlocal renderings
        renderings += 1
        await may_end.wait()
        raise StoreUnavailable("Redis does not answer")

    cache = MetricsCache(render, max_age_s=0)
    waiting = [asyncio.create_task(cache.get()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # does not cancel the others
    await asyncio.sleep(0)
    may_end.set()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError, *[StoreUnavailable] * 4]
    assert renderings == 1
    with pytest.raises(StoreUnavailable):
        await cache.get()
    assert renderings == 2


async def test_metrics_hold_no_secret_and_no_personal_data(
    provided_product: Product, sent: Message, provider: Provider
) -> None:
    job = await provided_product.at(
        JobState.SEPARATING, sent, mode=Mode.SPLIT_STEM_ADVANCED, instrument="Organ"
    )
    await provided_product.store.receive(
        job.id, job.chat_id, "task-1", result_of({"vocals": f"{provider.url}/stems/v.mp3"})
    )
    await provided_product.delivery().run(job.id)
    await provided_product.dead_letters.add(f"pack:{job.id}:z", "a ZIP", "it died")
    await provided_product.counters.write()
    snapshot = await provided_product.snapshots.take()
    text = render_metrics(snapshot, {"sunoapi": ""}, expects_callbacks=True).decode()
    assert "stemdrop_delivery_bytes_total" in text
    of_the_job = [job.id, str(job.chat_id), job.source.title, "task-1", "Organ", "Alice"]
    assert [word for word in (*provided_product.settings.secrets, *of_the_job) if word in text] == []
