"""Sending in a job's topic, as a reply to the user's audio."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from telegram import ReplyParameters
from telegram.error import BadRequest

from stemdrop.domain.jobs import Job

Sent = TypeVar("Sent")


async def send_in_topic(
    job: Job, send: Callable[[int | None, ReplyParameters | None], Awaitable[Sent]]
) -> Sent:
    """Call `send` with the job's topic and reply, or with none where the topic is closed or gone."""
    source = job.source_message_id
    reply = ReplyParameters(source, allow_sending_without_reply=True) if source else None
    try:
        return await send(job.topic_id or None, reply)
    except BadRequest as error:
        if not job.topic_id or not _is_topic_gone(error):
            raise
    return await send(None, None)  # a reply would go to the topic of what it replies to


def _is_topic_gone(error: BadRequest) -> bool:
    words = str(error).lower()
    return "thread not found" in words or "topic_closed" in words or "topic_deleted" in words
