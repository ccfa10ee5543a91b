"""How everything about a job is sent: as a reply to the user's audio, in its topic."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from telegram import ReplyParameters
from telegram.error import BadRequest

from stemdrop.jobs import Job

Sent = TypeVar("Sent")


def reply_to_source(job: Job) -> ReplyParameters:
    """A reply to the user's audio, or no reply where they deleted it."""
    return ReplyParameters(job.source_message_id, allow_sending_without_reply=True)


async def send_in_topic(job: Job, send: Callable[[int | None], Awaitable[Sent]]) -> Sent:
    """Send in the job's topic; where that was closed or deleted, in the group itself."""
    try:
        return await send(job.topic_id or None)
    except BadRequest as error:
        if not job.topic_id or not _is_topic_gone(error):
            raise
    return await send(None)


def _is_topic_gone(error: BadRequest) -> bool:
    words = str(error).lower()
    return "thread not found" in words or "topic_closed" in words or "topic_deleted" in words
