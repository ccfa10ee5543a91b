"""The menu that all songs of an album share; its buttons act only on songs that the user has seen in it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from telegram import CallbackQuery, InlineKeyboardMarkup, Message, Update
from telegram.error import TelegramError

from bot.chat_rights import ChatRights
from bot.context import Context
from bot.job_actions import JobActions
from bot.menu import may_choose
from bot.replies import answer_tap, number_of, tapped_words
from stemdrop.chat.album_rendering import (
    Song,
    digest,
    price_of,
    refusals_of,
    render_album,
    render_album_instruments,
)
from stemdrop.chat.callback_data import AlbumAction, choice_of_word, credits_of_word
from stemdrop.chat.replies import edit_text, send_text
from stemdrop.chat.translations import Language, Translations
from stemdrop.domain.jobs import Choice, Job, JobState
from stemdrop.domain.taps import DEARER_TEXT
from stemdrop.errors import TryLater
from stemdrop.storage.albums import Album, AlbumOrder, Albums, Asker
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AlbumMenu:
    """Shows the menus of albums, and handles their buttons."""

    albums: Albums
    store: JobStore
    actions: JobActions
    users: Users
    translations: Translations
    rights: ChatRights

    async def show(self, key: str, album: Album, translate: Language) -> None:
        """Show the album's menu; songs of a closed album, or a lone song without a menu, get their own."""
        jobs = await self._waiting(album)
        refusals = refusals_of(album, translate)
        if jobs and not album.is_closed and (album.message_id or len(jobs) > 1):
            await self._write_menu(key, album, translate, jobs)
            await self.albums.note_told(key, len(refusals))
            return
        await self.albums.close(key)
        if told := refusals[album.told :]:
            await self._send(album, album.files[0].refusal if len(album.files) == 1 else "\n".join(told))
            await self.albums.note_told(key, len(refusals))
        for job in jobs:
            await self.actions.job_message.show(job)

    async def tap(self, update: Update, context: Context) -> None:
        """Do what the button says for all songs that its user has seen in the menu."""
        query, translate = update.callback_query, context.translate
        if query is None or query.message is None:
            return
        group, *words = tapped_words(query)
        key = f"{query.message.chat.id}:{group}"
        async with self.store.sending(f"album:{key}"):
            album = await self.albums.get(key)
            if album is None or album.asker is None:
                await answer_tap(query, translate("tap.stale"))
            elif (jobs := await self._claim(query, key, album, album.asker)) is None:
                await answer_tap(query, translate("tap.not_yours"))
            else:
                await self._act(query, translate, key, album, jobs, words)

    async def _claim(self, query: CallbackQuery, key: str, album: Album, asker: Asker) -> list[Job] | None:
        """Return the waiting songs, which now belong to the tapper; `None` if another user may choose."""
        if not await may_choose(query, replace(album.files[0].song, user_id=asker.user_id)):
            return None
        user_id, waiting = query.from_user.id, await self._waiting(album)
        jobs = [job for job in waiting if await self._claim_song(job, user_id)]
        if waiting and not jobs:
            return None
        if not asker.user_id:  # songs that still come belong to the tapper, too
            await self.albums.give(key, replace(asker, user_id=user_id))
        return [replace(job, user_id=user_id, account=user_id) for job in jobs]

    async def _claim_song(self, job: Job, user_id: int) -> bool:
        return job.user_id == user_id or (not job.user_id and await self.store.claim(job, user_id))

    async def _act(
        self,
        query: CallbackQuery,
        translate: Language,
        key: str,
        album: Album,
        jobs: list[Job],
        words: Sequence[str],
    ) -> None:
        match words:
            case [AlbumAction.SINGLY]:
                await answer_tap(query, None)
                await self.albums.close(key)
                await self._write(key, album, translate("album.one_by_one"), None)
                for job in jobs:
                    await self.actions.job_message.show(job)
            case [AlbumAction.CANCEL]:
                await answer_tap(query, None)
                await self._cancel(key, album, query.from_user.id, query.id)
            case [AlbumAction.INSTRUMENTS, number] if jobs and (page := number_of(number)) is not None:
                await answer_tap(query, None)
                songs = await self._songs(jobs)
                shown = render_album_instruments(_group(key), songs, translate, max(0, page))
                await self._write(key, album, *shown)
            case [AlbumAction.BACK] if jobs:
                await answer_tap(query, None)
                await self._write_menu(key, album, translate, jobs)
            case [_, _, *_] if obstacle := await self.rights.obstacle(album.files[0].song.chat_id):
                await answer_tap(query, translate(f"here.{obstacle}"), is_alert=True)
            case [word, *seen] if seen and (jobs or album.order) and (choice := choice_of_word(word)):
                await self._pick(query, translate, key, album, jobs, choice, seen)
            case _:
                await answer_tap(query, translate("tap.stale"))

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

    async def forget(self, user_id: int, patience_s: float) -> None:
        """Delete the albums of this user, and take the buttons off their menus."""
        for key in await self.albums.of(user_id):
            album = await self.albums.get(key)
            if album and album.message_id and not album.is_closed:
                try:
                    await self._show_deleted(album, user_id, patience_s)
                except (TelegramError, TryLater) as error:
                    log.info("album %s: its menu could not be edited: %s", key, error)
        await self.albums.forget_of(user_id)

    async def _show_deleted(self, album: Album, user_id: int, patience_s: float) -> None:
        jobs = await self._waiting(album)
        # another user may have asked for the songs that this user has sent
        of_others = [job for job in jobs if job.user_id != user_id]
        await self.actions.show(of_others, patience_s)
        if jobs:
            translate = self.translations.language(jobs[0].language)
            text = translate("album.one_by_one") if of_others else translate.plural("delete.songs", len(jobs))
            bot, chat_id = self.actions.job_message.bot, album.files[0].song.chat_id
            await edit_text(bot, chat_id, album.message_id, text, None, patience_s)

    async def _cancel(self, key: str, album: Album, user_id: int, by: str) -> list[Job]:
        jobs = [job for job in await self._jobs(album) if _waits(job) or job.cancelled_by == by]
        cancelled = await self.actions.cancel([job for job in jobs if job.user_id == user_id], by)
        for job in cancelled:  # one line of the menu tells all their ends: recovery must not show each
            await self.store.close(job.id)
        if cancelled:
            translate = self.translations.language(cancelled[0].language)
            await self._write(key, album, translate.plural("cancel.done", len(cancelled)), None)
            await self.albums.close(key)
        return cancelled

    async def _pick(
        self,
        query: CallbackQuery,
        translate: Language,
        key: str,
        album: Album,
        jobs: list[Job],
        choice: Choice,
        seen: Sequence[str],
    ) -> None:
        """Pick the choice for the songs that the button was for, in their order, if the credits suffice.

        `seen` are the digest of these songs and, on newer buttons, the price that was shown.
        """
        order = album.order
        if order and (order.tap_id == query.id or not jobs):  # the tap again, or a second one
            chosen = [job for job in jobs if job.id in order.job_ids]
        else:
            ends = range(len(jobs), 0, -1)
            chosen = next((jobs[:end] for end in ends if digest(jobs[:end]) == seen[0]), [])
            songs = await self._songs(chosen)
            shown = credits_of_word(seen[-1])
            is_dearer = shown is not None and price_of(songs, choice) > shown
            count = await self._affordable(songs, choice)
            if not chosen or is_dearer or count < len(chosen):
                note = "album.changed" if not chosen else DEARER_TEXT if is_dearer else ""
                await answer_tap(query, translate(note) if note else None, is_alert=bool(note))
                affordable = (choice, count) if count < len(chosen) else None
                await self._write_menu(key, album, translate, jobs, affordable)
                return
            prices = {song.job.id: song.price(choice) for song in songs}
            order = AlbumOrder(query.id, choice[0], list(prices), choice[1], prices)
            await self.albums.order(key, order)
        await answer_tap(query, None)
        for job in chosen:
            at_most = order.prices.get(job.id)
            if (await self.actions.orders.pick(job, order.mode, order.instrument, at_most=at_most)).over:
                break  # another song was picked meanwhile; the rest stays in the menu
        if left := await self._waiting(album):
            await self._write_menu(key, album, translate, left)
        else:
            await self.albums.close(key)
            name = translate.mode_name(order.mode, order.instrument)
            await self._write(
                key, album, translate.plural("album.ordered", len(order.job_ids), mode=name), None
            )
        await self.actions.show(chosen)

    async def _affordable(self, songs: Sequence[Song], choice: Choice) -> int:
        """Return how many of these songs, from the first, the account's credits of the day can pay."""
        limit = await self.users.limit(songs[0].job.account) if songs else 0
        if not limit:
            return len(songs)
        left = limit - (await self.store.allowance(songs[0].job.account, limit)).spent
        return max(end for end in range(len(songs) + 1) if end == 0 or price_of(songs[:end], choice) <= left)

    async def _waiting(self, album: Album) -> list[Job]:
        """Return the album's songs that wait for a choice and have no menu of their own, in their order."""
        return [job for job in await self._jobs(album) if _waits(job)]

    async def _jobs(self, album: Album) -> list[Job]:
        jobs = [await self.store.get(file.job_id) for file in album.files if file.job_id]
        return [job for job in jobs if job]

    async def _songs(self, jobs: Sequence[Job]) -> list[Song]:
        return [Song(job, await self.actions.job_message.instrument_details(job)) for job in jobs]

    async def _write_menu(
        self,
        key: str,
        album: Album,
        translate: Language,
        jobs: Sequence[Job],
        affordable: tuple[Choice, int] | None = None,
    ) -> None:
        songs, refusals = await self._songs(jobs), refusals_of(album, translate)
        await self._write(key, album, *render_album(_group(key), songs, refusals, translate, affordable))

    async def _write(self, key: str, album: Album, text: str, keyboard: InlineKeyboardMarkup | None) -> None:
        """Edit the album's menu, or send it."""
        bot, chat_id = self.actions.job_message.bot, album.files[0].song.chat_id
        if not album.message_id or not await edit_text(bot, chat_id, album.message_id, text, keyboard):
            message = await self._send(album, text, keyboard)
            await self.albums.note_menu(key, message.message_id)

    async def _send(self, album: Album, text: str, keyboard: InlineKeyboardMarkup | None = None) -> Message:
        return await send_text(self.actions.job_message.bot, album.files[0].song, text, keyboard)


def _waits(job: Job) -> bool:
    # a job whose cached stems Telegram has lost asks its user in a message of its own before anything is paid
    return job.state is JobState.CHOOSING and not job.message_id and not job.is_cache_lost


def _group(key: str) -> str:
    return key.partition(":")[2]
