"""The process `stemdrop worker`: submits jobs, delivers stems, renders remixes, and recovers stuck jobs."""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from stemdrop.domain.queues import PERIODIC
from stemdrop.errors import SettingsError
from stemdrop.services.stem_host import find_stem_host_problem
from stemdrop.tasks.engine import Handler, Periodic, Queue, Task
from stemdrop.wiring import STOP_GRACE_S, Parts, greet_telegram
from worker.archives import PACKS_AT_ONCE, Archives
from worker.call_sender import CallSender
from worker.credits_monitor import CreditsMonitor
from worker.delivery import JOBS_ON_DISK, Delivery
from worker.fail_over import FailOver
from worker.measuring import Measuring
from worker.progress_updates import ProgressUpdates
from worker.recovery import Deadlines, Recovery
from worker.remix_files import RemixMaker
from worker.remix_sender import RemixSender
from worker.render_message import RenderMessage
from worker.renders import RENDERS_ON_DISK, Renders
from worker.result_sender import ResultSender
from worker.stems.address_rules import AddressRules
from worker.stems.downloader import StemDownloader
from worker.stems.fetcher import StemFetcher
from worker.stems.stem_sender import StemSender
from worker.stems.temp_folders import keep_removing_leftovers
from worker.submission import Submission

log = logging.getLogger(__name__)

RECOVERY_EVERY_S = 10
PROGRESS_EVERY_S = 5
CREDITS_EVERY_S = 600
ABILITIES_EVERY_S = 60


@dataclass(frozen=True, slots=True)
class Tasks:
    submission: Submission
    delivery: Delivery
    archives: Archives
    renders: Renders
    measuring: Measuring
    recovery: Recovery
    progress_updates: ProgressUpdates
    credits_monitor: CreditsMonitor


def build_fetcher(parts: Parts, max_bytes: int | None = None) -> StemFetcher:
    """Build the client that downloads stems, which the caller opens; `max_bytes` is the limit for a file."""
    settings = parts.settings
    rules = AddressRules(settings.provider_urls, settings.stem_hosts, settings.stem_networks)
    return StemFetcher(rules, max_bytes or settings.max_upload_bytes, parts.counters, settings.proxies)


def build_tasks(
    parts: Parts,
    fetcher: StemFetcher,
    *,
    max_bytes: int | None = None,
    deadlines: Deadlines | None = None,
    has_callbacks: bool | None = None,
) -> Tasks:
    """Build the worker's tasks; the keyword arguments override settings."""
    settings, store = parts.settings, parts.store
    has_callbacks = bool(settings.public_url) if has_callbacks is None else has_callbacks
    deadlines = deadlines or Deadlines(
        settings.poll_after_s, settings.poll_interval_s, settings.job_timeout_s, has_callbacks
    )
    sender = StemSender(parts.bot)
    downloader = StemDownloader(fetcher, parts.providers, parts.files)
    measuring = Measuring(
        store=store,
        stem_cache=parts.stem_cache,
        downloader=downloader,
        translations=parts.translations,
    )
    max_render_bytes = max_bytes or settings.max_upload_bytes
    return Tasks(
        submission=_build_submission(parts, max_bytes, has_callbacks=has_callbacks),
        delivery=_build_delivery(parts, sender, downloader),
        archives=_build_archives(parts, sender, downloader, max_bytes),
        renders=_build_renders(parts, sender, downloader, measuring, max_render_bytes),
        measuring=measuring,
        recovery=Recovery(
            store=store,
            due_jobs=parts.recovery_due,
            engine=parts.engine,
            polling=parts.result_polling,
            job_message=parts.job_message,
            account_queue=parts.account_queue,
            deadlines=deadlines,
            remixes=parts.remixes,
            clock=parts.clock,
        ),
        progress_updates=ProgressUpdates(
            store, parts.progress_due, parts.chat_activity, parts.job_message, parts.clock
        ),
        credits_monitor=CreditsMonitor(parts.providers, parts.alerts, parts.abilities, parts.circuits),
    )


def _build_submission(parts: Parts, max_bytes: int | None, *, has_callbacks: bool) -> Submission:
    sender = CallSender(
        store=parts.store,
        providers=parts.providers,
        circuits=parts.circuits,
        calls=parts.create_calls,
        files=parts.files,
        links=parts.links if has_callbacks else None,
        alerts=parts.alerts,
        max_bytes=max_bytes or parts.settings.max_upload_bytes,
        clock=parts.clock,
    )
    return Submission(
        store=parts.store,
        abilities=parts.abilities,
        sender=sender,
        job_message=parts.job_message,
        account_queue=parts.account_queue,
        clock=parts.clock,
    )


def _build_delivery(parts: Parts, sender: StemSender, downloader: StemDownloader) -> Delivery:
    return Delivery(
        store=parts.store,
        result_sender=ResultSender(
            store=parts.store,
            sender=sender,
            downloader=downloader,
            translations=parts.translations,
            counters=parts.counters,
        ),
        job_message=parts.job_message,
        account_queue=parts.account_queue,
        polling=parts.result_polling,
        alerts=parts.alerts,
        stem_cache=parts.stem_cache,
        job_statistics=parts.job_statistics,
        fail_over=FailOver(parts.store, parts.engine, parts.providers, parts.abilities, parts.circuits),
    )


def _build_archives(
    parts: Parts, sender: StemSender, downloader: StemDownloader, max_bytes: int | None
) -> Archives:
    return Archives(
        store=parts.store,
        dead_letters=parts.dead_letters,
        sender=sender,
        downloader=downloader,
        translations=parts.translations,
        max_bytes=max_bytes or parts.settings.max_upload_bytes,
    )


def _build_renders(
    parts: Parts, sender: StemSender, downloader: StemDownloader, measuring: Measuring, max_bytes: int
) -> Renders:
    return Renders(
        store=parts.store,
        remixes=parts.remixes,
        dead_letters=parts.dead_letters,
        maker=RemixMaker(
            downloader=downloader,
            translations=parts.translations,
            counters=parts.counters,
            max_bytes=max_bytes,
        ),
        sender=RemixSender(remixes=parts.remixes, sender=sender, max_bytes=max_bytes),
        message=RenderMessage(parts.bot, parts.remixes),
        measuring=measuring,
        translations=parts.translations,
        counters=parts.counters,
    )


async def run_worker(parts: Parts, stop: asyncio.Event) -> None:
    """Run the worker's tasks until `stop`.

    Raises `SettingsError` when Telegram refuses the token, or when stems could be paid for but not fetched.
    """
    if problem := await find_stem_host_problem(parts.settings):
        raise SettingsError(f"STEM_NETWORKS: {problem}")
    if not await greet_telegram(parts.bot, stop):
        return
    async with build_fetcher(parts) as fetcher, asyncio.TaskGroup() as group:
        group.create_task(keep_removing_leftovers(stop))
        tasks = build_tasks(parts, fetcher)
        work = partial(parts.engine.work, stop=stop, grace_s=STOP_GRACE_S)
        recovery_every_s = min(parts.settings.poll_interval_s, RECOVERY_EVERY_S)
        work_of_all = (
            Periodic(recovery_every_s, tasks.recovery.run),
            Periodic(PROGRESS_EVERY_S, tasks.progress_updates.run),
            Periodic(CREDITS_EVERY_S, tasks.credits_monitor.run),
            Periodic(ABILITIES_EVERY_S, parts.abilities_refresh.run),
        )
        periodic = dict(zip(PERIODIC, work_of_all, strict=True))
        log.info("worker ready")
        submissions = {Task.SUBMIT: tasks.submission.run}
        group.create_task(work(Queue.SUBMISSIONS, submissions, periodic=periodic, concurrency=16))
        deliveries = {Task.DELIVER: tasks.delivery.run}
        group.create_task(work(Queue.DELIVERIES, deliveries, concurrency=JOBS_ON_DISK))
        packs = {Task.PACK: tasks.archives.run}
        given_up: dict[Task, Handler] = {Task.PACK: tasks.archives.give_up}
        group.create_task(work(Queue.PACKS, packs, given_up=given_up, concurrency=PACKS_AT_ONCE))
        renders = {Task.RENDER: tasks.renders.run, Task.MEASURE: tasks.measuring.run}
        given_up = {Task.RENDER: tasks.renders.give_up, Task.MEASURE: tasks.measuring.give_up}
        group.create_task(work(Queue.RENDERS, renders, given_up=given_up, concurrency=RENDERS_ON_DISK))
