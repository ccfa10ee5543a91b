"""`/users`: admins let people in, remove them, and settle how many credits a day each may spend."""

import logging

from telegram import Bot, InlineKeyboardMarkup, Update
from telegram.error import TelegramError

from bot.admission import is_for_admin, is_private
from bot.answers import answer, answer_tap, button, number_of, rewrite
from bot.context import Context
from stemdrop.chat.callback_data import Screen, ScreenTap
from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.rendering import Rendered
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Job, JobState
from stemdrop.errors import TryLater
from stemdrop.services.orders import Orders
from stemdrop.settings import Settings
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Person, Users

log = logging.getLogger(__name__)

PAGE_LENGTH = 8
# Credits a day that are offered as buttons; others are typed.
CHOICES = (20, 50, 100, 500, 0)
MOST_CREDITS = 1_000_000

_LIST, _INVITE, _CARD, _CREDITS, _REMOVE = "l", "i", "u", "c", "x"
_AS_SET = "-"


class UsersCommand:
    """The handlers for `/users` and its buttons. Everything here may be done twice."""

    def __init__(
        self, store: JobStore, orders: Orders, users: Users, status: JobMessage, settings: Settings
    ) -> None:
        self._store = store
        self._orders = orders
        self._users = users
        self._job_message = status
        self._settings = settings

    async def command(self, update: Update, context: Context) -> None:
        """Show the list, or do what is typed behind the command: `add`, `remove`, `credits`."""
        message = update.effective_message
        if message and context.person.is_admin and not is_private(update):
            await answer(message, context.say("users.in_group", id=message.chat_id))
            return
        if message is None or not await is_for_admin(update, context):
            return
        if not context.args:
            await answer(message, *await self._list(context.say, 0))
            return
        await answer(message, await self._typed(context.args, str(update.update_id), context))

    async def tap(self, update: Update, context: Context) -> None:
        """Do what the button says and show how it is now."""
        query, say = update.callback_query, context.say
        if query is None or not await is_for_admin(update, context):
            return
        choice = ScreenTap.from_data(query.data or "")
        shown = await self._tapped(choice.words if choice else (), query.id, context)
        await answer_tap(query, None if shown else say("tap.stale_screen"))
        if shown:
            await rewrite(query, *shown)

    async def _tapped(self, words: tuple[str, ...], once: str, context: Context) -> Rendered | None:
        say = context.say
        match words:
            case (letter, page) if letter == _LIST:
                return await self._list(say, number_of(page) or 0)
            case (letter,) if letter == _INVITE:
                return await self._invitation(context)
            case (letter, number, page) if letter == _CARD and (user_id := number_of(number)):
                return await self._card(user_id, page, say)
            case (letter, number, page, credits) if letter == _CREDITS and (user_id := number_of(number)):
                wanted = None if credits == _AS_SET else number_of(credits)
                await self._users.set_daily_credits(user_id, wanted)
                log.info("admin %d: user %d has %s credits a day", context.person.id, user_id, wanted)
                return await self._card(user_id, page, say)
            case (letter, number, page) if letter == _REMOVE and (user_id := number_of(number)):
                text = await self._remove(user_id, once, context)
                listed, keyboard = await self._list(say, number_of(page) or 0)
                return f"{text}\n\n{listed}", keyboard
        return None

    async def _typed(self, words: list[str], once: str, context: Context) -> str:
        say = context.say
        user_id = number_of(words[1]) if len(words) > 1 else None
        match words[0].lower(), words[2:]:
            case "add", [] if user_id:
                return await self._add(user_id, once, context)
            case "remove", [] if user_id:
                return await self._remove(user_id, once, context)
            case "credits", [credits] if user_id and _is_amount(credits):
                wanted = None if credits == _AS_SET else int(credits)
                await self._users.set_daily_credits(user_id, wanted)
                log.info("admin %d: user %d has %s credits a day", context.person.id, user_id, wanted)
                return self._line(await self._users.person(user_id), say)
        return _usage(say)

    async def _add(self, user_id: int, once: str, context: Context) -> str:
        """`once`, here and below: what asks for it. Handled again, it is told what it was told first."""
        (was_in,) = await self._users.counted(once, (await self._users.is_let_in(user_id),))
        await self._users.add(user_id)
        log.info("admin %d let %d in", context.person.id, user_id)
        if name := await _name(context.bot, user_id):
            await self._users.set_name(user_id, name)
        person = await self._users.person(user_id)
        return context.say("users.added_before" if was_in else "users.added", user=person.called)

    async def _remove(self, user_id: int, once: str, context: Context) -> str:
        say, before = context.say, await self._users.person(user_id)
        counters = (await self._users.is_let_in(user_id), before.is_admin)
        was_in, was_admin = await self._users.counted(once, counters)
        await self._users.remove(user_id)
        log.info("admin %d removed %d", context.person.id, user_id)
        person = await self._users.person(user_id)
        called = before.called
        if person.is_admin and user_id not in self._settings.admins:
            return say("users.last_admin", user=called)
        lines = [say("users.no_admin", user=called)] if was_admin and not person.is_admin else []
        if person.is_allowed:
            lines.append(say("users.still", user=called))
        else:
            lines.append(say("users.removed" if was_in else "users.unknown", user=called))
        if count := await self._cancel_waiting(user_id, once):
            lines.append(say.plural("users.cancelled", count))
        return "\n".join(lines)

    async def _cancel_waiting(self, user_id: int, once: str) -> int:
        """Cancel what has cost nothing yet, where they may no longer ask for it; returns how many songs."""
        jobs = {job.id: job for job in await self._store.jobs_of(user_id)}
        if user_id < 0:  # a group: what its members asked for there
            jobs |= {job.id: job for job in await self._store.open_jobs() if job.chat_id == user_id}
        cancelled: list[Job] = []
        for job in jobs.values():
            # one without a message of its own is on its way to get a mode, or was refused one
            is_choosing = job.state is JobState.CHOOSING and job.message_id
            if not (is_choosing or job.state is JobState.QUEUED or job.cancelled_by == once):
                continue
            if (await self._users.person(job.account, job.chat_id)).is_allowed:
                continue
            if await self._orders.cancel(job, once):
                cancelled.append(job)
        await self._show(cancelled)
        return len(cancelled)

    async def _show(self, jobs: list[Job]) -> None:
        """Best effort: the sweep shows what could not be shown now."""
        for job in jobs:
            try:
                await self._job_message.show_current(job.id)
            except (TelegramError, TryLater) as error:
                log.info("job %s: that it is cancelled could not be shown: %s", job.id, error)

    async def _invitation(self, context: Context) -> Rendered:
        word = await self._users.invite(context.person.id)
        link = f"https://t.me/{context.bot.username}?start={word}"
        back = button(context.say("button.back"), Screen.USERS, _LIST, 0)
        return context.say("users.invitation", link=link), InlineKeyboardMarkup([[back]])

    async def _list(self, say: Language, page: int) -> Rendered:
        users = await self._users.allowed()
        last = max(0, len(users) - 1) // PAGE_LENGTH
        page = min(max(0, page), last)
        shown = users[page * PAGE_LENGTH : (page + 1) * PAGE_LENGTH]
        lines = [say("users.everybody")] if self._settings.access == "open" else []
        lines.append(say("users.head" if users else "users.nobody"))
        lines += [f"• {self._line(person, say)}" for person in shown]
        lines += ["", _usage(say)]
        cards = [button(person.called, Screen.USERS, _CARD, person.id, page) for person in shown]
        account_queue = [
            button(sign, Screen.USERS, _LIST, page + step)
            for sign, step in (("‹", -1), ("›", 1))
            if 0 <= page + step <= last
        ]
        rows = [
            *([card] for card in cards),
            account_queue,
            [button(say("button.invite"), Screen.USERS, _INVITE)],
        ]
        return "\n".join(lines), InlineKeyboardMarkup([row for row in rows if row])

    async def _card(self, user_id: int, page: str, say: Language) -> Rendered:
        person = await self._users.person(user_id)
        labels: list[tuple[int | None, str]] = [(None, self._label(None, say))]
        labels += [(credits, self._label(credits, say)) for credits in CHOICES]
        choices = [
            button(
                f"✓ {label}" if credits == person.daily_credits else label,
                *(Screen.USERS, _CREDITS, user_id, page, _AS_SET if credits is None else credits),
            )
            for credits, label in labels
        ]
        rows = [
            *([choice] for choice in choices),
            [button(say("button.remove"), Screen.USERS, _REMOVE, user_id, page)],
            [button(say("button.back"), Screen.USERS, _LIST, page)],
        ]
        return say("users.card", user=person.called), InlineKeyboardMarkup(rows)

    def _line(self, person: Person, say: Language) -> str:
        label = self._label(person.daily_credits, say)
        return say("users.line", user=person.called, credits=label)

    def _label(self, credits: int | None, say: Language) -> str:
        if credits is None:
            return say("users.as_set", credits=self._label(self._settings.daily_credits, say))
        return say("users.a_day", credits=say.credits(credits)) if credits else say("users.no_limit")


async def _name(bot: Bot, user_id: int) -> str:
    """What Telegram calls them; empty where they have never written to the bot."""
    try:
        chat = await bot.get_chat(user_id)
    except TelegramError:
        return ""
    return chat.full_name or chat.title or ""


def _usage(say: Language) -> str:
    return say("users.usage", most=say.number(MOST_CREDITS))


def _is_amount(word: str) -> bool:
    return word == _AS_SET or (number_of(word) is not None and 0 <= int(word) <= MOST_CREDITS)
