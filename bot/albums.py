"""Gives songs that are sent together (an album) one menu, once no more of them has come for a second."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx
from telegram import Message, Update
from telegram.error import BadRequest, ChatMigrated, TelegramError

from bot.album_menu import AlbumMenu
from bot.context import Context
from bot.sources import name_of, source_of
from bot.uploads import Uploads, explain, make_job, post_of
from stemdrop.chat.refusals import is_gone
from stemdrop.chat.translations import Translations
from stemdrop.domain.jobs import JobState, Source, SourceKind
from stemdrop.errors import SourceUnusable, TryLater
from stemdrop.storage.albums import Album, AlbumFile, Albums, Asker
from stemdrop.storage.job_store import JobStore
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)

# Telegram sends the songs of an album as separate updates and does not say how many they are.
GATHER_S = 1.0
# A song that could not be checked within this time is refused.
CHECK_FOR_S = 600.0
_AGAIN_S = 5.0


@dataclass(frozen=True, kw_only=True)
class AlbumChats:
    """The handlers of an album's songs, and the task `ALBUM`, which shows its `menu`."""

    albums: Albums
    store: JobStore
    engine: Engine
    uploads: Uploads
    menu: AlbumMenu
    translations: Translations
    clock: Callable[[], float] = time.time

    async def receive(self, update: Update, context: Context) -> None:
        """Take a song in a private chat, alone or as part of an album."""
        message = update.effective_message
        if message and message.media_group_id:
            await self.join(message, message, context, is_asked=True)
        else:
            await self.uploads.receive(update, context)

    async def join(self, song: Message, request: Message, context: Context, *, is_asked: bool) -> bool:
        """Add a file to its album; with `is_asked`, `request` asks for the whole album. Idempotent.

        False: the request is a reply to an album for which another message has asked already.
        """
        translate, key = context.translate, f"{song.chat_id}:{song.media_group_id}"
        user_id = 0 if request.sender_chat else context.person.id
        sender = song.from_user.id if song.from_user and not song.sender_chat else 0
        source = source_of(song)
        other = Source(SourceKind.DOCUMENT, "", "", "", title=name_of(song))
        draft = make_job(song, request, sender, source or other, translate)
        await self.albums.join(key, draft, post_of(song), "" if source else translate("other.document"))
        asking = Asker(user_id, translate.code, request.message_id) if is_asked else None
        asker = await self.albums.ask(key, asking)
        if asker:
            if asking and asker.request_id != asking.request_id and request is not song:
                return False
            # under its own key: a task that is about to end would not see this song
            argument = f"{key}:{request.message_id}"
            await self.engine.add(Task.ALBUM, argument, argument)
        return True

    async def run(self, argument: str) -> None:
        """Check the songs of an album and show its menu, in one process at a time. Raises `TryLater`."""
        key = argument.rpartition(":")[0]
        album = await self.albums.get(key)
        if album is None or album.asker is None:
            return
        left_s = album.joined_at + GATHER_S - self.clock()
        if 0 < left_s <= GATHER_S:  # more only where the clocks of two bots differ, or one was set back
            raise TryLater(left_s, "more songs of the album may come")
        async with self.store.sending(f"album:{key}"):
            try:
                await self._gather(key)
            except ChatMigrated:
                await self.albums.close(key)
                raise TryLater(_AGAIN_S, "the group became a supergroup: each song gets its menu") from None
            except TelegramError as error:
                if not (isinstance(error, BadRequest) or is_gone(error)):
                    raise TryLater(_AGAIN_S, f"Telegram: {type(error).__name__}: {error}") from error
                log.warning("album %s: its menu cannot be shown: %s", key, error)

    async def _gather(self, key: str) -> None:
        album = await self.albums.get(key)
        if album is None or album.asker is None or not await self._is_first(key, album):
            return
        asker = album.asker
        for file in album.files:
            if file.is_waiting:
                is_late = self.clock() > album.joined_at + CHECK_FOR_S
                if not await self._check(key, file, asker, is_late=is_late):
                    return
        if album := await self.albums.get(key):
            await self.menu.show(key, album, self.translations.language(asker.language))

    async def _is_first(self, key: str, album: Album) -> bool:
        """Return whether no other copy of this album has the menu.

        Telegram copies the posts of a channel to its discussion group.
        """
        return not key.startswith("-") or await self.albums.claim(album.files[0].post, key)

    async def _check(self, key: str, file: AlbumFile, asker: Asker, *, is_late: bool) -> bool:
        """Give the song a job, or a refusal. False: its album was deleted meanwhile."""
        translate, number = self.translations.language(asker.language), file.song.source_message_id
        account = asker.user_id or file.song.chat_id
        job = replace(file.song, user_id=asker.user_id, account=account, language=translate.code)
        try:
            if is_late:
                return await self.albums.end(key, number, refusal=translate("trouble"))
            job = await self.uploads.checked(job)
        except SourceUnusable as error:
            log.info("a song of album %s was refused: %s", key, error.reason)
            return await self.albums.end(key, number, refusal=explain(error, translate))
        except httpx.HTTPError as error:  # the error's text may hold a URL with the bot's token
            raise TryLater(_AGAIN_S, f"a song broke off: {type(error).__name__}") from error
        job_id = await self.store.add(job, file.post)
        is_kept = await self.albums.end(key, number, job_id=job_id)
        if not is_kept:
            await self.store.forget(job_id, only_in=JobState.CHOOSING)
        return is_kept
