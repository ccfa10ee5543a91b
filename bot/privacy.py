"""`/privacy` says what is stored about a user and for how long; `/delete` deletes it."""

import logging
from dataclasses import dataclass
from urllib.parse import urlsplit

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.constants import KeyboardButtonStyle
from telegram.error import BadRequest, Forbidden, TelegramError

from bot.access import is_for_asker, is_private
from bot.album_menu import AlbumMenu
from bot.context import Context
from bot.job_actions import JobActions
from bot.replies import answer_tap, edit, reply, tapped_words
from stemdrop.chat.callback_data import Screen
from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.screen_buttons import button
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import CANCELLABLE, Job, JobState
from stemdrop.domain.recipes import Remix
from stemdrop.errors import TryLater
from stemdrop.http.proxies import is_inside
from stemdrop.provider.registry import first_name, provider_order
from stemdrop.settings import Settings
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.access_requests import AccessRequests
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import (
    CALL_LIFETIME_S,
    DAY_S,
    JOB_LIFETIME_S,
    KEPT_LIFETIME_S,
    REFUSAL_LIFETIME_S,
    REMIX_LIFETIME_S,
    REQUEST_LIFETIME_S,
    SPENT_LIFETIME_S,
)
from stemdrop.storage.remixes import Remixes
from stemdrop.storage.stem_cache import StemCache
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)

# The words of the links `t.me/<bot>?start=…` that do the same as the commands.
PRIVACY_WORD, DELETE_WORD = "privacy", "delete"
_YES, _NO = "y", "n"
# How long a message's last edit waits for Telegram's limits: it is never edited after its job is deleted.
_EDIT_PATIENCE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """The handlers for `/privacy`, `/delete` and its buttons; strangers may use them too."""

    store: JobStore
    actions: JobActions
    users: Users
    requests: AccessRequests
    album_menu: AlbumMenu
    stem_cache: StemCache
    remixes: Remixes
    job_message: JobMessage
    settings: Settings
    abilities: AbilitiesCache

    async def explain(self, update: Update, context: Context) -> None:
        """Say what is stored; in a group, by a message in private or by a link to the private chat."""
        message, translate = update.effective_message, context.translate
        if message is None:
            return
        is_free = (await self.abilities.get()).is_free
        text = explanation(self.settings, translate.where(is_free=is_free), is_free=is_free)
        if is_private(update):
            await reply(message, text)
            return
        try:
            await context.bot.send_message(context.person.id, text)
        except (BadRequest, Forbidden):  # the user never wrote to the bot, or is an anonymous admin
            await reply(message, translate("ask_in_private"), link_to_private(context, PRIVACY_WORD))
        else:
            await reply(message, translate("told_in_private"))

    async def ask(self, update: Update, context: Context) -> None:
        """Ask before anything is deleted, and only in private."""
        message, translate = update.effective_message, context.translate
        if message is None:
            return
        if not is_private(update):
            await reply(message, translate("ask_in_private"), link_to_private(context, DELETE_WORD))
            return
        asker = context.person.id
        rows = [
            [
                button(
                    translate("button.delete"), Screen.DELETE, asker, _YES, style=KeyboardButtonStyle.DANGER
                )
            ],
            [button(translate("button.keep"), Screen.DELETE, asker, _NO)],
        ]
        await reply(message, translate("delete.ask"), InlineKeyboardMarkup(rows))

    async def tap(self, update: Update, context: Context) -> None:
        query, translate = update.callback_query, context.translate
        if query is None or not await is_for_asker(update, context):
            return
        match tapped_words(query):
            case (_, word) if word == _NO:
                await answer_tap(query, None)
                await edit(query, translate("delete.kept"))
            case (_, word) if word == _YES:
                await answer_tap(query, None)
                # the second of two taps shows what the first one found, in the language that was deleted
                once = f"{query.chat_instance}:{query.message.message_id if query.message else query.id}"
                await edit(query, await self._delete(query.from_user.id, once, translate))
            case _:
                await answer_tap(query, translate("tap.stale_screen"))

    async def _delete(self, user_id: int, once: str, translate: Language) -> str:
        """Delete all data of the user and return a text that says how much; idempotent for each `once`."""
        counted = (translate.code, *await self._count(user_id))
        code, songs, cached = await self.users.counted(once, counted)
        translate = self.job_message.translations.language(code)
        await self.album_menu.forget(user_id, _EDIT_PATIENCE_S)
        jobs = [job for job in await self.store.jobs_of(user_id) if job.state in CANCELLABLE]
        cancelled = await self.actions.cancel(jobs)
        await self.actions.show((job for job in cancelled if job.message_id), _EDIT_PATIENCE_S)
        for job in await self.store.jobs_of(user_id):
            if job.state is JobState.DELIVERING:  # its message says that stems are being sent
                await self._show_deleted(job)
            await self.store.forget(job.id)
        for job_id in await self.store.ids_of(user_id):  # only those that cannot be read are left
            log.warning("job %s: its user has deleted it; it could not be read", job_id)
            await self.store.forget(job_id)
        for remix in await self.remixes.open_of(user_id):
            await self._remove_progress(remix)
        await self.stem_cache.forget_of(user_id)
        await self.remixes.forget_of(user_id)
        await self.users.forget(user_id)
        await self.requests.forget(user_id)
        log.info("user %d had everything deleted: %d songs, %d in the cache", user_id, songs, cached)
        translate = translate.where(is_free=(await self.abilities.get()).is_free)
        lines = [
            translate.plural("delete.songs", songs),
            translate.plural("delete.kept_songs", cached),
            translate("delete.choices"),
            "",
            translate("delete.stays", days=SPENT_LIFETIME_S // DAY_S),
        ]
        return "\n".join(lines)

    async def _count(self, user_id: int) -> tuple[int, int]:
        """Count the songs, each once however often it was tried, and the cached results."""
        jobs = await self.store.jobs_of(user_id)
        # in a group that migrated the song's message has no number
        songs = {(job.chat_id, job.source_message_id or job.source.file_unique_id) for job in jobs}
        unreadable = len(await self.store.ids_of(user_id)) - len(jobs)
        return len(songs) + unreadable, await self.stem_cache.count_of(user_id)

    async def _show_deleted(self, job: Job) -> None:
        try:
            await self.job_message.show_deleted(job, _EDIT_PATIENCE_S)
        except (TelegramError, TryLater) as error:
            log.info("job %s: its message could not be edited: %s", job.id, error)

    async def _remove_progress(self, remix: Remix) -> None:
        """Delete the message that says that a remix is being made."""
        if not remix.message_id:
            return
        try:
            await self.job_message.bot.delete_message(remix.chat_id, remix.message_id)
        except (TelegramError, TryLater) as error:
            log.info("job %s: the message of a remix could not be deleted: %s", remix.job_id, error)


def link_to_private(context: Context, word: str) -> InlineKeyboardMarkup:
    """Return a button that opens the private chat, where this word of the link stands for a command."""
    url = f"https://t.me/{context.bot.username}?start={word}"
    return InlineKeyboardMarkup([[InlineKeyboardButton(context.translate("button.in_private"), url=url)]])


def explanation(settings: Settings, translate: Language, *, is_free: bool = False) -> str:
    """Say what is stored, for how long, and which services receive the song."""
    return "\n\n".join(
        [
            translate("privacy.head"),
            translate("privacy.audio"),
            *([translate("privacy.local_server")] if settings.telegram_local_mode else []),
            *_passed_on(settings, translate),
            translate("privacy.jobs", days=JOB_LIFETIME_S // DAY_S),
            translate("privacy.shelf", days=KEPT_LIFETIME_S // DAY_S),
            translate("privacy.remixes", days=REMIX_LIFETIME_S // DAY_S, cached=KEPT_LIFETIME_S // DAY_S),
            *([translate("privacy.mixer")] if settings.mixer_url else []),
            *([] if is_free else [translate("privacy.credits", days=SPENT_LIFETIME_S // DAY_S)]),
            translate("privacy.person"),
            *([_asked(translate)] if settings.access == "invite" else []),
            translate("privacy.messages"),
            translate("privacy.operator"),
            translate("privacy.logs"),
            translate("privacy.calls", days=CALL_LIFETIME_S // DAY_S),
            translate("privacy.delete"),
        ]
    )


def _asked(translate: Language) -> str:
    return translate("privacy.asked", days=REQUEST_LIFETIME_S // DAY_S, refused=REFUSAL_LIFETIME_S // DAY_S)


def _passed_on(settings: Settings, translate: Language) -> list[str]:
    """Say which services separate the songs, and what is known of how long they store them."""
    first, order = first_name(settings), provider_order(settings)
    if order == [first]:
        return [_passed_to_first(settings, translate)]
    urls = [
        settings.separation_api_url if it == first else getattr(settings, f"{it}_api_url") for it in order
    ]
    if first in order and not settings.public_url:
        urls.append(settings.upload_url)
    hosts = dict.fromkeys(urlsplit(url).hostname or "" for url in urls)
    services = [host for host in hosts if not is_inside(host)]
    texts = [translate("privacy.own_separator")] if len(services) < len(hosts) else []
    if len(services) == 1:
        return [translate("privacy.sent", service=services[0]), *texts]
    return [translate("privacy.several", services=", ".join(services)), *texts] if services else texts


def _passed_to_first(settings: Settings, translate: Language) -> str:
    service = urlsplit(settings.separation_api_url).hostname or ""
    host = urlsplit(settings.upload_url).hostname or ""
    if is_inside(service) and (settings.public_url or is_inside(host)):
        return translate("privacy.own_separator")
    if settings.public_url:
        return translate("privacy.fetched", service=service)
    return translate("privacy.uploaded", service=service, host=host)
