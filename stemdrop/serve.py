"""Runs the roles bot, webhook and worker of one process, and stops them cleanly."""

import asyncio
import logging
import signal
from collections.abc import Callable
from enum import StrEnum

from bot.update_health import UpdateHealth
from stemdrop.services.disk_space import BOT_MIN_FREE_BYTES, WORKER_MIN_FREE_BYTES, shortage
from stemdrop.settings import SHORT_KEY, Settings
from stemdrop.storage.heartbeats import send_heartbeats
from stemdrop.wiring import Parts, open_parts

log = logging.getLogger(__name__)


class Role(StrEnum):
    BOT = "bot"
    WEBHOOK = "webhook"
    WORKER = "worker"


async def serve(settings: Settings, roles: set[Role]) -> None:
    """Run the roles until SIGTERM or SIGINT. Raises `SettingsError` for a setting that fails in use.

    Examples are a password that Redis refuses, a token that Telegram refuses, and a port that is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    async with open_parts(settings, stop) as parts:
        if stop.is_set():  # Redis may not have answered
            return
        if len(settings.secret_key.get_secret_value()) < SHORT_KEY:
            log.warning("SECRET_KEY is short: anyone with a link could guess it and forge other links")
        for warning in settings.warnings:
            log.warning("%s", warning)
        update_health = UpdateHealth()
        run = {
            Role.BOT: lambda: _run_bot(parts, update_health, stop),
            Role.WEBHOOK: lambda: _run_webhook(parts, stop),
            Role.WORKER: lambda: _run_worker(parts, stop),
        }
        troubles: dict[Role, Callable[[], str]] = {
            Role.BOT: lambda: update_health.trouble() or shortage(BOT_MIN_FREE_BYTES),
            Role.WEBHOOK: str,
            Role.WORKER: lambda: shortage(WORKER_MIN_FREE_BYTES),
        }
        tasks = [asyncio.create_task(run[role](), name=role) for role in sorted(roles)]
        heartbeats = send_heartbeats(
            parts.heartbeats, {role.value: troubles[role] for role in sorted(roles)}, stop
        )
        tasks.append(asyncio.create_task(heartbeats, name="heartbeats"))
        try:
            for task in asyncio.as_completed(tasks):
                await task
        finally:
            stop.set()
            await asyncio.gather(*tasks, return_exceptions=True)
    log.info("stopped")


# Each role is imported where it runs, so that a process holds only what its own roles need.


async def _run_bot(parts: Parts, update_health: UpdateHealth, stop: asyncio.Event) -> None:
    from bot.run import run_bot  # noqa: PLC0415

    await run_bot(parts, update_health, stop)


async def _run_webhook(parts: Parts, stop: asyncio.Event) -> None:
    from webhook.run import run_webhook  # noqa: PLC0415

    await run_webhook(parts, stop)


async def _run_worker(parts: Parts, stop: asyncio.Event) -> None:
    from worker.run import run_worker  # noqa: PLC0415

    await run_worker(parts, stop)
