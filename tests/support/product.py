"""All of the product's parts in the test's process, with a real Redis, the local Telegram and a provider."""

import json
import pickle
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import certifi
import httpx
from anyio.lowlevel import checkpoint
from provider import KEY
from redis.asyncio import Redis
from telegram import User as BotUser
from telegram.ext import ExtBot
from waits import WAIT_S

from bot.app import build_bot
from bot.errors import Apology
from bot.polling import ALLOWED_UPDATES, Poller
from bot.update_health import UpdateHealth
from bot.updates import UpdateHandler
from sandbox.telegram.bot_api.misc_methods import get_me
from sandbox.telegram.bot_api.parameters import Call
from sandbox.telegram.chats import CallbackQuery, Message, User
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.job_message import JobMessage
from stemdrop.domain.jobs import Failure, Job, JobState, Mode, Source, SourceKind
from stemdrop.domain.results import Result, Stem
from stemdrop.errors import TryLater
from stemdrop.services.result_polling import ResultPolling
from stemdrop.settings import load_settings
from stemdrop.storage.connection import connect
from stemdrop.storage.keys import TASK_RECORD, TASK_STREAM
from stemdrop.tasks.engine import Engine, Queue, Task
from stemdrop.wiring import Parts
from worker.archives import Archives
from worker.delivery import Delivery
from worker.measuring import Measuring
from worker.progress_updates import ProgressUpdates
from worker.recovery import Deadlines, Recovery
from worker.renders import Renders
from worker.run import Tasks, build_fetcher, build_tasks
from worker.submission import Submission

SECRET = "a-secret-for-tests"
PUBLIC_URL = "https://stems.example"
NOBODY = "http://127.0.0.1:9"  # where nothing listens
DEADLINES = Deadlines(poll_after_s=120, poll_interval_s=30, job_timeout_s=1800, has_callbacks=True)


class Clock:
    """Unix seconds that advance by a millisecond at each call, so that no two steps have the same time."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        self.now = round(self.now + 0.001, 3)
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class _NeverBusy(Clock):
    """The clock of flood limits that a test is not about: a day passes at each call."""

    def __call__(self) -> float:
        self.advance(86_400)
        return self.now


class Product(Parts):
    """The product's parts, and what many tests ask of them."""

    telegram: Telegram
    closing: AsyncExitStack
    clock: Clock

    def changed(self, **parts: Any) -> "Product":
        """Return a copy in which these parts are replaced."""
        other = copy(self)
        for name, part in parts.items():
            setattr(other, name, part)
        return other

    @property
    def polling(self) -> ResultPolling:
        return self.result_polling

    @property
    def status(self) -> JobMessage:
        return self.job_message

    @cached_property
    def _undecoded(self) -> Redis:
        """A client that returns bytes, as pickled tasks are."""
        redis = Redis.from_url(self.settings.redis_url)
        self.closing.push_async_callback(redis.aclose)
        return redis

    def _tasks(self, max_bytes: int | None = None, **options: Any) -> Tasks:
        fetcher = build_fetcher(self, max_bytes)
        self.closing.push_async_exit(fetcher)
        return build_tasks(self, fetcher, max_bytes=max_bytes, **options)

    def submission(self, *, has_callbacks: bool = True) -> Submission:
        """Return the task SUBMIT; without callbacks it works as with an empty PUBLIC_URL."""
        return self._tasks(has_callbacks=has_callbacks).submission

    def delivery(self, *, max_bytes: int | None = None) -> Delivery:
        """Return the task DELIVER; `max_bytes` is the size of the largest file that Telegram takes."""
        return self._tasks(max_bytes).delivery

    def archives(self, *, max_bytes: int | None = None) -> Archives:
        """Return the task PACK; `max_bytes` is as for `delivery`."""
        return self._tasks(max_bytes).archives

    def renders(self, *, max_bytes: int | None = None) -> Renders:
        """Return the task RENDER; `max_bytes` is as for `delivery`."""
        return self._tasks(max_bytes).renders

    def measuring(self, *, max_bytes: int | None = None) -> Measuring:
        """The task MEASURE; `max_bytes` is what Telegram takes."""
        return self._tasks(max_bytes).measuring

    def poller(self, update_health: UpdateHealth | None = None) -> Poller:
        return Poller(self.bot, self.store, self.engine, self.dead_letters, update_health or UpdateHealth())

    def updates(self, application: Any) -> UpdateHandler:
        """Return the task UPDATE."""
        return UpdateHandler(application, self.dead_letters, Apology(self.users, self.translations))

    def recovery(self, deadlines: Deadlines = DEADLINES) -> Recovery:
        return self._tasks(deadlines=deadlines).recovery

    def progress_updates(self) -> ProgressUpdates:
        return self._tasks().progress_updates

    def application(self) -> Any:
        return build_bot(self).application

    async def job(self, job_id: str) -> Job:
        """Return a job, which must exist."""
        job = await self.store.get(job_id)
        assert job is not None
        return job

    async def jobs(self, user_id: int) -> list[Job]:
        return await self.store.jobs_of(user_id)

    async def ordered(self) -> list[tuple[str, str]]:
        """Take all waiting tasks SUBMIT and DELIVER; returns each as (task, argument), in order."""
        taken: list[tuple[str, str]] = []
        for queue, task in ((Queue.SUBMISSIONS, Task.SUBMIT), (Queue.DELIVERIES, Task.DELIVER)):
            taken += [(task.value, argument) for argument in await self.taken(queue, task)]
        return taken

    async def packs(self) -> list[str]:
        """Take all waiting tasks PACK; returns their arguments."""
        return await self.taken(Queue.PACKS, Task.PACK)

    async def taken(self, queue: Queue, task: Task) -> list[str]:
        """Take the tasks that wait in this queue, which are all of this kind; returns their arguments."""
        stream = TASK_STREAM.format(queue)
        waiting: Any = await self._undecoded.xrange(stream)
        for number, message in waiting:
            await self._undecoded.xdel(stream, number)
            await self._undecoded.delete(TASK_RECORD.format(queue, message[b"key"].decode()))
        assert all(message[b"function"].decode() == task for _, message in waiting)
        return [pickle.loads(message[b"args"])[0] for _, message in waiting]

    async def fail(self, job_id: str, failure: Failure) -> None:
        """Fail a job that is being submitted, before the create call if the failure cost nothing."""
        if failure.charged is False:
            await self.store.not_accepted(await self.job(job_id))
        else:
            await self.store.begin_create(job_id)
        assert await self.store.fail(job_id, [JobState.SUBMITTING], failure)

    async def at(self, state: JobState, source: Message, /, **changes: Any) -> Job:
        """Return a job that came to this state in the ordinary way.

        `changes` are those of the new job, and `task_id` and `result`. The default mode is all stems.
        """
        task_id = changes.pop("task_id", "task-1")
        result = changes.pop("result", None)
        usual: dict[str, Any] = {"mode": Mode.SPLIT_STEM, "agreed_price": 50}
        job = replace(new_job(source), **(usual | changes))
        await self.store.add(job, once=job.id)
        steps = [JobState.CHOOSING, JobState.SUBMITTING, JobState.SEPARATING, JobState.DELIVERING]
        depth = steps.index(state)
        if depth >= 1:
            assert await self.store.move(job.id, [JobState.CHOOSING], JobState.SUBMITTING)
        if depth >= 2:
            assert await self.store.begin_create(job.id)
            await self.store.accept(job.id, task_id)
        if depth >= 3:
            await self.store.receive(job.id, job.chat_id, task_id, result or Result(200))
        return await self.job(job.id)


def new_job(source: Message) -> Job:
    """Return the job that the bot makes of a person's message with a song."""
    media = source.media
    assert media is not None
    thumbnail = media.get("thumbnail") or {}
    return Job(
        id=Job.new_id(),
        chat_id=source.chat.id,
        user_id=source.sender.id,
        account=source.sender.id,
        source_message_id=source.message_id,
        source=Source(
            kind=SourceKind(source.kind),
            file_id=media["file_id"],
            file_unique_id=media["file_unique_id"],
            extension=".mp3",
            size_bytes=media["file_size"],
            duration_s=media.get("duration", 0),
            title=media.get("title", "A song"),
            performer=media.get("performer", ""),
            thumbnail_file_id=thumbnail.get("file_id", ""),
        ),
        topic_id=source.thread_id or 0,
    )


def result_of(urls: dict[str, str]) -> Result:
    """Return a success with these stems (key → URL)."""
    return Result(200, tuple(Stem(key, url) for key, url in urls.items()))


def one_authority(directory: Path) -> Path:
    """Write a file with one certificate authority: loading all of them takes each client 50 ms."""
    mark = "-----END CERTIFICATE-----"
    path = directory / "authority.pem"
    path.write_text(Path(certifi.where()).read_text().partition(mark)[0] + mark)
    return path


@asynccontextmanager
async def open_product(
    redis_url: str,
    telegram: Telegram,
    telegram_url: str,
    *,
    api_url: str = NOBODY,
    is_flood_limited: bool = False,
    clock: Clock | None = None,
    **settings: str,
) -> AsyncIterator[Product]:
    """Open all parts; `settings` override the usual ones.

    Flood limits hold only if `is_flood_limited`, by `clock` if it is given.
    """
    read = load_settings(
        {
            "TELEGRAM_BOT_TOKEN": telegram.token,
            "TELEGRAM_API_URL": telegram_url,
            "SEPARATION_API_URL": api_url,
            "SEPARATION_API_KEY": KEY,
            "SECRET_KEY": SECRET,
            "PUBLIC_URL": PUBLIC_URL,
            "REDIS_URL": redis_url,
            "ACCESS": "open",
            **settings,
        }
    )
    telegram.flood.is_enforced = is_flood_limited
    flood_clock = clock if is_flood_limited else _NeverBusy()
    clock = clock or Clock()
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connect(redis_url))
        engine = await stack.enter_async_context(Engine(redis_url))
        http = await stack.enter_async_context(
            httpx.AsyncClient(timeout=WAIT_S, trust_env=False, verify=False)
        )
        product = Product(
            read,
            redis,
            engine,
            http=http,
            api_http=http,
            clock=clock,
            flood_clock=flood_clock,
            source_clock=clock,
        )
        product.telegram, product.closing = telegram, stack
        product.job_message.reactions = None  # reactions would come in the background, between any two calls
        stack.push_async_callback(product.bot.shutdown)
        await _introduce(product.bot, telegram)
        yield product


async def _introduce(bot: ExtBot[Any], telegram: Telegram) -> None:
    """Tell the bot who it is, as `initialize` does, but without the call in which it asks Telegram."""
    answer = await get_me(telegram, Call("getMe", {}, {}, checkpoint))
    bot._bot_user = BotUser.de_json(answer, bot)
    bot._requests_initialized = bot._bot_initialized = True


class BotRoom:
    """A bot that handles people's updates in order, when the test lets it."""

    def __init__(self, product: Product, application: Any) -> None:
        self.product = product
        self.telegram = product.telegram
        self.application = application
        self._handler = product.updates(application)
        self.telegram.updates.allowed_kinds = ALLOWED_UPDATES
        self._offset = 0
        self._last = ""

    async def handle(self, received_at: float | None = None) -> None:
        """Fetch and handle updates until none wait, as if received at `received_at` (Unix seconds)."""
        dated = {} if received_at is None else {"received_at": received_at}
        while updates := await self.telegram.updates.poll(self._offset, 100, 0):
            for update in updates:
                self._last = json.dumps({**update, **dated})
                with suppress(TryLater):  # the engine would run it again
                    await self._handler.run(self._last)
                self._offset = update["update_id"] + 1

    async def handle_stored(self, update_json: str) -> None:
        """Handle an update that the product itself has stored."""
        await self._handler.run(update_json)

    async def handle_again(self) -> None:
        """Handle the last update once more, as after a bad moment, or a crash."""
        await self._handler.run(self._last)

    async def sends(self, user: User, path: Path, **how: Any) -> Message:
        """Send a person's file to their private chat or to `chat_id`, and let the bot handle it."""
        chat_id = how.pop("chat_id", user.id)
        user_id = None if chat_id == user.id else user.id
        message = await self.telegram.send_file(chat_id, path, user_id=user_id, **how)
        await self.handle()
        return message

    async def says(self, user: User, text: str, **how: Any) -> list[Message]:
        """Send a person's text, and let the bot handle it; returns the bot's messages after it."""
        chat_id = how.pop("chat_id", user.id)
        in_group = {} if chat_id == user.id else {"user_id": user.id}
        message = self.telegram.send_text(chat_id, text, **in_group, **how)
        await self.handle()
        return self.after(message)

    async def again(self, query: CallbackQuery) -> None:
        """Let the bot handle a tap once more, as after a crash."""
        self.telegram.updates.add("callback_query", query.to_dict())
        await self.handle()

    async def forges(self, message: Message, data: str, user: User) -> CallbackQuery:
        """Press a button that the message does not show, as an old client or a forger may do."""
        query = CallbackQuery(f"{len(self.telegram.queries) + 1}", user, message, data, self.telegram.clock())
        self.telegram.queries[query.id] = query
        await self.again(query)
        assert query.is_answered
        return query

    async def taps(self, message: Message, number: int, user: User | None = None) -> CallbackQuery:
        """Press the n-th button (negative: from the end); the bot handles it."""
        data = message.buttons[number]["callback_data"]
        chat = message.chat
        user_id = user.id if user else None
        query = self.telegram.tap(chat.id, message.message_id, data, user_id=user_id)
        await self.handle()
        assert query.is_answered
        return query

    async def presses(self, message: Message, label: str, user: User | None = None) -> CallbackQuery:
        """Press the first button whose label holds this; the bot handles it."""
        labels = [button["text"] for button in message.buttons]
        found = [number for number, text in enumerate(labels) if label in text]
        assert found, labels
        return await self.taps(message, found[0], user)

    def after(self, message: Message) -> list[Message]:
        """Return the bot's messages in that chat after this one."""
        shown = self.telegram.bot_messages(message.chat.id)
        return [found for found in shown if found.message_id > message.message_id]

    async def other_menu(self, user: User, song: Path, **how: Any) -> Message:
        """Like `menu`, for another song of the same length and title: a repeated song shares its split."""
        with TemporaryDirectory() as folder:
            other = anyio.Path(folder, song.name)
            await other.write_bytes(await anyio.Path(song).read_bytes() + secrets.token_bytes(8))
            return await self.menu(user, Path(other), **how)

    async def menu(self, user: User, song: Path, **how: Any) -> Message:
        """Send a person's song; returns the bot's message with the modes."""
        sent = await self.sends(user, song, **how)
        (menu,) = self.after(sent)
        return menu


async def until(what: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    """Wait until the condition holds, by checking it every 10 ms; raises `TimeoutError`."""
    with anyio.fail_after(timeout_s):
        while not what():  # noqa: ASYNC110
            await anyio.sleep(0.01)
