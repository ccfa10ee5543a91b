"""In groups people send each other songs: the bot takes one up only when somebody asks for it, by a reply or
a caption with `/stems` or its name, unless the group wants every song answered."""

import logging
import re

from telegram import Chat, InlineKeyboardMarkup, Update
from telegram.constants import ChatMemberStatus
from telegram.error import BadRequest

from bot.admission import is_private
from bot.answers import answer, answer_tap, button, rewrite
from bot.context import Context
from bot.sources import source_of
from bot.uploads import Uploads
from stemdrop.chat.callback_data import Screen, ScreenTap
from stemdrop.chat.rendering import Rendered
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import SourceKind
from stemdrop.storage.group_settings import GroupSettings
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)

# Where every song is answered, these are songs; voice messages and videos are talk until somebody asks.
_SONGS = frozenset({SourceKind.AUDIO, SourceKind.DOCUMENT})
_OFFICE = frozenset({ChatMemberStatus.OWNER, ChatMemberStatus.ADMINISTRATOR})
_EVERY, _ASKED = "1", "0"


class GroupChats:
    """The handlers for `/stems`, for songs and mentions in groups, and for a group's setting."""

    def __init__(self, uploads: Uploads, group_settings: GroupSettings, users: Users) -> None:
        self._uploads = uploads
        self._group_settings = group_settings
        self._users = users

    async def stems(self, update: Update, context: Context) -> None:
        """`/stems`: split the song that it replies to; without one, say how to ask and show the setting."""
        message = update.effective_message
        if message is None:
            return
        replied = message.reply_to_message
        if replied and source_of(replied):
            await self._uploads.take(replied, update, context)
        elif is_private(update):
            await answer(message, context.say("group.no_song"))
        else:
            await answer(message, *await self._setting(message.chat, context))

    async def song(self, update: Update, context: Context) -> None:
        """A file in a group: taken up when its caption asks for that, or when the group wants it so."""
        message = update.effective_message
        if message is None:
            return
        is_asked = names_bot(message.caption or "", context.bot.username)
        source = source_of(message)
        if source is None:
            if is_asked:
                await answer(message, context.say("group.no_song"))
            return
        wants = source.kind in _SONGS and await self._group_settings.answers_all(message.chat_id)
        if is_asked or wants:
            await self._uploads.take(message, update, context)

    async def talk(self, update: Update, context: Context) -> None:
        """A text in a group: one that names the bot under a song asks for it."""
        message = update.effective_message
        if message is None or not names_bot(message.text or "", context.bot.username):
            return
        replied = message.reply_to_message
        if replied and source_of(replied):
            await self._uploads.take(replied, update, context)
        elif (message.text or "").lstrip().startswith("@"):  # it is talked to, and not about
            await answer(message, context.say("group.how", bot=context.bot.username))

    async def tap(self, update: Update, context: Context) -> None:
        """Switch the setting; only who runs the group may."""
        query, say = update.callback_query, context.say
        if query is None or query.message is None:
            return
        choice = ScreenTap.from_data(query.data or "")
        if choice is None or choice.words not in ((_EVERY,), (_ASKED,)):
            await answer_tap(query, say("tap.stale_screen"))
            return
        chat = query.message.chat
        if not await _runs_group(chat, query.from_user.id):
            await answer_tap(query, say("group.admins_only"))
            return
        await self._group_settings.set_answers_all(chat.id, choice.words == (_EVERY,))
        log.info("group %d: every song is answered: %s", chat.id, choice.words == (_EVERY,))
        await answer_tap(query, None)
        await rewrite(query, *await self._setting(chat, context))

    async def migrated(self, update: Update, context: Context) -> None:
        """The group became a supergroup with another number: what was settled for it stays. It is told twice,
        in the old chat and in the new one."""
        message = update.effective_message
        if message is None:
            return
        old = message.migrate_from_chat_id or message.chat_id
        new = message.migrate_to_chat_id or message.chat_id
        log.info("group %d is %d now", old, new)
        await self._group_settings.migrate(old, new)
        await self._users.migrate(old, new)

    async def _setting(self, chat: Chat, context: Context) -> Rendered:
        say: Language = context.say
        every = await self._group_settings.answers_all(chat.id)
        text = f"{say('group.how', bot=context.bot.username)}\n\n"
        text += say("group.every" if every else "group.asked")
        if not await _reads_all(chat, context):
            text += "\n\n" + say("group.blind", bot=context.bot.username)
        label = say("button.group_asked" if every else "button.group_every")
        switch = button(label, Screen.GROUP, _ASKED if every else _EVERY)
        return text, InlineKeyboardMarkup([[switch]])


def names_bot(text: str, username: str) -> bool:
    """Whether `/stems`, `/stems@bot` or `@bot` stands in the text as a word of its own."""
    name = re.escape(username)
    return re.search(rf"(?<![\w@/])(/stems(@{name})?|@{name})(?![\w@])", text, re.IGNORECASE) is not None


async def _reads_all(chat: Chat, context: Context) -> bool:
    """Whether the bot is shown every song of the group; to most bots Telegram shows only what names them
    (core.telegram.org/bots/features#privacy-mode)."""
    return bool(context.bot.can_read_all_group_messages) or await _runs_group(chat, context.bot.id)


async def _runs_group(chat: Chat, user_id: int) -> bool:
    try:
        member = await chat.get_member(user_id)
    except BadRequest as error:  # somebody who has left, on an old message
        log.debug("group %d: member %d: %s", chat.id, user_id, error)
        return False
    return member.status in _OFFICE
