"""All of stemdrop on loopback: Redis, the local Telegram, the separator, and stemdrop's own processes.

async with LocalEnvironment(directory) as environment:
    await environment.start("up")
    alice = environment.telegram.add_user("Alice")
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError

from sandbox.bench.bench import Bench
from sandbox.environment.kept_folder import Identity, KeptFolder
from sandbox.environment.process import Process
from sandbox.environment.redis_server import RedisServer, RedisUnavailableError
from sandbox.page.routes import PageLink
from sandbox.telegram.app import run_telegram
from sandbox.telegram.person_actions import Telegram
from sandbox.telegram.saved_state import close_telegram, open_telegram

# The number of lines with "ready" in each command's log as soon as it is ready.
_READY = {"up": 3, "bot": 1, "webhook": 1, "worker": 1}
# stemdrop's keys, and the key by which one sandbox at a time claims an external Redis.
_KEYS, _CLAIM = "stemdrop:*", "stemdrop:sandbox"
# After a million keys without one of ours the search gives up and counts the Redis as taken.
_SCAN_COUNT, _SCAN_ROUNDS = 1000, 1000
_REDIS_ANSWER_S = 10
# These name the engine and the folder of its model.
_SEPARATOR_VARIABLES = ("PATH", "HOME", "XDG_CACHE_HOME", "STEMDROP_MODELS", "ENGINE")


class LocalEnvironment:
    """Everything that stemdrop needs, isolated from the machine's own settings.

    `settings` override stemdrop's settings. REDIS_URL and PATH come from `environment`. Without a separator
    `settings` must have SEPARATION_API_URL; with `charges` the separator has a paid provider's prices. With
    `bench` the page's bench is between stemdrop and the separator. `process` is the class of all processes.

    The processes run in `directory`, so that they do not read the caller's `.env`. An external Redis must
    hold no keys of stemdrop (else `RedisUnavailableError`), and holds none after the block.

    With `keeps_data` the next environment of this directory goes on where this one ended. Raises
    `DatabaseError` when that is impossible.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        local_mode: bool = False,
        separator: bool = True,
        charges: bool = False,
        bench: bool = False,
        process: type[Process] = Process,
        keeps_data: bool = False,
    ) -> None:
        directory = directory.absolute()
        self.directory = directory
        self.redis = RedisServer(directory / "redis", environment=environment)
        self._kept = KeptFolder(directory) if keeps_data else None
        self._identity = self._kept.identity if self._kept else Identity()
        self.telegram = (
            open_telegram(self._kept.database, directory / "telegram", local=local_mode)
            if self._kept
            else Telegram(directory / "telegram", local=local_mode)
        )
        self.page = PageLink(self.telegram.access_key)
        self.telegram_url = ""
        self.bench = Bench(self.telegram) if bench else None
        self._settings = dict(settings or {})
        self._local_mode = local_mode
        self._with_separator = separator
        self._charges = charges
        self._separator_url = ""
        self._separator_process: Process | None = None
        self.process_class = process
        self._processes: list[Process] = []
        self._pass_fds: tuple[int, ...] = ()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            if self._kept is not None:
                await self._take_folder(self._kept)
            self.page.web_apps = self.public_url
            await self._start_redis()
            self.telegram_url = await self._stack.enter_async_context(
                run_telegram(
                    self.telegram,
                    self._identity.page_port,
                    with_chat_api=True,
                    link=self.page,
                    bench=self.bench,
                )
            )
            if self.bench:
                self.bench.callbacks.target_url = self.public_url
                await self._stack.enter_async_context(self.bench.run(self.redis.url))
            self._stack.push_async_callback(self._stop_all)
            if self._with_separator:
                await self._start_separator()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._end()

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self._identity.webhook_port}"

    @property
    def separator(self) -> Process:
        """The separator's process. Raises RuntimeError without one."""
        if self._separator_process is None:
            raise RuntimeError("no separator was started")
        return self._separator_process

    def variables(self) -> dict[str, str]:
        """Return the environment variables of stemdrop's processes, which get no others."""
        return {
            "PATH": os.environ.get("PATH", ""),
            "TELEGRAM_BOT_TOKEN": self.telegram.token,
            "TELEGRAM_API_URL": self.telegram_url,
            "TELEGRAM_LOCAL_MODE": str(self._local_mode).lower(),
            "SEPARATION_API_URL": self._separator_url,
            "SEPARATION_API_KEY": self._identity.separation_api_key,
            "PUBLIC_URL": self.public_url,
            "SECRET_KEY": self._identity.secret_key,
            "REDIS_URL": self.redis.url,
            "LISTEN_HOST": "127.0.0.1",
            "LISTEN_PORT": str(self._identity.webhook_port),
            "ACCESS": "open",
            **self._detour(),
            **self._settings,
        }

    def _detour(self) -> dict[str, str]:
        """Return the settings that lead API calls through the bench; stems are downloaded directly."""
        if self.bench is None:
            return {}
        return {
            "SEPARATION_API_URL": f"{self.telegram_url}/separation",
            "STEM_HOSTS": urlsplit(self._separator_url).netloc,
        }

    async def start(self, command: str, name: str = "", settings: Mapping[str, str] | None = None) -> Process:
        """Start `up`, `bot`, `webhook` or `worker` with a log of this name, and wait until it is ready."""
        environment = {**self.variables(), **(settings or {})}
        process = self._process([command], environment, name or command)
        process.start()
        await process.wait_for(r"\bready\b", _READY[command])
        return process

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))

    async def _end(self) -> None:
        """Stop everything. A cancellation meanwhile is raised after that, so that nothing is left running."""
        ending = asyncio.create_task(self._stack.aclose())
        cancelled: asyncio.CancelledError | None = None
        while not ending.done():
            try:
                await asyncio.wait([ending])
            except asyncio.CancelledError as error:
                cancelled = error
        ending.result()
        if cancelled:
            raise cancelled

    async def _take_folder(self, kept: KeptFolder) -> None:
        self._stack.callback(kept.close)
        self._stack.callback(close_telegram, self.telegram, kept.database)
        await kept.take()
        self.redis.pass_fds = self._pass_fds = (kept.lock,)
        for name in (*_READY, "separator"):  # the folder may hold other logs, too
            (self.directory / f"{name}.log").unlink(missing_ok=True)

    async def _start_redis(self) -> None:
        # The thread goes on when this task is cancelled, so the clean-up waits for it first.
        starting = asyncio.ensure_future(asyncio.to_thread(self.redis.start))

        async def stop() -> None:
            await asyncio.wait([starting])
            await asyncio.to_thread(self.redis.stop)

        self._stack.push_async_callback(stop)
        await asyncio.wait([starting])
        starting.result()
        if self.redis.is_external:
            if self._kept is None:
                self._stack.push_async_callback(self._release_redis)
            await self._claim_redis()

    async def _claim_redis(self) -> None:
        try:
            async with _client(self.redis.url) as redis:
                claim = self._identity.redis_claim
                if await redis.get(_CLAIM) == claim:
                    return  # an earlier sandbox kept its data there
                if not await _is_free(redis) or not await redis.set(_CLAIM, claim, nx=True):
                    raise RedisUnavailableError(
                        "REDIS_URL names a Redis with keys of another stemdrop: unset it, or name an empty "
                        "database there (…/15, say)"
                    )
        except ValueError:  # its text may contain the password
            raise RedisUnavailableError(
                "REDIS_URL is not the address of a Redis: unset it, or write redis://host:port/0"
            ) from None
        except (RedisError, OSError) as error:
            raise RedisUnavailableError(
                f"REDIS_URL names a Redis that cannot be used: unset it, or check that server ({error})"
            ) from error

    async def _release_redis(self) -> None:
        """Delete stemdrop's keys, unless another sandbox has the claim."""
        with suppress(RedisError, OSError, ValueError):
            async with _client(self.redis.url) as redis:
                if await redis.get(_CLAIM) == self._identity.redis_claim:
                    async for keys in _scan(redis):
                        if keys:
                            await redis.unlink(*keys)

    async def _start_separator(self) -> None:
        data = str(self.directory / "separator")
        port = str(self._identity.separator_port)
        arguments = ["separator", "--host", "127.0.0.1", "--port", port, "--data", data]
        arguments += ["--charge"] if self._charges else []
        inherited = {name: os.environ[name] for name in _SEPARATOR_VARIABLES if name in os.environ}
        environment = {**inherited, "SEPARATION_API_KEY": self._identity.separation_api_key}
        process = self._process(arguments, environment, "separator")
        process.start()
        ready = await process.wait_for(r"separator ready at (http://\S+)")
        self._separator_url, self._separator_process = ready.group(1), process
        if self.bench:
            self.bench.separation.target_url = self._separator_url

    def _process(self, arguments: list[str], environment: Mapping[str, str], name: str) -> Process:
        self.directory.mkdir(parents=True, exist_ok=True)
        log = self.directory / f"{name}.log"
        process = self.process_class(arguments, environment, log, cwd=self.directory, pass_fds=self._pass_fds)
        self._processes.append(process)
        return process

    async def _stop_all(self) -> None:
        for process in reversed(self._processes):
            await process.stop()


@asynccontextmanager
async def _client(url: str) -> AsyncIterator[Redis]:
    wait_s = _REDIS_ANSWER_S
    async with Redis.from_url(
        url, decode_responses=True, socket_timeout=wait_s, socket_connect_timeout=wait_s
    ) as redis:
        yield redis


async def _scan(redis: Redis) -> AsyncIterator[list[bytes | str]]:
    """Yield stemdrop's keys in batches; many are empty in a Redis with many other keys."""
    cursor = 0
    while True:
        cursor, keys = await redis.scan(cursor, match=_KEYS, count=_SCAN_COUNT)
        yield keys
        if cursor == 0:
            return


async def _is_free(redis: Redis) -> bool:
    """Return whether there is no key of stemdrop; False also when there are too many keys to search."""
    rounds = 0
    async for keys in _scan(redis):
        rounds += 1
        if keys or rounds > _SCAN_ROUNDS:
            return False
    return True
