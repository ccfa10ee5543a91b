"""The mixing desk of a job: orders remixes of its stems, from presets or as its user sets them."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from telegram import CallbackQuery, Update
from telegram.error import BadRequest, ChatMigrated
from telegram.ext import ExtBot

from bot.chat_rights import ChatRights
from bot.context import Context
from bot.menu import may_choose
from bot.replies import answer_tap, edit, number_of, tapped_words
from bot.song_pictures import SongPictures
from stemdrop.chat.callback_data import RemixAction
from stemdrop.chat.remix_rendering import (
    ALBUM,
    PAGES,
    ZIP,
    Desk,
    render_levels,
    render_pack,
    render_presets,
    render_tempo,
)
from stemdrop.chat.rendering import Rendered, short_title
from stemdrop.chat.replies import delete_or_shorten, send_text
from stemdrop.chat.translations import Language, Translations
from stemdrop.domain.jobs import Job
from stemdrop.domain.mixing_desk import SPEEDS, Draft, Level, practice_pack, presets, stem_of_word
from stemdrop.domain.recipes import HIGHEST, LOWEST, OPEN_REMIXES, Recipe
from stemdrop.log_context import bind_job
from stemdrop.services.remixing import MAX_OPEN_REMIXES, Remixing
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.remixes import Remixes
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)

# A second tap on *Remix*, or on *Picture*, within this time sends nothing.
_OPEN_AGAIN_S, _PICTURE_AGAIN_S = 3, 10
# How often a tap shows its desk at most, when other taps change the desk meanwhile.
_MOST_EDITS = 5

_Render = Callable[[Desk], Rendered]


@dataclass(frozen=True, kw_only=True)
class RemixDesk:
    """The handler for the buttons of desks and remixes. A desk's state is in Redis and in its buttons."""

    store: JobStore
    remixes: Remixes
    remixing: Remixing
    users: Users
    abilities: AbilitiesCache
    translations: Translations
    rights: ChatRights
    pictures: SongPictures

    async def tap(self, update: Update, context: Context) -> None:
        """Do what the button says; the tap is always answered, or the button would spin."""
        query, translate = update.callback_query, context.translate
        if query is None:
            return
        words = tapped_words(query)
        if len(words) < 2:
            await answer_tap(query, translate("tap.stale"))
        elif words[0] == RemixAction.CANCEL:
            await self._cancel(query, words[1], translate)
        elif job := await self._job(query, words[1], translate):
            bind_job(job.id, job.task_id)
            translate = translate.where(is_free=(await self.abilities.get()).is_free)
            instrument = context.person.instrument
            await self._act(_Tap(query, context.bot, job, words[0], words[2:], translate, instrument))

    async def _cancel(self, query: CallbackQuery, remix_id: str, translate: Language) -> None:
        remix = await self.remixes.get(remix_id)
        if remix and remix.user_id != query.from_user.id:
            await answer_tap(query, translate("tap.not_yours"))
        elif remix and await self.remixing.cancel(remix):
            # a worker shows this in the chat, too, but much later if it has to wait for Telegram
            job = await self.store.get(remix.job_id)
            done = translate("remix.cancelled", title=short_title(job, translate)) if job else None
            await answer_tap(query, done)
        else:
            await answer_tap(query, translate("tap.too_late"))
            if not (remix and remix.state in OPEN_REMIXES):
                with suppress(BadRequest):  # a worker that was killed may have left the message
                    await query.delete_message()

    async def _job(self, query: CallbackQuery, job_id: str, translate: Language) -> Job | None:
        """Return the job of a desk if this user may remix it; the tap is answered otherwise."""
        job = await self.store.get(job_id)
        if job is None:
            await answer_tap(query, translate("desk.deleted"), is_alert=True)
        elif not await may_choose(query, job):
            await answer_tap(query, translate("tap.not_yours"))
        else:
            return job
        return None

    async def _act(self, tap: "_Tap") -> None:
        match (tap.action, *tap.words):
            case (RemixAction.OPEN,):
                await self._open(tap)
            case (RemixAction.LEVELS, page):
                number = max(0, number_of(page) or 0)
                await self._show(tap, lambda desk: render_levels(desk, tap.translate, number))
            case (RemixAction.PACK,):
                await self._show(tap, lambda desk: render_pack(desk, tap.translate))
            case (RemixAction.PACK, kind) if kind in (ALBUM, ZIP):
                await self._order_pack(tap, is_archive=kind == ZIP)
            case (RemixAction.PRESET, word):
                await self._order_preset(tap, word)
            case (RemixAction.MAKE,):
                desk = await self._desk(tap)
                await self._order(tap, desk, [desk.recipe])
            case (RemixAction.PICTURE,):
                await self._send_picture(tap)
            case (RemixAction.CLOSE,):
                await self._close(tap)
            case (page,) if page in PAGES:
                await self._show(tap, lambda desk: PAGES[page](desk, tap.translate))
            case _:
                await self._set(tap)

    async def _open(self, tap: "_Tap") -> None:
        """Send the desk as a new message; the second of two quick taps opens none."""
        job, desk = tap.job, await self._desk(tap)
        if len(desk.stems) < 2:
            await answer_tap(tap.query, tap.translate("tap.stale"))
            return
        await answer_tap(tap.query, None)
        async with self.users.once_in_a_while(f"desk:{job.id}:{tap.user_id}", _OPEN_AGAIN_S) as is_due:
            if is_due:
                shown = render_presets(desk, tap.translate)
                await self._send(job, lambda job: send_text(tap.bot, job, *shown))

    async def _send(self, job: Job, send: Callable[[Job], Awaitable[object]]) -> None:
        """Send to the job's chat, or to the supergroup that it became."""
        try:
            await send(job)
        except ChatMigrated as error:
            await send(await self.store.migrate(job, error.new_chat_id))

    async def _set(self, tap: "_Tap") -> None:
        """Set what the button names, and show its page. Idempotent; unknown buttons show the first page."""
        found = _setting(tap, await self._desk(tap))
        if found is None:
            await self._show(tap, lambda desk: render_presets(desk, tap.translate))
            return
        change, render = found
        await self._change(tap, change)
        await self._show(tap, render)

    async def _change(self, tap: "_Tap", change: Callable[[Draft], Draft]) -> Draft:
        return await self.remixes.change_draft(tap.job.id, tap.user_id, change, by=tap.query.id)

    async def _order_preset(self, tap: "_Tap", word: str) -> None:
        """Order a preset with the speed, key and clicks that are set, and show it on the desk."""
        desk = await self._desk(tap)
        offered = presets(desk.stems, desk.my_instrument)
        preset = next((preset for preset in offered if preset.word == word), None)
        if preset is not None:
            draft = await self._change(tap, preset.applied)
            desk = replace(desk, draft=preset.applied(draft))
            await self._order(tap, desk, [desk.recipe])
        else:
            await answer_tap(tap.query, None)
        await self._edit(tap, lambda desk: render_presets(desk, tap.translate))

    async def _order_pack(self, tap: "_Tap", *, is_archive: bool) -> None:
        desk = await self._desk(tap)
        recipes = practice_pack(desk.recipe, has_tempo=desk.has_tempo)
        await self._order(tap, desk, recipes, is_archive=is_archive)

    async def _order(
        self, tap: "_Tap", desk: Desk, recipes: Sequence[Recipe], *, is_archive: bool = False
    ) -> None:
        """Order recipes and answer the tap. Idempotent; quick taps for the same order it once."""
        job, translate = tap.job, tap.translate
        if not desk.is_heard:
            await answer_tap(tap.query, translate("desk.unheard"), is_alert=True)
        elif len(recipes) == 1 and recipes[0].is_plain:
            await answer_tap(tap.query, translate("desk.unchanged"), is_alert=True)
        elif obstacle := await self.rights.obstacle(job.chat_id):
            await answer_tap(tap.query, translate(f"here.{obstacle}"), is_alert=True)
        else:
            order = self.remixing.order_once
            remix = await order(
                job, tap.user_id, recipes, by=tap.query.id, language=translate.code, is_archive=is_archive
            )
            if remix:
                await answer_tap(tap.query, translate("ordered"))
            else:
                full = translate("desk.too_many", count=translate.number(MAX_OPEN_REMIXES))
                await answer_tap(tap.query, full, is_alert=True)

    async def _send_picture(self, tap: "_Tap") -> None:
        """Send the song's picture; the second of two quick taps sends none."""
        lanes = await self.pictures.lanes(tap.job)
        if not lanes:
            told = "desk.picture_later" if lanes is None else "desk.no_picture"
            await answer_tap(tap.query, tap.translate(told), is_alert=True)
            return
        await answer_tap(tap.query, None)
        once = f"picture:{tap.job.id}:{tap.user_id}"
        async with self.users.once_in_a_while(once, _PICTURE_AGAIN_S) as is_due:
            if is_due:
                await self._send(tap.job, lambda job: self.pictures.send(tap.bot, job, lanes, tap.translate))

    async def _close(self, tap: "_Tap") -> None:
        """Delete the desk; one that can no longer be deleted becomes one line."""
        await answer_tap(tap.query, None)
        message = tap.query.message
        if message is None:
            return
        line = tap.translate("desk.head", title=short_title(tap.job, tap.translate))
        await delete_or_shorten(tap.bot, message.chat.id, message.message_id, line)

    async def _desk(self, tap: "_Tap") -> Desk:
        job, named = tap.job, self.translations.language(tap.job.language).stem
        listed = job.result.stems if job.result else ()
        sent = await self.store.sent(job.id)  # `silent` holds names, which a sent stem may share
        stems = tuple(stem for stem in listed if stem.key in sent or named(stem) not in job.silent)
        return Desk(job, stems, await self.remixes.draft(job.id, tap.user_id), tap.my_instrument)

    async def _show(self, tap: "_Tap", render: _Render) -> None:
        # first, since the edit may have to wait for Telegram's limits
        await answer_tap(tap.query, None)
        await self._edit(tap, render)

    async def _edit(self, tap: "_Tap", render: _Render) -> None:
        """Show a page, and again when another tap has changed the draft meanwhile."""
        for _ in range(_MOST_EDITS):
            desk = await self._desk(tap)
            await edit(tap.query, *render(desk))
            if await self.remixes.draft(tap.job.id, tap.user_id) == desk.draft:
                return


@dataclass(frozen=True, slots=True)
class _Tap:
    """A tap on a desk by a user who may remix its job; `words` are those after the action and the job."""

    query: CallbackQuery
    bot: ExtBot[float]
    job: Job
    action: str
    words: tuple[str, ...]
    translate: Language
    my_instrument: str

    @property
    def user_id(self) -> int:
        return self.query.from_user.id


def _setting(tap: _Tap, desk: Desk) -> tuple[Callable[[Draft], Draft], _Render] | None:
    """Return what a button changes and the page that shows it; `None` if this version has no such button."""
    translate = tap.translate
    match (tap.action, *tap.words):
        case (RemixAction.LEVEL, word, level, page) if level in set(Level):
            stem, shown = stem_of_word(desk.stems, word), max(0, number_of(page) or 0)
            if stem is None:
                return None
            change = partial(Draft.with_level, key=stem.key, level=Level(level))
            return change, lambda desk: render_levels(desk, translate, shown)
        case (RemixAction.RESET, page) if page in PAGES:
            return lambda _: Draft(), lambda desk: PAGES[page](desk, translate)
        case (action, text) if (number := number_of(text)) is not None:
            if values := _values(action, number):
                return partial(Draft.with_values, **values), lambda desk: render_tempo(desk, translate)
    return None


def _values(action: str, number: int) -> dict[str, Any]:
    """Return the part of a recipe that a button for speed, key or clicks sets; empty for other buttons."""
    match action:
        case RemixAction.SPEED if number in SPEEDS:
            return {"speed": number}
        case RemixAction.SEMITONES if LOWEST <= number <= HIGHEST:
            return {"semitones": number}
        case RemixAction.COUNT_IN:
            return {"has_count_in": number > 0}
        case RemixAction.METRONOME:
            return {"has_metronome": number > 0}
    return {}
