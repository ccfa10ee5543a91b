"""The local environment with a `Provider` and the product's real processes, for journeys.

    async with open_deployment(folder, "bot", "webhook", "worker") as deployment:
        alice = deployment.person("Alice")
        song, menu = await alice.asks(deployment.song("Blue"), 0)
        ...

When it closes, and after each story that shares it, `end` checks what every story must leave behind.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from chat import Person
from process_pool import ForkedProcess
from provider import KEY, Provider
from tones import mp3
from waits import WAIT_S

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.environment.process import Process
from sandbox.telegram.chats import Message
from sandbox.telegram.errors import QUERY_TOO_OLD
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import JobState
from stemdrop.domain.providers import PROVIDER_NAMES
from stemdrop.storage.circuits import Circuits
from stemdrop.storage.connection import connect
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import SENDING, TASK_STREAM, TURN
from stemdrop.tasks.docket_guards import LEASE_S
from stemdrop.tasks.engine import Queue

# The settings with which `Deployment.second` is asked where `provider` does not split a song.
TWO_PROVIDERS = {"PROVIDERS": "sunoapi,selfhosted"}

# Refusals of Telegram without a fault: two taps on a button show the same text, and a tap that waited for the
# flood limits is answered again.
_ORDINARY = (
    # a process may still know the progress message that another one has replaced by the result
    "message to edit not found",
    "message to delete not found",
    "message is not modified",
    "query is too old",
    "message to react not found",
)


async def until(what: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    """Wait until the condition holds, by checking it every 30 ms; raises `TimeoutError`."""
    async with asyncio.timeout(timeout_s):
        while not what():  # noqa: ASYNC110 - files and processes set no event
            await asyncio.sleep(0.03)


class Deployment:
    """The local environment and the provider of a story.

    `second` is the provider that is asked after `provider`, where the story's settings are `TWO_PROVIDERS`.
    `ordinary` are the refusals of Telegram and lines of the log that this story means to cause.
    """

    def __init__(self, environment: LocalEnvironment, provider: Provider, second: Provider) -> None:
        self.environment = environment
        self.provider = provider
        self.second = second
        self.ordinary: tuple[str, ...] = ()
        self._calls = 0
        self._log_length = 0
        self._refusals = 0
        self.processes: list[Process] = []
        self.redis_url = environment.redis.url  # how this process reaches the jobs
        self.settings: dict[str, str] = {}  # added to the environment's, for processes started from now on

    @property
    def telegram(self) -> Telegram:
        return self.environment.telegram

    @property
    def providers(self) -> tuple[Provider, Provider]:
        return self.provider, self.second

    def song(self, title: str, seconds: float = 1.0) -> Path:
        """Write a short MP3 with this title, unlike any other, and return its path."""
        path = self.environment.directory / f"{title[:20].replace('/', '_')}.mp3"
        mp3(path, seconds, title)
        return path

    def person(self, name: str = "Alice", *, language: str = "en") -> Person:
        """Add a person, in their private chat."""
        return Person(self.telegram, name, language=language)

    async def start(self, *commands: str) -> list[Process]:
        """Start these commands; one may be named several times."""
        names = [f"{command}-{commands[:i].count(command) + 1}" for i, command in enumerate(commands)]
        together = zip(commands, names, strict=True)
        self.processes = await asyncio.gather(
            *(self.environment.start(command, name, self.settings) for command, name in together)
        )
        return self.processes

    async def restart(self) -> None:
        """Kill the processes that were started last and start them again."""
        for process in self.processes:
            process.kill()
        await self.end_leases()
        await self.start(*(process.arguments[0] for process in self.processes))

    async def end_leases(self) -> None:
        """End the leases and locks of all processes now, not seconds later. None of them may still run."""
        async with connect(self.redis_url) as redis:
            for queue in Queue:
                stream = TASK_STREAM.format(queue)
                for group in await redis.xinfo_groups(stream) if await redis.exists(stream) else ():
                    for held in await redis.xpending_range(stream, group["name"], "-", "+", 1000):
                        await redis.xclaim(
                            stream,
                            group["name"],
                            str(held["consumer"]),
                            0,
                            [held["message_id"]],
                            idle=LEASE_S * 1000,
                            justid=True,
                        )
            for pattern in (SENDING.format("*"), TURN.format("*", "*")):
                async for key in redis.scan_iter(match=pattern):
                    await redis.delete(key)

    def texts(self, person: Person) -> list[Message]:
        """Return the bot's text messages in the person's chat."""
        return [shown for shown in self.telegram.bot_messages(person.chat_id) if shown.kind == "text"]

    def menu_of(self, song: Message) -> Message:
        """Return the bot's message that answers this song."""
        shown = self.telegram.bot_messages(song.chat.id)
        return next(message for message in shown if message.reply_to is song)

    async def accepted(self, count: int = 1) -> None:
        """Wait until the provider has accepted so many jobs of this story."""
        await until(lambda: len(self.provider.creates) >= count)

    async def separating(self, count: int = 1) -> None:
        """Wait until so many jobs are stored as separating; their messages say so sooner."""
        async with asyncio.timeout(WAIT_S), self.store() as store:
            while sum(job.state is JobState.SEPARATING for job in await store.open_jobs()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.03)

    async def close_circuits(self) -> None:
        """Let the product ask each provider again, whatever has failed there."""
        async with connect(self.redis_url) as redis:
            for name in PROVIDER_NAMES:
                await Circuits(redis).succeeded(name)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[JobStore]:
        """Open the store of jobs."""
        async with connect(self.redis_url) as redis:
            yield JobStore(redis)

    async def age_jobs(self, seconds: float, *, only_lost: bool = False) -> None:
        """Move the times of open jobs back by so many seconds, or only of those with a lost create answer."""
        await self.tasks_rest()  # a task that still notes when it showed the message would undo this
        async with self.store() as store:
            for job in await store.open_jobs():
                if job.answer_lost_at or not only_lost:
                    names = ("create_started_at", "picked_at", "moved_at", "shown_at", "polled_at")
                    times = {name: getattr(job, name) - seconds for name in names if getattr(job, name)}
                    await store.set(job.id, **times)
                    await store.reopen(job.id)  # due at once

    async def age_lost_answers(self, seconds: float = 121) -> None:
        """Let so much time pass for jobs that have lost the answer to their create call."""
        await self.age_jobs(seconds, only_lost=True)

    async def jobs_rest(self, wait_s: float = WAIT_S) -> None:
        """Wait until every job has ended and its user was told, or waits for its user to choose."""
        async with asyncio.timeout(wait_s), self.store() as store:
            while any(job.state is not JobState.CHOOSING for job in await store.open_jobs()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def tasks_rest(self, wait_s: float = WAIT_S) -> None:
        """Wait until no task waits or runs, so that every message has been written."""
        async with asyncio.timeout(wait_s), connect(self.redis_url) as redis:
            while any([await redis.xlen(f"{queue}:stream") for queue in Queue]):  # noqa: ASYNC110
                await asyncio.sleep(0.03)

    def begin(self) -> None:
        """Begin a new story: clear all faults and ignore earlier calls and log lines."""
        self.provider.clear()
        self.telegram.faults.clear()
        self.ordinary = ()
        self._calls = self.telegram.calls.last_number
        self._log_length = len(self.environment.logs())
        self._refusals = self.telegram.flood_refusals

    async def end(self) -> None:
        """Check that jobs rest, taps are answered, and nothing was refused or failed without a fault."""
        telegram = self.telegram
        await self.jobs_rest()
        await telegram.wait_for(lambda: not self._unanswered_taps())
        assert telegram.flood_refusals == self._refusals
        expected = (*_ORDINARY, *self.ordinary)
        calls = [call for _, call in telegram.calls.after(self._calls)]
        refused = [call for call in calls if call.status != 200 and not call.fault]
        told = [f"{call.method} → {call.status} {call.description}" for call in refused]
        assert [line for line in told if not any(word in line for word in expected)] == []
        lines = self.environment.logs()[self._log_length :].splitlines()
        bad = [line for line in lines if " ERROR " in line or "Traceback" in line]
        assert [line for line in bad if not any(word in line for word in expected)] == []

    def _unanswered_taps(self) -> list[str]:
        """Return the ids of taps that were not answered, not even too late, as where Telegram hangs."""
        calls = [call for _, call in self.telegram.calls.after(self._calls)]
        late = [call.parameters for call in calls if QUERY_TOO_OLD in call.description]
        known = {parameters.get("callback_query_id") for parameters in late}
        return [query.id for query in self.telegram.unanswered_queries if query.id not in known]


@asynccontextmanager
async def _second_provider(stem: bytes, settings: Mapping[str, str]) -> AsyncIterator[Provider]:
    """Yield the second provider, which runs only if it is asked. It is cheaper: dearer ones are not asked."""
    second = Provider(stem)
    second.abilities = {"modes": {"separate_vocal": {"credits": 6}, "split_stem": {"credits": 30}}}
    if settings.get("PROVIDERS") != TWO_PROVIDERS["PROVIDERS"]:
        yield second
        return
    async with second.run():
        yield second


@asynccontextmanager
async def open_deployment(
    folder: Path, *commands: str, local_mode: bool = False, **settings: str
) -> AsyncIterator[Deployment]:
    """Open an environment with these processes; `settings` are added to those that name the provider."""
    tone = mp3(folder / "tone.mp3")
    async with Provider(tone).run() as provider, _second_provider(tone, settings) as second:
        named = {"SEPARATION_API_URL": provider.url, "SEPARATION_API_KEY": KEY, "LOG_LEVEL": "DEBUG"}
        if second.url:
            named |= {"SELFHOSTED_API_URL": second.url, "SELFHOSTED_API_KEY": KEY}
        async with LocalEnvironment(
            folder / "environment",
            settings=named | settings,
            separator=False,
            local_mode=local_mode,
            process=ForkedProcess,
        ) as environment:
            deployment = Deployment(environment, provider, second)
            if commands:
                await deployment.start(*commands)
            yield deployment
            await deployment.end()
