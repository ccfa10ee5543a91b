"""`/jobs`: a user's own songs, open and recent, each with the buttons that help."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from telegram import Bot, CallbackQuery, Chat, InlineKeyboardMarkup, Update
from telegram.constants import ChatType
from telegram.error import TelegramError

from bot.access import is_for_asker
from bot.context import Context
from bot.job_actions import JobActions, JobButton
from bot.replies import answer_tap, edit, number_of, reply, tapped_words
from stemdrop.chat.callback_data import Screen
from stemdrop.chat.limit_rendering import render_over_limit
from stemdrop.chat.rendering import TITLE_LENGTH, Rendered, short_title
from stemdrop.chat.screen_buttons import button, page_of
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import CANCELLABLE, Job, JobState
from stemdrop.domain.taps import Ordered, Tapped
from stemdrop.domain.titles import in_sentence
from stemdrop.errors import TryLater
from stemdrop.log_context import bind_job
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Users
from stemdrop.tasks.incoming_updates import received_at

log = logging.getLogger(__name__)

PAGE_LENGTH = 5
# How many of a user's songs are listed, on all pages together.
LISTED = 200
_PAGE = "p"


@dataclass(frozen=True, kw_only=True)
class JobsList:
    """The handlers for `/jobs` and its buttons, which obey only the user who asked for them."""

    store: JobStore
    actions: JobActions
    users: Users
    abilities: AbilitiesCache
    clock: Callable[[], float] = time.time

    async def show(self, update: Update, context: Context) -> None:
        if message := update.effective_message:
            shown = await self._page(message.chat, context.person.id, context.bot, context.translate, 0)
            await reply(message, *shown)

    async def tap(self, update: Update, context: Context) -> None:
        query, translate = update.callback_query, context.translate
        if query is None or not await is_for_asker(update, context):
            return
        words = tapped_words(query)
        if len(words) < 3 or query.message is None:
            await answer_tap(query, translate("tap.stale_screen"))
            return
        chat, user_id, page = query.message.chat, query.from_user.id, number_of(words[2]) or 0
        ordered = Ordered("")
        if words[1] != _PAGE:
            job = await self._job(words, query, chat)
            if job is None:
                await answer_tap(query, translate("tap.stale_screen"))
                return
            bind_job(job.id, job.task_id)
            ordered = await self.actions.perform(words[1], job, Tapped(query.id, received_at(update)))
            if ordered.over:
                await answer_tap(query, render_over_limit(translate, ordered.over), is_alert=True)
                return
        # First, because editing the messages may have to wait for Telegram's limits.
        await answer_tap(query, translate(ordered.note) if ordered.note else None)
        shown = await self._page(chat, user_id, context.bot, translate, page)
        try:
            if changed := await self.store.get(ordered.job_id) if ordered.job_id else None:
                await self.actions.show([changed])
            await edit(query, *shown)
        except (TelegramError, TryLater) as error:
            # Not raised, or the tap would be handled again, and order twice what may be done by then.
            log.warning("the list of user %d's songs could not be shown: %s", user_id, error)

    async def _job(self, words: tuple[str, ...], query: CallbackQuery, chat: Chat) -> Job | None:
        """Return the job of a button if the tapper owns it and the button may be used in this chat."""
        job = await self.store.get(words[3]) if len(words) == 4 else None
        if job is None or job.account != query.from_user.id:
            return None
        # A group would get stems that were asked for elsewhere.
        return None if words[1] == JobButton.RESEND and job.chat_id != chat.id else job

    async def _page(self, chat: Chat, asker: int, bot: Bot, translate: Language, number: int) -> Rendered:
        jobs = _listed(await self.store.jobs_of(asker, LISTED))
        if chat.type != ChatType.PRIVATE:  # a group does not see what its members do elsewhere
            jobs = [job for job in jobs if job.chat_id == chat.id]
        page = page_of(jobs, number, PAGE_LENGTH)
        shown = list(enumerate(page.items, page.first + 1))
        lines = [translate("jobs.head" if jobs else "jobs.none")]
        elsewhere = {job.chat_id for _, job in shown} - {chat.id}
        groups = {chat_id: await _group_name(bot, chat_id, translate) for chat_id in sorted(elsewhere)}
        lines += [f"{number}. {await self._line(job, groups, translate)}" for number, job in shown]
        lines += await self._allowance(asker, translate)
        rows = [
            [button(f"{number}. {label}", Screen.JOBS, asker, letter, page.number, job.id)]
            for number, job in shown
            for letter, label in await self._offered(job, chat, translate)
        ]
        turns = page.turn_buttons(lambda label, other: button(label, Screen.JOBS, asker, _PAGE, other))
        rows += [turns] if turns else []
        return "\n".join(lines), InlineKeyboardMarkup(rows) if rows else None

    async def _line(self, job: Job, groups: Mapping[int, str], translate: Language) -> str:
        parts = [translate("quoted", text=short_title(job, translate))]
        parts += [translate.mode_name(job.mode, job.instrument)] if job.mode else []
        parts += [groups[job.chat_id]] if job.chat_id in groups else []
        return " · ".join([*parts, await self._state(job, translate)])

    async def _state(self, job: Job, translate: Language) -> str:
        match job.state:
            case JobState.QUEUED if not job.waits_for:
                return translate("jobs.queued", place=max(1, await self.store.place(job)))
            case JobState.SEPARATING:
                elapsed = translate.duration(self.clock() - (job.create_started_at or job.moved_at))
                return translate("jobs.separating", gone=elapsed)
            case JobState.DELIVERED:
                return translate.plural("jobs.delivered", len(await self.store.sent(job.id)))
            case JobState.FAILED:
                return translate("jobs.failed", code=job.failure.code if job.failure else "")
        return translate("jobs.waiting" if job.waits_for else f"jobs.{job.state}")

    async def _allowance(self, asker: int, translate: Language) -> list[str]:
        if not (limit := await self.users.limit(asker)) or (await self.abilities.get()).is_free:
            return []
        today = await self.store.allowance(asker, limit)
        renewal = translate.duration(today.renews_in_s)
        return [
            "",
            translate(
                "jobs.today", spent=translate.number(today.spent), limit=translate.number(limit), time=renewal
            ),
        ]

    async def _offered(self, job: Job, chat: Chat, translate: Language) -> list[tuple[str, str]]:
        if job.state in CANCELLABLE:
            return [(JobButton.CANCEL, translate("button.cancel"))]
        offered = await self.actions.offered(job, translate)
        return [it for it in offered if it[0] != JobButton.RESEND or job.chat_id == chat.id]


def _listed(jobs: list[Job]) -> list[Job]:
    """Return the jobs whose mode is picked; of several tries under one message only the last."""
    listed: list[Job] = []
    messages: set[tuple[int, int]] = set()
    for job in jobs:
        message = (job.chat_id, job.message_id)
        if job.mode is None or job.state is JobState.CHOOSING or (job.message_id and message in messages):
            continue
        messages.add(message)
        listed.append(job)
    return listed


async def _group_name(bot: Bot, chat_id: int, translate: Language) -> str:
    """Return the name of a song's group for the list; the bot may no longer be in it."""
    try:
        title = (await bot.get_chat(chat_id)).title
    except (TelegramError, TryLater) as error:
        log.info("the name of chat %d is not known: %s", chat_id, error)
        title = None
    return (
        translate("jobs.in_group", group=in_sentence(title, TITLE_LENGTH))
        if title
        else translate("jobs.in_a_group")
    )
