"""The one place that builds the objects that the processes, `stemdrop jobs` and the tests share."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property

import httpx
from redis.asyncio import Redis
from telegram.error import BadRequest, InvalidToken, NetworkError, TelegramError
from telegram.ext import ExtBot

from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.reactions import Reactions
from stemdrop.chat.telegram_bot import build_bot, parsing
from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.chat.translations import load_translations
from stemdrop.errors import SettingsError, StoreRefused, StoreUnavailable, TryLater
from stemdrop.http.clients import client_options
from stemdrop.http.signed_links import SignedLinks
from stemdrop.provider.registry import build_abilities_cache, build_providers, provider_titles
from stemdrop.services.abilities_refresh import AbilitiesRefresh
from stemdrop.services.account_queue import AccountQueue
from stemdrop.services.admin_alerts import AdminAlerts
from stemdrop.services.orders import Orders
from stemdrop.services.remixing import Remixing
from stemdrop.services.result_polling import ResultPolling
from stemdrop.services.song_measures import SongMeasures
from stemdrop.settings import Settings
from stemdrop.storage.access_requests import AccessRequests
from stemdrop.storage.albums import Albums
from stemdrop.storage.chat_activity import ChatActivity
from stemdrop.storage.circuits import Circuits
from stemdrop.storage.connection import connect
from stemdrop.storage.counters import Counters
from stemdrop.storage.create_calls import CreateCalls
from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.storage.due_jobs import DueJobs
from stemdrop.storage.flood_limiter import FloodLimiter
from stemdrop.storage.group_settings import GroupSettings
from stemdrop.storage.heartbeats import Heartbeats
from stemdrop.storage.job_statistics import JobStatistics
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import PROGRESS_DUE, RECOVERY_DUE
from stemdrop.storage.probes import Probes
from stemdrop.storage.rate_limits import RateLimits
from stemdrop.storage.remixes import Remixes
from stemdrop.storage.snapshot import Snapshots
from stemdrop.storage.source_quota import SourceQuota
from stemdrop.storage.stem_cache import StemCache
from stemdrop.storage.users import Users
from stemdrop.tasks.engine import Engine

log = logging.getLogger(__name__)

REDIS_WAIT_S = 30
# After SIGTERM, running tasks and requests may go on for this time; then tasks are handed back.
STOP_GRACE_S = 20
WRONG_TOKEN = "TELEGRAM_BOT_TOKEN is wrong: Telegram refuses it"  # noqa: S105 - a sentence


class Parts:
    """The objects that the processes share.

    `redis`, `engine`, `http` and `api_http` are opened and closed by the caller; `http` fetches files from
    Telegram, `api_http` calls the separation API. `clock` returns Unix seconds. `flood_clock` and
    `source_clock` replace Redis' own clock, by which the limits hold for all processes together.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        engine: Engine,
        *,
        http: httpx.AsyncClient,
        api_http: httpx.AsyncClient,
        clock: Callable[[], float] = time.time,
        flood_clock: Callable[[], float] | None = None,
        source_clock: Callable[[], float] | None = None,
    ) -> None:
        self.settings = settings
        self.redis = redis
        self.engine = engine
        self.clock = clock
        self.store = JobStore(redis, clock)
        self.recovery_due = DueJobs(redis, RECOVERY_DUE, clock)
        self.progress_due = DueJobs(redis, PROGRESS_DUE, clock)
        self.chat_activity = ChatActivity(redis, clock)
        self.counters = Counters(redis)
        self.source_quota = SourceQuota(redis, source_clock)
        self.rate_limits = RateLimits(redis, source_clock)
        self.probes = Probes(redis)
        self.snapshots = Snapshots(redis)
        self.heartbeats = Heartbeats(redis)
        self.dead_letters = DeadLetters(redis)
        self.users = Users(redis, settings)
        self.access_requests = AccessRequests(redis)
        self.stem_cache = StemCache(redis)
        self.remixes = Remixes(redis, clock)
        self.remixing = Remixing(self.remixes, engine, clock)
        self.song_measures = SongMeasures(self.stem_cache, self.users, engine)
        self.job_statistics = JobStatistics(redis)
        self.providers = build_providers(settings, api_http, self.counters)
        self.abilities = build_abilities_cache(settings, redis)
        self.circuits = Circuits(redis, clock)
        self.create_calls = CreateCalls(redis, clock)
        self.albums = Albums(redis, clock)
        self.group_settings = GroupSettings(redis)
        self.translations = load_translations()
        self.links = SignedLinks(settings.secret_key.get_secret_value(), settings.public_url)
        self.bot: ExtBot[float] = build_bot(settings, FloodLimiter(redis, flood_clock), self.counters)
        self.files = TelegramFiles(self.bot, http)

    @cached_property
    def job_message(self) -> JobMessage:
        return JobMessage(
            self.bot,
            self.store,
            self.stem_cache,
            self.job_statistics,
            self.translations,
            self.abilities,
            self.clock,
            Reactions(self.bot),
            self.users,
            self.settings.mixer_url,
        )

    @cached_property
    def account_queue(self) -> AccountQueue:
        return AccountQueue(self.store, self.engine)

    @cached_property
    def result_polling(self) -> ResultPolling:
        """Asks the separation API for results whose callback did not come."""
        ask_again_s = self.settings.poll_interval_s
        return ResultPolling(self.store, self.providers, self.clock, ask_again_s)

    @cached_property
    def orders(self) -> Orders:
        """Picks, retries, resends and cancels jobs."""
        return Orders(
            self.store,
            self.engine,
            self.stem_cache,
            self.abilities,
            self.users,
            self.result_polling,
            self.account_queue,
            self.clock,
        )

    @cached_property
    def abilities_refresh(self) -> AbilitiesRefresh:
        return AbilitiesRefresh(self.providers, self.abilities)

    @cached_property
    def alerts(self) -> AdminAlerts:
        """Notifies the admins of problems that only an operator can correct."""
        titles = provider_titles(self.settings)
        return AdminAlerts(self.bot, self.users, self.translations, titles)


@asynccontextmanager
async def open_parts(settings: Settings, stop: asyncio.Event) -> AsyncIterator[Parts]:
    """Build the parts of a process and close them at its end.

    Waits for Redis until it answers or `stop` is set. Raises `SettingsError` when Redis refuses the
    connection or has not answered after `REDIS_WAIT_S`.
    """
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connect(settings.redis_url))
        await _wait_for_redis(settings, JobStore(redis), stop)
        engine = await stack.enter_async_context(Engine(settings.redis_url))
        http = await stack.enter_async_context(
            httpx.AsyncClient(timeout=60, **client_options(settings.proxies))
        )
        # Connections to the API are not reused: one that the API closes just as a create call goes out would
        # look like a lost response, and a create call whose response is lost is not repeated.
        options = client_options(settings.proxies, limits=httpx.Limits(max_keepalive_connections=0))
        api_http = await stack.enter_async_context(httpx.AsyncClient(**options))
        parts = Parts(settings, redis, engine, http=http, api_http=api_http)
        stack.push_async_callback(parts.bot.shutdown)
        await stack.enter_async_context(parts.counters.written())
        yield parts


async def _wait_for_redis(settings: Settings, store: JobStore, stop: asyncio.Event) -> None:
    """Wait until Redis answers, since containers start in any order. Raises as `open_parts`."""
    deadline = asyncio.get_running_loop().time() + REDIS_WAIT_S
    while not stop.is_set():
        try:
            await store.ping()
            return
        except StoreUnavailable as error:
            if isinstance(error, StoreRefused) or asyncio.get_running_loop().time() > deadline:
                raise SettingsError(f"REDIS_URL: {settings.redis_address}: {error}") from error
            log.warning("waiting for Redis at %s: %s", settings.redis_address, error)
            await asyncio.sleep(1)


async def greet_telegram(bot: ExtBot[float], stop: asyncio.Event) -> bool:
    """Ask for the bot's name; False if `stop` was set first. Raises `SettingsError` for a refused token."""

    async def initialize() -> None:
        with parsing("getMe"):
            await bot.initialize()

    return await call_until_done(initialize, stop)


async def call_until_done(call: Callable[[], Awaitable[object]], stop: asyncio.Event) -> bool:
    """Repeat a start-up call to Telegram until it succeeds; False if `stop` was set before.

    Raises `SettingsError` when Telegram refuses the token, `BadRequest` when it refuses the call.
    """
    pause_s = 1.0
    while not stop.is_set():
        try:
            await call()
        except InvalidToken as error:
            raise SettingsError(WRONG_TOKEN) from error
        except BadRequest:
            raise
        except (TelegramError, StoreUnavailable, TryLater) as error:
            wait_s = error.after_s if isinstance(error, TryLater) else pause_s
            if isinstance(error, NetworkError | StoreUnavailable):
                server = "Redis" if isinstance(error, StoreUnavailable) else "Telegram"
                log.warning("%s cannot be reached, next try in %.0f s: %s", server, wait_s, error)
            else:
                log.warning("Telegram refuses the call, next try in %.0f s: %s", wait_s, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s)
            pause_s = min(pause_s * 2, 30)
        else:
            return True
    return False
