"""The world on loopback: Redis, the local Telegram, the separator, and the product's own processes in it.

async with World(directory) as world:
    await world.start("up")
    alice = world.telegram.add_user("Alice")
"""

import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from sandbox.app import run_telegram
from sandbox.process import Process
from sandbox.redis_server import RedisServer
from sandbox.state import Telegram

# How often each command says 'ready' in its log.
_READY = {"up": 3, "bot": 1, "webhook": 1, "worker": 1}


class World:
    """Everything that the product needs from outside, and nothing of the machine's own.

    `settings` override the product's settings; `environment` is searched for REDIS_URL and PATH. With
    `separator` False none is started, and SEPARATION_API_URL is for `settings` to name.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        local_mode: bool = False,
        separator: bool = True,
    ) -> None:
        self.directory = directory
        self.redis = RedisServer(directory / "redis", environment=environment)
        self.telegram = Telegram(directory / "telegram", local=local_mode)
        self.telegram_url = ""
        self._settings = dict(settings or {})
        self._local_mode = local_mode
        self._key = secrets.token_urlsafe(18)
        self._secret = secrets.token_urlsafe(24)
        self._with_separator = separator
        self._separator_url = ""
        self._port = _free_port()
        self._processes: list[Process] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._stack.enter_async_context(self.redis)
            self.telegram_url = await self._stack.enter_async_context(run_telegram(self.telegram))
            self._stack.push_async_callback(self._stop_all)
            if self._with_separator:
                await self._start_separator()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @property
    def public_url(self) -> str:
        """Where the product's webhook listens."""
        return f"http://127.0.0.1:{self._port}"

    def environment(self) -> dict[str, str]:
        """What the product's processes are given: these settings and no others."""
        return {
            "PATH": os.environ.get("PATH", ""),
            "TELEGRAM_BOT_TOKEN": self.telegram.token,
            "TELEGRAM_API_URL": self.telegram_url,
            "TELEGRAM_LOCAL_MODE": str(self._local_mode).lower(),
            "SEPARATION_API_URL": self._separator_url,
            "SEPARATION_API_KEY": self._key,
            "PUBLIC_URL": self.public_url,
            "SECRET_KEY": self._secret,
            "REDIS_URL": self.redis.url,
            "LISTEN_HOST": "127.0.0.1",
            "LISTEN_PORT": str(self._port),
            **self._settings,
        }

    async def start(self, command: str, name: str = "") -> Process:
        """Start one of `up`, `bot`, `webhook`, `worker` and wait until it is ready."""
        process = self._process([command], self.environment(), name or command)
        process.start()
        await process.wait_for(r"\bready\b", _READY[command])
        return process

    def logs(self) -> str:
        """Everything that the processes have written."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))

    async def _start_separator(self) -> None:
        data = str(self.directory / "separator")
        arguments = ["separator", "--host", "127.0.0.1", "--port", "0", "--data", data]
        environment = {"PATH": os.environ.get("PATH", ""), "SEPARATION_API_KEY": self._key}
        process = self._process(arguments, environment, "separator")
        process.start()
        ready = await process.wait_for(r"separator ready at (http://\S+)")
        self._separator_url = ready.group(1)

    def _process(self, arguments: list[str], environment: Mapping[str, str], name: str) -> Process:
        self.directory.mkdir(parents=True, exist_ok=True)
        process = Process(arguments, environment, self.directory / f"{name}.log")
        self._processes.append(process)
        return process

    async def _stop_all(self) -> None:
        for process in reversed(self._processes):
            await process.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
