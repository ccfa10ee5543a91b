"""`/users`: admins let users in, remove them, and set how many credits a day each may spend."""

import logging
from dataclasses import dataclass

from telegram import Bot, InlineKeyboardMarkup, Update
from telegram.error import TelegramError

from bot.access import is_for_admin, is_private
from bot.access_requests import AccessDesk
from bot.context import Context
from bot.job_actions import JobActions
from bot.replies import answer_tap, edit, number_of, reply, tapped_words
from bot.requests_screen import LIST
from stemdrop.chat.callback_data import Screen
from stemdrop.chat.rendering import Rendered
from stemdrop.chat.screen_buttons import button, page_of
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Job, JobState
from stemdrop.domain.titles import in_sentence
from stemdrop.settings import Settings
from stemdrop.storage.access_requests import Decision
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Person, Users

log = logging.getLogger(__name__)

PAGE_LENGTH = 8
# The credits a day that are offered as buttons; others are typed.
CHOICES = (20, 50, 100, 500, 0)
MOST_CREDITS = 1_000_000
_MAX_WORD = 40

_LIST, _INVITE, _CARD, _CREDITS, _REMOVE = "l", "i", "u", "c", "x"
_AS_SET = "-"


@dataclass(frozen=True, kw_only=True)
class UsersCommand:
    """The handlers for `/users` and its buttons; each is idempotent for its update."""

    store: JobStore
    actions: JobActions
    users: Users
    desk: AccessDesk
    settings: Settings

    async def command(self, update: Update, context: Context) -> None:
        message = update.effective_message
        if message and context.person.is_admin and not is_private(update):
            await reply(message, context.translate("users.in_group", id=message.chat_id))
            return
        if message is None or not await is_for_admin(update, context):
            return
        if not context.args:
            await reply(message, *await self._list(context.translate, 0))
            return
        await reply(message, await self._typed(context.args, str(update.update_id), context))

    async def tap(self, update: Update, context: Context) -> None:
        query, translate = update.callback_query, context.translate
        if query is None or not await is_for_admin(update, context):
            return
        shown = await self._tapped(tapped_words(query), query.id, context)
        await answer_tap(query, None if shown else translate("tap.stale_screen"))
        if shown:
            await edit(query, *shown)

    async def _tapped(self, words: tuple[str, ...], once: str, context: Context) -> Rendered | None:
        translate = context.translate
        match words:
            case (letter, page) if letter == _LIST:
                return await self._list(translate, number_of(page) or 0)
            case (letter,) if letter == _INVITE:
                return await self._invitation(context)
            case (letter, number, page) if letter == _CARD and (user_id := number_of(number)):
                return await self._card(user_id, page, translate)
            case (letter, number, page, credits) if letter == _CREDITS and (user_id := number_of(number)):
                await self._set_credits(user_id, credits, context)
                return await self._card(user_id, page, translate)
            case (letter, number, page) if letter == _REMOVE and (user_id := number_of(number)):
                text = await self._remove(user_id, once, context)
                listed, keyboard = await self._list(translate, number_of(page) or 0)
                return f"{text}\n\n{listed}", keyboard
        return None

    async def _typed(self, words: list[str], once: str, context: Context) -> str:
        translate = context.translate
        user_id = await self._id_of(words[1]) if len(words) > 1 else 0
        match words[0].lower(), words[2:]:
            case "add", [] if user_id:
                return await self._add(user_id, once, context)
            case "remove", [] if user_id:
                return await self._remove(user_id, once, context)
            case "credits", [credits] if user_id and _is_amount(credits):
                await self._set_credits(user_id, credits, context)
                return self._line(await self.users.person(user_id), translate)
        return f"{_mistake(words, user_id, translate)}\n\n{_usage(translate)}"

    async def _id_of(self, word: str) -> int:
        """Return the id that a Telegram ID or `@name` means; 0 for one that is not known."""
        if not word.startswith("@"):
            return number_of(word) or 0
        name = word.removeprefix("@")
        return await self.users.with_username(name) or await self.desk.waiting_with_username(name)

    async def _set_credits(self, user_id: int, credits: str, context: Context) -> None:
        wanted = None if credits == _AS_SET else number_of(credits)
        await self.users.set_daily_credits(user_id, wanted)
        log.info("admin %d: user %d has %s credits a day", context.person.id, user_id, wanted)

    async def _add(self, user_id: int, once: str, context: Context) -> str:
        """Let a user in. `once`, here and below, names the update: when repeated, it is answered the same."""
        (was_in,) = await self.users.counted(once, (await self.users.is_let_in(user_id),))
        await self.desk.requests.decide(user_id, Decision.LET_IN, once, context.person.id, overrules=True)
        log.info("admin %d let %d in", context.person.id, user_id)
        if names := await _names(context.bot, user_id):
            await self.users.set_name(user_id, *names)
        if not was_in:
            await self.desk.close(context.bot, user_id, context.translate.code)
        person = await self.users.person(user_id)
        return context.translate("users.added_before" if was_in else "users.added", user=person.called)

    async def _remove(self, user_id: int, once: str, context: Context) -> str:
        translate, before = context.translate, await self.users.person(user_id)
        counters = (await self.users.is_let_in(user_id), before.is_admin)
        was_in, was_admin = await self.users.counted(once, counters)
        await self.users.remove(user_id)
        await self.desk.requests.decide(user_id, Decision.REFUSED, once, context.person.id, overrules=True)
        log.info("admin %d removed %d", context.person.id, user_id)
        person = await self.users.person(user_id)
        called = before.called
        if person.is_admin and user_id not in self.settings.admins:
            return translate("users.last_admin", user=called)
        lines = [translate("users.no_admin", user=called)] if was_admin and not person.is_admin else []
        if person.is_allowed:
            lines.append(translate("users.still", user=called))
        else:
            lines.append(translate("users.removed" if was_in else "users.unknown", user=called))
        if count := await self._cancel_waiting(user_id, once):
            lines.append(translate.plural("users.cancelled", count))
        return "\n".join(lines)

    async def _cancel_waiting(self, user_id: int, once: str) -> int:
        """Cancel jobs that have cost nothing yet and are no longer allowed; return their number."""
        jobs = {job.id: job for job in await self.store.jobs_of(user_id)}
        if user_id < 0:  # a group: also what its members asked for there
            jobs |= {job.id: job for job in await self.store.open_jobs() if job.chat_id == user_id}
        unwanted: list[Job] = []
        for job in jobs.values():
            # A job without a message is just being created, or was refused a mode.
            is_choosing = job.state is JobState.CHOOSING and job.message_id
            if not (is_choosing or job.state is JobState.QUEUED or job.cancelled_by == once):
                continue
            if not (await self.users.person(job.account, job.chat_id)).is_allowed:
                unwanted.append(job)
        cancelled = await self.actions.cancel(unwanted, once)
        await self.actions.show(cancelled)
        return len(cancelled)

    async def _invitation(self, context: Context) -> Rendered:
        word = await self.users.invite(context.person.id)
        link = f"https://t.me/{context.bot.username}?start={word}"
        back = button(context.translate("button.back"), Screen.USERS, _LIST, 0)
        return context.translate("users.invitation", link=link), InlineKeyboardMarkup([[back]])

    async def _list(self, translate: Language, number: int) -> Rendered:
        users = await self.users.allowed()
        page = page_of(users, number, PAGE_LENGTH)
        lines = [translate("users.everybody")] if self.settings.access == "open" else []
        lines.append(translate("users.head" if users else "users.nobody"))
        lines += [f"• {self._line(person, translate)}" for person in page.items]
        lines += ["", _usage(translate)]
        cards = [button(person.called, Screen.USERS, _CARD, person.id, page.number) for person in page.items]
        waiting = await self.desk.waiting()
        label = translate("button.waiting", count=translate.number(len(waiting)))
        rows = [
            [button(label, Screen.REQUESTS, LIST)] if waiting else [],
            *([card] for card in cards),
            page.turn_buttons(lambda label, other: button(label, Screen.USERS, _LIST, other)),
            [button(translate("button.invite"), Screen.USERS, _INVITE)],
        ]
        return "\n".join(lines), InlineKeyboardMarkup([row for row in rows if row])

    async def _card(self, user_id: int, page: str, translate: Language) -> Rendered:
        person = await self.users.person(user_id)
        labels: list[tuple[int | None, str]] = [(None, self._label(None, translate))]
        labels += [(credits, self._label(credits, translate)) for credits in CHOICES]
        choices = [
            button(
                f"✓ {label}" if credits == person.daily_credits else label,
                *(Screen.USERS, _CREDITS, user_id, page, _AS_SET if credits is None else credits),
            )
            for credits, label in labels
        ]
        rows = [
            *([choice] for choice in choices),
            [button(translate("button.remove"), Screen.USERS, _REMOVE, user_id, page)],
            [button(translate("button.back"), Screen.USERS, _LIST, page)],
        ]
        return translate("users.card", user=person.called), InlineKeyboardMarkup(rows)

    def _line(self, person: Person, translate: Language) -> str:
        label = self._label(person.daily_credits, translate)
        return translate("users.line", user=person.called, credits=label)

    def _label(self, credits: int | None, translate: Language) -> str:
        if credits is None:
            return translate("users.as_set", credits=self._label(self.settings.daily_credits, translate))
        return (
            translate("users.a_day", credits=translate.credits(credits))
            if credits
            else translate("users.no_limit")
        )


async def _names(bot: Bot, user_id: int) -> tuple[str, str] | None:
    """Return the name and the `@name`; `None` for a user whom Telegram does not show this bot."""
    try:
        chat = await bot.get_chat(user_id)
    except TelegramError:
        return None
    return chat.full_name or chat.title or "", chat.username or ""


def _mistake(words: list[str], user_id: int, translate: Language) -> str:
    """Say which word of a command is wrong."""
    verb, most = words[0], translate.number(MOST_CREDITS)
    if verb.lower() not in ("add", "remove", "credits"):
        return translate("users.wrong_verb", word=in_sentence(verb, _MAX_WORD))
    if len(words) < 2:
        return translate("users.no_person")
    if not user_id:
        return translate("users.wrong_person", word=in_sentence(words[1], _MAX_WORD))
    if verb.lower() == "credits" and not _is_amount(" ".join(words[2:3])):
        return translate("users.wrong_credits", word=in_sentence(" ".join(words[2:3]), _MAX_WORD), most=most)
    extra = words[3:] if verb.lower() == "credits" else words[2:]
    return translate("users.too_much", word=in_sentence(extra[0], _MAX_WORD))


def _usage(translate: Language) -> str:
    return translate("users.usage", most=translate.number(MOST_CREDITS))


def _is_amount(word: str) -> bool:
    return word == _AS_SET or (number_of(word) is not None and 0 <= int(word) <= MOST_CREDITS)
