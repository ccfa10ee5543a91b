"""Translates Telegram's errors into those with which a task that writes into a job's chat ends."""

import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx
from telegram.error import ChatMigrated, TelegramError

from stemdrop.chat.refusals import is_gone, obstacle_of, wait_s
from stemdrop.domain.jobs import Job, Obstacle
from stemdrop.errors import StemdropError, TryLater
from stemdrop.storage.job_store import JobStore

log = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 300

_Answer = TypeVar("_Answer")


class Limited(TryLater):
    """Telegram's limits delay a message; the run that was stopped by that does not count."""


class ChatClosed(StemdropError):
    """The chat takes no such message now because of `obstacle`; `None` means that the chat is gone."""

    def __init__(self, obstacle: Obstacle | None, why: str) -> None:
        super().__init__(why)
        self.obstacle = obstacle


@asynccontextmanager
async def chat_errors(job: Job, store: JobStore, run: int) -> AsyncIterator[None]:
    """Raise `ChatClosed` or `TryLater` for the errors of the block; the pause grows with `run`.

    Also moves the job to the supergroup that its group became.
    """
    pause_s = min(2.0**run, _LONGEST_PAUSE_S)
    try:
        yield
    except ChatMigrated as error:
        log.info("job %s: its group became the supergroup %d", job.id, error.new_chat_id)
        await store.migrate(job, error.new_chat_id)
        raise TryLater(0.1, "the group became a supergroup") from error
    except TelegramError as error:
        obstacle = obstacle_of(error)
        if obstacle or is_gone(error):
            raise ChatClosed(obstacle, str(error)) from error
        pause_s = wait_s(error, pause_s)
        raise TryLater(pause_s, f"Telegram: {type(error).__name__}: {error}") from error
    except httpx.HTTPError as error:  # its text may hold a URL with the bot's token
        raise TryLater(pause_s, f"a stem broke off: {type(error).__name__}") from error


async def uncounted(sending: Awaitable[_Answer]) -> _Answer:
    """Wait for a message to be sent. Raises `Limited` where Telegram's limits delay it."""
    try:
        return await sending
    except TryLater as error:
        raise Limited(error.after_s, str(error)) from error
