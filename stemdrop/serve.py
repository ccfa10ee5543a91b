"""Bot, webhook and worker put together and run, in one process or several. Beside the command line the only
place that imports the rooms: it builds the objects, hands them in, and ends them in order."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

import httpx
import uvicorn
from telegram.error import BadRequest, InvalidToken, TelegramError
from telegram.ext import ExtBot

from bot.app import build_application
from bot.introduction import introduce
from bot.update_health import Reception, watch_webhook
from bot.updates import ALLOWED_UPDATES, UpdateHandler, poll
from stemdrop.chat.job_message import StatusMessage
from stemdrop.chat.telegram_bot import TelegramFiles, build_bot
from stemdrop.chat.translations import load_texts
from stemdrop.errors import SettingsError, StoreRefused, StoreUnavailable, TryLater
from stemdrop.http.signed_links import Links
from stemdrop.provider.client import SeparationClient
from stemdrop.services.account_queue import Turns
from stemdrop.services.admin_alerts import Alerts
from stemdrop.services.result_polling import Polling
from stemdrop.settings import SHORT_KEY, Settings
from stemdrop.storage.connection import connect
from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.storage.flood_limiter import FloodLimiter
from stemdrop.storage.group_settings import Groups
from stemdrop.storage.heartbeats import Presences, be_present
from stemdrop.storage.job_statistics import Experience
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.stem_cache import Shelf
from stemdrop.storage.users import People
from stemdrop.tasks.engine import Engine, Periodic, Queue, Task
from webhook.app import create_app
from webhook.slow_clients import ImpatientProtocol
from worker.archives import PACKS_AT_ONCE, Packing
from worker.credits_monitor import CreditsWatch
from worker.delivery import JOBS_ON_DISK, Delivery
from worker.progress_updates import Pulse
from worker.recovery import Deadlines, Sweep
from worker.stems.address_rules import AddressRules
from worker.stems.copies import StemCopies
from worker.stems.fetcher import StemFetcher
from worker.stems.temp_folders import remove_leftovers, shortage
from worker.submission import Submission

log = logging.getLogger(__name__)

REDIS_WAIT_S = 30
_WRONG_TOKEN = "TELEGRAM_BOT_TOKEN is wrong: Telegram refuses it"  # noqa: S105 - a sentence
# How often the sweep looks at most; the poll interval holds per job.
SWEEP_EVERY_S = 10
PULSE_EVERY_S = 5
CREDITS_EVERY_S = 600
# After this long at SIGTERM what still runs is handed back (interface: 'finished or handed back').
GRACE_S = 20
# Longer than proxies keep an idle connection to us (Caddy: two minutes): whoever closes first must be they,
# or a callback that goes out at that moment is lost with the connection.
KEEP_ALIVE_S = 130
# Half of the files that a process may usually have open; more are told to come again (503). With it so many
# bodies and so many chunks of sources are in memory at most.
MAX_CONNECTIONS = 500
# Who has taken nothing of what was sent for so long is gone, or keeps a download open for nothing.
UNREAD_TIMEOUT_MS = 60_000


class Role(StrEnum):
    """What a process does; `up` does all three."""

    BOT = "bot"
    WEBHOOK = "webhook"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the roles share."""

    settings: Settings
    store: JobStore
    presences: Presences
    reception: Reception
    letters: DeadLetters
    people: People
    shelf: Shelf
    experience: Experience
    groups: Groups
    engine: Engine
    bot: ExtBot[float]
    files: TelegramFiles
    separation: SeparationClient
    status: StatusMessage
    links: Links

    @property
    def polling(self) -> Polling:
        return Polling(self.store, self.engine, self.separation)


async def serve(settings: Settings, roles: set[Role]) -> None:
    """Run the roles until SIGTERM or SIGINT. Raises `SettingsError` when the outside refuses a setting."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    run = {Role.BOT: _run_bot, Role.WEBHOOK: _run_webhook, Role.WORKER: _run_worker}
    async with _parts(settings, stop) as parts:
        if len(settings.secret_key.get_secret_value()) < SHORT_KEY:
            log.warning("SECRET_KEY is short: who has a link can try keys until one fits, and forge others")
        tasks = [asyncio.create_task(run[role](parts, stop), name=role) for role in sorted(roles)]
        present = be_present(parts.presences, _troubles(parts, roles), stop)
        tasks.append(asyncio.create_task(present, name="presence"))
        try:
            await _first_failure(tasks)
        finally:
            stop.set()
            await asyncio.gather(*tasks, return_exceptions=True)
    log.info("stopped")


def _troubles(parts: Parts, roles: set[Role]) -> dict[str, Callable[[], str]]:
    """What may keep each role from its work while its process lives; Redis aside, which all need."""
    known: dict[Role, Callable[[], str]] = {
        Role.BOT: parts.reception.trouble,
        Role.WEBHOOK: str,
        Role.WORKER: shortage,
    }
    return {role.value: known[role] for role in sorted(roles)}


async def _first_failure(tasks: list[asyncio.Task[None]]) -> None:
    for task in asyncio.as_completed(tasks):
        await task


@asynccontextmanager
async def _parts(settings: Settings, stop: asyncio.Event) -> AsyncIterator[Parts]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connect(settings.redis_url))
        store = JobStore(redis)
        await _wait_for_redis(settings, store, stop)
        await stack.enter_async_context(store.counts.written())
        engine = await stack.enter_async_context(Engine(settings.redis_url))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
        # No connection is kept: one that the API closes just as a create call goes out would look like a lost
        # answer, and a lost answer is never asked for again.
        api_http = await stack.enter_async_context(
            httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0))
        )
        bot = build_bot(settings, FloodLimiter(redis), store.counts)
        stack.push_async_callback(bot.shutdown)
        shelf, experience = Shelf(redis), Experience(redis)
        yield Parts(
            settings=settings,
            store=store,
            presences=Presences(redis),
            reception=Reception(),
            letters=DeadLetters(redis),
            people=People(redis, settings),
            shelf=shelf,
            experience=experience,
            groups=Groups(redis),
            engine=engine,
            bot=bot,
            files=TelegramFiles(bot, http),
            separation=SeparationClient(
                api_http,
                settings.separation_api_url,
                settings.upload_url,
                settings.separation_api_key.get_secret_value(),
                store.counts,
            ),
            status=StatusMessage(bot, store, shelf, experience, load_texts()),
            links=Links(settings.secret_key.get_secret_value(), settings.public_url),
        )


async def _wait_for_redis(settings: Settings, store: JobStore, stop: asyncio.Event) -> None:
    """Containers start in any order; but nobody must wonder why nothing happens."""
    where = urlsplit(settings.redis_url)
    deadline = asyncio.get_running_loop().time() + REDIS_WAIT_S
    while not stop.is_set():
        try:
            await store.ping()
            return
        except StoreUnavailable as error:
            if isinstance(error, StoreRefused) or asyncio.get_running_loop().time() > deadline:
                raise SettingsError(f"REDIS_URL: {where.hostname}:{where.port or 6379}: {error}") from error
            log.warning("waiting for Redis at %s:%s: %s", where.hostname, where.port or 6379, error)
            await asyncio.sleep(1)


async def _run_bot(parts: Parts, stop: asyncio.Event) -> None:
    settings, bot, texts = parts.settings, parts.bot, load_texts()
    if not await _greet_telegram(parts, stop):
        return
    application = build_application(
        settings,
        bot,
        parts.store,
        parts.engine,
        parts.people,
        parts.shelf,
        parts.experience,
        parts.groups,
        parts.separation,
        parts.polling,
        parts.files,
        parts.status,
        texts,
    )
    await application.initialize()
    await offer_admin_link(parts.people, bot.username)
    log.info("bot @%s ready, updates by %s", bot.username, settings.telegram_updates)
    stop_handling = asyncio.Event()
    handler = UpdateHandler(application, parts.letters, parts.people, texts)
    handling = asyncio.create_task(
        parts.engine.work(
            Queue.UPDATES,
            {Task.UPDATE: handler.run},
            stop_handling,
            given_up={Task.UPDATE: handler.give_up},
            concurrency=32,
            grace_s=GRACE_S,
        )
    )
    fetching = asyncio.create_task(_fetch_updates(parts, stop))
    # a courtesy that nobody waits for
    registering = asyncio.create_task(_until_done(lambda: introduce(bot, texts, parts.people), stop))
    try:
        await asyncio.wait({fetching, handling}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop_handling.set()
        fetching.cancel()
        registering.cancel()
        results = await asyncio.gather(fetching, handling, return_exceptions=True)
        await asyncio.gather(registering, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def offer_admin_link(people: People, bot_name: str) -> None:
    """A private bot without an admin: whoever opens the link that this prints is the one."""
    if word := await people.first_admin_word():
        link = f"https://t.me/{bot_name}?start={word}"
        print(f"Nobody runs this bot yet. Who opens this link does, once: {link}", flush=True)  # noqa: T201


async def _fetch_updates(parts: Parts, stop: asyncio.Event) -> None:
    if parts.settings.telegram_updates == "polling":
        await _until_done(parts.bot.delete_webhook, stop)
        try:
            await poll(parts.bot, parts.engine, parts.reception, stop)
        except InvalidToken as error:
            raise SettingsError(_WRONG_TOKEN) from error
        return
    url, secret = parts.links.updates_url, parts.links.updates_secret
    try:
        await _until_done(
            lambda: parts.bot.set_webhook(url, secret_token=secret, allowed_updates=ALLOWED_UPDATES), stop
        )
    except BadRequest as error:
        raise SettingsError(f"PUBLIC_URL: Telegram refuses it for its updates: {error}") from error
    await watch_webhook(parts.bot, url, parts.reception, stop)


async def _run_webhook(parts: Parts, stop: asyncio.Event) -> None:
    settings = parts.settings
    app = create_app(settings, parts.store, parts.engine, parts.links, parts.files)
    listening = listen(settings)
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    log.info("webhook ready at port %d", listening.getsockname()[1])
    await asyncio.wait({serving, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving


def listen(settings: Settings) -> socket.socket:
    """The webhook's socket; connections that it accepts inherit its options. Raises `SettingsError`."""
    host, port = settings.listen_host, settings.listen_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(
            f"LISTEN_HOST, LISTEN_PORT: cannot listen at {host}:{port}: {error.strerror}"
        ) from error
    # asyncio switches Nagle's algorithm off (40 ms an answer) only on sockets that name their protocol
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_TIMEOUT_MS)
    return listening


async def _run_worker(parts: Parts, stop: asyncio.Event) -> None:
    settings, store, engine = parts.settings, parts.store, parts.engine
    if not await _greet_telegram(parts, stop):
        return
    await asyncio.to_thread(remove_leftovers)
    links = parts.links if settings.public_url else None
    texts, turns = load_texts(), Turns(store, engine)
    alerts = Alerts(parts.bot, parts.people, texts)
    submission = Submission(store, parts.separation, parts.files, links, parts.status, turns, alerts)
    deadlines = Deadlines(
        settings.poll_after_s, settings.poll_interval_s, settings.job_timeout_s, bool(settings.public_url)
    )
    sweep = Sweep(store, engine, parts.polling, parts.status, turns, deadlines)
    pulse = Pulse(store, parts.status)
    credits_watch = CreditsWatch(parts.separation, alerts)
    rules = AddressRules(settings.separation_api_url, settings.allowed_hosts)
    async with StemFetcher(rules, settings.max_upload_bytes, store.counts) as fetcher:
        copies = StemCopies(parts.files, fetcher, parts.separation)
        packing = Packing(store, parts.letters, parts.bot, copies, texts, settings.max_upload_bytes)
        delivery = Delivery(
            store,
            parts.bot,
            fetcher,
            parts.files,
            parts.separation,
            parts.status,
            turns,
            parts.shelf,
            parts.experience,
            texts,
        )
        sweep_every_s = min(settings.poll_interval_s, SWEEP_EVERY_S)
        log.info("worker ready")
        async with asyncio.TaskGroup() as group:
            group.create_task(
                engine.work(
                    Queue.SUBMISSIONS,
                    {Task.SUBMIT: submission.run},
                    stop,
                    periodic={
                        "sweep": Periodic(sweep_every_s, sweep.run),
                        "pulse": Periodic(PULSE_EVERY_S, pulse.run),
                        "credits": Periodic(CREDITS_EVERY_S, credits_watch.run),
                    },
                    concurrency=16,
                    grace_s=GRACE_S,
                )
            )
            group.create_task(
                engine.work(
                    Queue.DELIVERIES,
                    {Task.DELIVER: delivery.run},
                    stop,
                    concurrency=JOBS_ON_DISK,
                    grace_s=GRACE_S,
                )
            )
            group.create_task(
                engine.work(
                    Queue.PACKS,
                    {Task.PACK: packing.run},
                    stop,
                    given_up={Task.PACK: packing.give_up},
                    concurrency=PACKS_AT_ONCE,
                    grace_s=GRACE_S,
                )
            )


async def _greet_telegram(parts: Parts, stop: asyncio.Event) -> bool:
    """Ask Telegram who we are; False when stopped before it answered."""
    return await _until_done(parts.bot.initialize, stop)


async def _until_done(call: Callable[[], Awaitable[object]], stop: asyncio.Event) -> bool:
    """Make a start-up call until it succeeds; a wrong token is the operator's to correct."""
    pause_s = 1.0
    while not stop.is_set():
        try:
            await call()
        except InvalidToken as error:
            raise SettingsError(_WRONG_TOKEN) from error
        except BadRequest:
            raise
        except (TelegramError, StoreUnavailable, TryLater) as error:
            wait_s = error.after_s if isinstance(error, TryLater) else pause_s
            log.warning("Telegram cannot be reached, again in %.0f s: %s", wait_s, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s)
            pause_s = min(pause_s * 2, 30)
        else:
            return True
    return False


class _Server(uvicorn.Server):
    """Signals are ours to handle: they end all roles of the process in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
