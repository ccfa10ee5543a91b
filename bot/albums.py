"""Albums: songs that are sent together get one menu, as soon as no more of them has come for a second."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import httpx
from telegram import CallbackQuery, InlineKeyboardMarkup, Message, Update
from telegram.error import BadRequest, ChatMigrated, TelegramError

from bot.context import Context
from bot.job_actions import JobActions
from bot.menu import may_choose
from bot.replies import answer_tap, tapped_words
from bot.sources import name_of, source_of
from bot.uploads import Uploads, explain, make_job, post_of
from stemdrop.chat.album_rendering import Song, digest, price_of, refusals_of, render_album
from stemdrop.chat.callback_data import MODES_BY_LETTER, AlbumAction
from stemdrop.chat.refusals import is_gone
from stemdrop.chat.replies import edit_text, send_text
from stemdrop.chat.translations import Language, Translations
from stemdrop.domain.jobs import Job, JobState, Mode, Source, SourceKind
from stemdrop.errors import SourceUnusable, TryLater
from stemdrop.storage.albums import Album, AlbumFile, AlbumOrder, Albums, Asker
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Users
from stemdrop.tasks.engine import Engine, Task

log = logging.getLogger(__name__)

# Telegram sends the songs of an album as separate updates and does not say how many they are.
GATHER_S = 1.0
# A song that cannot be checked for so long is refused.
CHECK_FOR_S = 600.0
_AGAIN_S = 5.0


@dataclass(frozen=True, kw_only=True)
class AlbumChats:
    """The handlers of an album's songs and buttons, and the task `ALBUM`, which shows its menu."""

    albums: Albums
    store: JobStore
    engine: Engine
    uploads: Uploads
    actions: JobActions
    users: Users
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
        """Add a file to its album, and ask for the whole album where `request` does. Idempotent.

        False: the request replies to an album for which another message has asked already.
        """
        say, key = context.say, f"{song.chat_id}:{song.media_group_id}"
        user_id = 0 if request.sender_chat else context.person.id
        sender = song.from_user.id if song.from_user and not song.sender_chat else 0
        source = source_of(song)
        other = Source(SourceKind.DOCUMENT, "", "", "", title=name_of(song))
        draft = make_job(song, request, sender, source or other, say)
        await self.albums.join(key, draft, post_of(song), "" if source else say("other.document"))
        asking = Asker(user_id, say.code, request.message_id) if is_asked else None
        asker = await self.albums.ask(key, asking)
        if asking and asker != asking and request is not song:
            return False
        if asker:
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
        if left_s > 0:
            raise TryLater(min(left_s, GATHER_S), "more songs of the album may come")
        async with self.store.sending(f"album:{key}"):
            try:
                await self._gather(key, album.asker)
            except ChatMigrated:
                await self.albums.close(key)
                raise TryLater(_AGAIN_S, "the group became a supergroup: each song gets its menu") from None
            except TelegramError as error:
                if not (isinstance(error, BadRequest) or is_gone(error)):
                    raise TryLater(_AGAIN_S, f"Telegram: {type(error).__name__}: {error}") from error
                log.warning("album %s: its menu cannot be shown: %s", key, error)

    async def _gather(self, key: str, asker: Asker) -> None:
        album = await self.albums.get(key)
        if album and not await self._is_first(key, album):
            return
        for file in album.files if album else ():
            if album and file.is_waiting:
                is_late = self.clock() > album.joined_at + CHECK_FOR_S
                await self._check(key, file, asker, is_late=is_late)
        if album := await self.albums.get(key):
            await self._show(key, album, self.translations.language(asker.language))

    async def _is_first(self, key: str, album: Album) -> bool:
        """Whether this is not the copy of a channel's album that has its menu, or the reverse."""
        return not key.startswith("-") or await self.albums.claim(album.files[0].post, key)

    async def _check(self, key: str, file: AlbumFile, asker: Asker, *, is_late: bool) -> None:
        say, number = self.translations.language(asker.language), file.song.source_message_id
        account = asker.user_id or file.song.chat_id
        job = replace(file.song, user_id=asker.user_id, account=account, language=say.code)
        try:
            if is_late:
                await self.albums.end(key, number, refusal=say("trouble"))
                return
            job = await self.uploads.checked(job, number)
        except SourceUnusable as error:
            log.info("a song of album %s was refused: %s", key, error.reason)
            await self.albums.end(key, number, refusal=explain(error, say))
        except httpx.HTTPError as error:  # its text may hold a URL with the bot's token
            raise TryLater(_AGAIN_S, f"a song broke off: {type(error).__name__}") from error
        else:
            job_id = await self.store.add(job, file.post)
            await self.albums.end(key, number, job_id=job_id)

    async def _show(self, key: str, album: Album, say: Language) -> None:
        """Show the album's menu, or the songs' own ones where it has none or is closed."""
        jobs = await self._waiting(album)
        refusals = refusals_of(album, say)
        if jobs and not album.is_closed and (album.message_id or len(jobs) > 1):
            text, keyboard = render_album(_group(key), await self._songs(jobs), refusals, say)
            await self._write(key, album, text, keyboard)
            await self.albums.note_told(key, len(refusals))
            return
        await self.albums.close(key)
        if told := refusals[album.told :]:
            await self._send(album, album.files[0].refusal if len(album.files) == 1 else "\n".join(told))
            await self.albums.note_told(key, len(refusals))
        for job in jobs:
            await self.actions.job_message.show(job)

    async def tap(self, update: Update, context: Context) -> None:
        """Do for all songs what the button says, and only for those that its user has seen in the menu."""
        query, say = update.callback_query, context.say
        if query is None or query.message is None:
            return
        group, *words = tapped_words(query)
        key = f"{query.message.chat.id}:{group}"
        async with self.store.sending(f"album:{key}"):
            album = await self.albums.get(key)
            if album is None or album.asker is None:
                await answer_tap(query, say("tap.stale"))
            elif not await may_choose(query, replace(album.files[0].song, user_id=album.asker.user_id)):
                await answer_tap(query, say("tap.not_yours"))
            else:
                await self._act(query, say, key, album, words)

    async def _act(
        self, query: CallbackQuery, say: Language, key: str, album: Album, words: Sequence[str]
    ) -> None:
        jobs = [job for job in await self._waiting(album) if await self._claim(job, query.from_user.id)]
        jobs = [replace(job, user_id=query.from_user.id, account=query.from_user.id) for job in jobs]
        match words:
            case [AlbumAction.SINGLY]:
                await answer_tap(query, None)
                await self.albums.close(key)
                await self._write(key, album, say("album.one_by_one"), None)
                for job in jobs:
                    await self.actions.job_message.show(job)
            case [AlbumAction.CANCEL]:
                await answer_tap(query, None)
                await self._cancel(key, album, query.from_user.id, query.id)
            case [_, _] if obstacle := await self.uploads.rights.obstacle(album.files[0].song.chat_id):
                await answer_tap(query, say(f"here.{obstacle}"), is_alert=True)
            case [letter, seen] if (jobs or album.order) and (mode := MODES_BY_LETTER.get(letter)):
                await self._pick(query, say, key, album, jobs, mode, seen)
            case _:
                await answer_tap(query, say("tap.stale"))

    async def cancel(self, user_id: int, chat_id: int, by: str) -> list[Job]:
        """Cancel this user's songs that wait in menus of albums in the chat, and return them.

        Idempotent for each `by` (see `Job.cancelled_by`). Raises `TryLater`.
        """
        cancelled: list[Job] = []
        for key in await self.albums.of(user_id):
            if key.partition(":")[0] != str(chat_id):
                continue
            async with self.store.sending(f"album:{key}"):
                album = await self.albums.get(key)
                if album and album.message_id and not album.is_closed:
                    cancelled += await self._cancel(key, album, user_id, by)
        return cancelled

    async def _cancel(self, key: str, album: Album, user_id: int, by: str) -> list[Job]:
        jobs = [job for job in await self._jobs(album) if _waits(job) or job.cancelled_by == by]
        cancelled = await self.actions.cancel([job for job in jobs if job.user_id == user_id], by)
        for job in cancelled:  # the menu's line is for all of them: recovery shows none by itself
            await self.store.close(job.id)
        if cancelled:
            say = self.translations.language(cancelled[0].language)
            await self._write(key, album, say.plural("cancel.done", len(cancelled)), None)
            await self.albums.close(key)
        return cancelled

    async def _pick(
        self,
        query: CallbackQuery,
        say: Language,
        key: str,
        album: Album,
        jobs: list[Job],
        mode: Mode,
        seen: str,
    ) -> None:
        """Pick the mode, in their order, for the songs that the button was for, if the credits suffice."""
        songs, refusals = await self._songs(jobs), refusals_of(album, say)
        order = album.order
        if order and (order.tap_id == query.id or not jobs):  # handled again, or a second tap: it goes on
            chosen = [job for job in jobs if job.id in order.job_ids]
        else:
            ends = range(len(jobs), 0, -1)
            chosen = next((jobs[:end] for end in ends if digest(jobs[:end]) == seen), [])
            count = await self._affordable(songs[: len(chosen)], mode)
            if not chosen or count < len(chosen):
                note = say("album.changed") if not chosen else None
                await answer_tap(query, note, is_alert=bool(note))
                dear = (mode, count) if chosen else None
                await self._write(key, album, *render_album(_group(key), songs, refusals, say, dear))
                return
            order = AlbumOrder(query.id, mode, [job.id for job in chosen])
            await self.albums.order(key, order)
        await answer_tap(query, None)
        for job in chosen:
            if (await self.actions.orders.pick(job, order.mode, "")).over:
                break  # another song was picked meanwhile; the rest stays in the menu
        left = await self._waiting(album)
        if left:
            await self._write(key, album, *render_album(_group(key), await self._songs(left), refusals, say))
        else:
            await self.albums.close(key)
            text = say.plural("album.ordered", len(order.job_ids), mode=say.mode_name(order.mode))
            await self._write(key, album, text, None)
        await self.actions.show(chosen)

    async def _affordable(self, songs: Sequence[Song], mode: Mode) -> int:
        """How many of these songs, from the first, the day's credits of their account suffice for."""
        limit = await self.users.limit(songs[0].job.account) if songs else 0
        if not limit:
            return len(songs)
        left = limit - (await self.store.allowance(songs[0].job.account, limit)).spent
        return max(end for end in range(len(songs) + 1) if end == 0 or price_of(songs[:end], mode) <= left)

    async def _waiting(self, album: Album) -> list[Job]:
        """The album's songs that wait for a choice and have no menu of their own, in their order."""
        return [job for job in await self._jobs(album) if _waits(job)]

    async def _jobs(self, album: Album) -> list[Job]:
        jobs = [await self.store.get(file.job_id) for file in album.files if file.job_id]
        return [job for job in jobs if job]

    async def _songs(self, jobs: Sequence[Job]) -> list[Song]:
        return [Song(job, await self.actions.job_message.details(job)) for job in jobs]

    async def _claim(self, job: Job, user_id: int) -> bool:
        return job.user_id == user_id or (not job.user_id and await self.store.claim(job, user_id))

    async def _write(self, key: str, album: Album, text: str, keyboard: InlineKeyboardMarkup | None) -> None:
        """Edit the album's menu, or send it."""
        bot, chat_id = self.actions.job_message.bot, album.files[0].song.chat_id
        if not album.message_id or not await edit_text(bot, chat_id, album.message_id, text, keyboard):
            message = await self._send(album, text, keyboard)
            await self.albums.note_menu(key, message.message_id)

    async def _send(self, album: Album, text: str, keyboard: InlineKeyboardMarkup | None = None) -> Message:
        return await send_text(self.actions.job_message.bot, album.files[0].song, text, keyboard)


def _waits(job: Job) -> bool:
    # one whose cached stems Telegram has lost asks by itself before anything is paid
    return job.state is JobState.CHOOSING and not job.message_id and not job.is_cache_lost


def _group(key: str) -> str:
    return key.partition(":")[2]
