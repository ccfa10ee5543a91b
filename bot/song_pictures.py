"""Sends a picture of a song, with a lane for each stem, when the user asks for it on the mixing desk."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from telegram import Message, ReplyParameters
from telegram.error import BadRequest
from telegram.ext import ExtBot

from stemdrop.chat.rendering import short_title
from stemdrop.chat.replies import send_in_topic
from stemdrop.chat.song_picture import draw_lanes, square_of
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Job
from stemdrop.domain.peaks import decode_peaks
from stemdrop.domain.results import Stem
from stemdrop.domain.titles import MAX_CAPTION, MAX_NAME, cut, in_sentence
from stemdrop.services.song_measures import SongMeasures

log = logging.getLogger(__name__)

# After this time Telegram takes no answer to a tap any more.
TAP_PATIENCE_S = 10.0
_LOOK_EVERY_S = 0.4

Lanes = list[tuple[Stem, bytes]]


@dataclass(frozen=True, slots=True)
class SongPictures:
    """Draws songs from the peaks of their stems, which a worker measures before the first picture."""

    measures: SongMeasures

    async def lanes(self, job: Job) -> Lanes | None:
        """Return the measured stems of a job with their peaks; an empty list if nothing can be measured.

        `None` if the measurement takes longer than a tap can wait for its answer.
        """
        measures = await self.measures.get(job)
        with suppress(TimeoutError):
            async with asyncio.timeout(TAP_PATIENCE_S):
                while measures is None:
                    await asyncio.sleep(_LOOK_EVERY_S)
                    measures = await self.measures.get(job)
        if measures is None or job.result is None:
            return None if measures is None else []
        found = [(stem, decode_peaks(measures.peaks.get(stem.key, ""))) for stem in job.result.stems]
        return [(stem, peaks) for stem, peaks in found if peaks]

    async def send(self, bot: ExtBot[float], job: Job, lanes: Lanes, translate: Language) -> None:
        """Send the picture in the job's topic; a chat that takes no photos is logged."""
        picture = await asyncio.to_thread(draw_lanes, [peaks for _, peaks in lanes])
        caption = _caption(job, [stem for stem, _ in lanes], translate)

        async def send(topic_id: int | None, reply: ReplyParameters | None) -> Message:
            return await bot.send_photo(
                job.chat_id, picture, caption=caption, message_thread_id=topic_id, reply_parameters=reply
            )

        try:
            await send_in_topic(job, send)
        except BadRequest as error:
            log.info("job %s: its picture is not taken: %s", job.id, error)


def _caption(job: Job, stems: list[Stem], translate: Language) -> str:
    """Name the song, and its lanes from top to bottom by the colours of their squares."""
    names = [
        f"{square_of(number)} {in_sentence(translate.stem(stem), MAX_NAME)}"
        for number, stem in enumerate(stems)
    ]
    return cut("\n".join([f"🎵 {short_title(job, translate)}", *names]), MAX_CAPTION)
