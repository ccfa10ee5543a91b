"""Reactions to a user's song: one when the song was taken, another when its stems are there."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from telegram.constants import ReactionEmoji
from telegram.error import BadRequest, InvalidToken, RetryAfter, TelegramError
from telegram.ext import ExtBot

from stemdrop.domain.jobs import Job, JobState
from stemdrop.errors import StemdropError

log = logging.getLogger(__name__)

TAKEN, DONE = ReactionEmoji.EYES.value, ReactionEmoji.PARTY_POPPER.value


@dataclass
class Reactions:
    """Reacts in private chats, in the background; a server that refuses reactions is not asked again."""

    bot: ExtBot[float]
    clock: Callable[[], float] = time.monotonic
    is_refused: bool = False
    _not_before: float = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def show(self, job: Job) -> None:
        """React to the job's song as its state asks; returns at once."""
        emoji = _emoji(job)
        is_possible = job.chat_id > 0 and job.source_message_id and not self.is_refused
        if emoji is None or not is_possible or self.clock() < self._not_before:
            return
        task = asyncio.create_task(self._set(job, emoji))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _set(self, job: Job, emoji: str) -> None:
        try:
            await self.bot.set_message_reaction(job.chat_id, job.source_message_id, emoji or [])
        except RetryAfter as error:
            self._not_before = self.clock() + error._retry_after.total_seconds()
        except InvalidToken as error:  # the library's name for 404: the server does not know the method
            self._refuse(error)
        except BadRequest as error:
            if "reaction_invalid" in str(error).lower():
                self._refuse(error)
            log.debug("job %s: no reaction: %s", job.id, error)
        # The library raises `RuntimeError` when the process is being stopped.
        except (TelegramError, StemdropError, RuntimeError) as error:
            log.debug("job %s: no reaction: %s", job.id, error)

    def _refuse(self, error: TelegramError) -> None:
        self.is_refused = True
        log.info("Telegram's server takes no reactions, so none are sent: %s", error)


def _emoji(job: Job) -> str | None:
    """Return the reaction for the job's state; an empty one removes it, and `None` changes nothing."""
    match job.state:
        case JobState.DELIVERED:
            return DONE
        case JobState.FAILED | JobState.CANCELLED:
            return ""
        case JobState.DELIVERING:
            return None
    return TAKEN if not job.message_id else None
