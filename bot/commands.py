"""`/start`, `/help`, `/cancel`, and the short reply to everything that is neither a command nor a song."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from telegram import Message, MessageEntity, Update

from bot.access import is_private
from bot.access_requests import AccessDesk
from bot.album_menu import AlbumMenu
from bot.context import Context
from bot.introduction import introduce_to_admin
from bot.job_actions import JobActions
from bot.replies import reply
from bot.sources import MAX_DURATION_S
from stemdrop.chat.translations import Translations
from stemdrop.domain.jobs import CANCELLABLE, JobState
from stemdrop.domain.recipes import CANCELLABLE_REMIXES
from stemdrop.services.remixing import Remixing
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.remixes import Remixes
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Commands:
    """The handlers for these commands and for all messages that no other handler takes.

    `max_bytes` is the largest size of a song, which `/help` names. `of_words` maps the word of a link such as
    `t.me/<bot>?start=privacy` to its handler.
    """

    store: JobStore
    actions: JobActions
    album_menu: AlbumMenu
    remixes: Remixes
    remixing: Remixing
    users: Users
    desk: AccessDesk
    translations: Translations
    max_bytes: int
    abilities: AbilitiesCache
    of_words: Mapping[str, Callable[[Update, Context], Awaitable[None]]]

    async def start(self, update: Update, context: Context) -> None:
        """Say what the bot does; `t.me/<bot>?start=<word>` also uses an invitation or makes an admin."""
        person = context.person
        word = " ".join(context.args or ())
        if handler := self.of_words.get(word):
            await handler(update, context)
            return
        if word:
            if await self.users.become_admin(person.id, word):
                log.info("user %d is the admin now", person.id)
                await self.users.set_name(person.id, person.name)
                if user := update.effective_user:
                    await self.users.set_telegram_language(person.id, user.language_code or "")
                await introduce_to_admin(context.bot, self.translations, person.id)
                await self._reply(update, context, "access.admin")
                return
            if not person.is_allowed and not await self.users.accept_invitation(person.id, word):
                await self._reply(update, context, "access.word_bad")
                return
            if not person.is_allowed:
                log.info("user %d was let in by an invitation", person.id)
                await self.users.set_name(person.id, person.name)
            if await self.desk.tell_invited(context.bot, person.id):
                return
        key = "start" if is_private(update) else "group.how"
        await self._reply(update, context, key, bot=context.bot.username)

    async def help(self, update: Update, context: Context) -> None:
        translate, bot = context.translate, context.bot.username
        text = translate("help", size=translate.size(self.max_bytes), minutes=MAX_DURATION_S // 60)
        if not (await self.abilities.get()).is_free:
            text += "\n\n" + translate("help.prices")
        text += "\n\n" + translate("help.remix")
        text += "\n\n" + translate("help.commands" if is_private(update) else "group.how", bot=bot)
        if context.person.is_admin and is_private(update):
            text += "\n" + translate("help.admin")
        if message := update.effective_message:
            await reply(message, text)

    async def cancel(self, update: Update, context: Context) -> None:
        """Cancel every job of this user in this chat that has no result yet, and remixes not sent yet."""
        message = update.effective_message
        if message is None:
            return
        by = str(update.update_id)
        jobs = [job for job in await self.store.jobs_of(context.person.id) if job.chat_id == message.chat_id]
        # An update that is handled again counts the jobs that it has cancelled before.
        jobs = [job for job in jobs if job.state in CANCELLABLE or job.cancelled_by == by]
        # A job that waits for a choice without a message is just being created, was refused a mode or is in
        # an album; one with `starts_at` is about to start.
        jobs = [job for job in jobs if job.message_id or job.starts_at or job.state is not JobState.CHOOSING]
        cancelled = {job.id: job for job in await self.actions.cancel(jobs, by)}
        # the menu of an album shows the end of all its songs
        in_albums = await self.album_menu.cancel(context.person.id, message.chat_id, by)
        count = len(cancelled.keys() | {job.id for job in in_albums})
        remixes, translate = (
            await self._cancel_remixes(context.person.id, message.chat_id, by),
            context.translate,
        )
        lines = [translate.plural("cancel.done", count)] if count else []
        if remixes:
            lines.append(translate("cancel.remixes", count=translate.number(remixes)))
        await reply(message, "\n".join(lines) or translate("cancel.nothing"))
        await self.actions.show(job for job in cancelled.values() if job.message_id)

    async def _cancel_remixes(self, user_id: int, chat_id: int, by: str) -> int:
        """Cancel this user's remixes in this chat; returns how many. Idempotent for each `by`."""
        remixes = [it for it in await self.remixes.open_of(user_id) if it.state in CANCELLABLE_REMIXES]
        jobs = [await self.store.get(remix.job_id) for remix in remixes]
        here = [it for it, job in zip(remixes, jobs, strict=True) if job and job.chat_id == chat_id]
        (count,) = await self.users.counted(f"cancel:{by}", (len(here),))
        for remix in here:
            await self.remixing.cancel(remix)
        return int(count)

    async def unknown(self, update: Update, context: Context) -> None:
        """Reply to an unknown command; in groups it may be meant for another bot."""
        if is_private(update):
            await self._reply(update, context, "other.command")

    async def anything(self, update: Update, context: Context) -> None:
        """Reply to any other message; in groups people talk with each other."""
        message = update.effective_message
        if message is not None and is_private(update):
            await self._reply(update, context, _hint(message))

    async def _reply(self, update: Update, context: Context, key: str, **values: object) -> None:
        if message := update.effective_message:
            await reply(message, context.translate(key, **values))


def _hint(message: Message) -> str:
    if message.parse_entities([MessageEntity.URL, MessageEntity.TEXT_LINK]):
        return "other.link"
    return "other.text" if message.text else "other.anything"
