"""Handles songs in groups and channels: only on request, or every song if the chat has set that.

A request is `/stems` or the bot's name, in a reply or a caption.
"""

import logging
from dataclasses import dataclass

from telegram import (
    Chat,
    ExternalReplyInfo,
    InlineKeyboardMarkup,
    Message,
    Update,
)
from telegram.constants import ChatType

from bot.access import is_administrator, is_private
from bot.albums import AlbumChats
from bot.chat_rights import ChatRights
from bot.context import Context
from bot.mentions import names_bot
from bot.replies import answer_tap, edit, reply, tapped_words
from bot.sources import replied_song, source_of
from bot.uploads import Uploads
from stemdrop.chat.callback_data import Screen
from stemdrop.chat.members import is_in_chat
from stemdrop.chat.rendering import Rendered
from stemdrop.chat.screen_buttons import button
from stemdrop.domain.audio_types import UNKNOWN_EXTENSION
from stemdrop.domain.jobs import Obstacle, SourceKind
from stemdrop.services.orders import Orders
from stemdrop.storage.group_settings import GroupSettings
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Users

log = logging.getLogger(__name__)

# Where every song is answered, only these count as songs; voice messages and videos are talk,
# and a file without a type is seldom a song.
_SONGS = frozenset({SourceKind.AUDIO, SourceKind.DOCUMENT})
_EVERY, _ASKED = "1", "0"


@dataclass(frozen=True)
class GroupChats:
    """The handlers for `/stems`, for songs and mentions in groups, and for a group's setting."""

    uploads: Uploads
    albums: AlbumChats
    group_settings: GroupSettings
    users: Users
    rights: ChatRights
    store: JobStore
    orders: Orders

    async def joined(self, update: Update, context: Context) -> None:
        """Say in a new group which right the bot lacks, and send the stems that it did not take before."""
        change = update.my_chat_member
        if change is None:
            return
        is_new = is_in_chat(change.new_chat_member) and not is_in_chat(change.old_chat_member)
        if is_in_chat(change.new_chat_member):
            await self._send_waiting(change.chat.id)
        is_group = change.chat.type in (ChatType.GROUP, ChatType.SUPERGROUP) and context.person.is_allowed
        if is_group and is_new and (obstacle := await self.rights.obstacle(change.chat.id)):
            await context.bot.send_message(change.chat.id, context.translate(f"here.{obstacle}"))

    async def reopened(self, update: Update, context: Context) -> None:
        """Send the stems that waited for a topic to be reopened.

        The topic *General* has no number; when it is reopened, the stems for all closed topics are tried.
        """
        if message := update.effective_message:
            await self._send_waiting(message.chat_id, message.message_thread_id or 0)

    async def _send_waiting(self, chat_id: int, reopened_topic_id: int | None = None) -> None:
        """Send the stems that the chat did not take before, if it takes them now. Idempotent.

        With `reopened_topic_id` only those that this closed topic did not take (0: any closed topic).
        """
        waiting = await self.store.obstructed_jobs(chat_id)
        if not waiting or await self.rights.obstacle(chat_id):
            return
        for job in reversed(waiting):
            is_topic_closed = bool(job.failure and job.failure.code == Obstacle.TOPIC_CLOSED)
            if reopened_topic_id is None or (is_topic_closed and reopened_topic_id in (0, job.topic_id)):
                log.info("job %s: its chat may take its stems again", job.id)
                await self.orders.fetch_again(job)

    async def stems(self, update: Update, context: Context) -> None:
        """Take the song that `/stems` replies to; without one, say how to ask and show the setting."""
        message = update.effective_message
        if message is None:
            return
        if song := replied_song(message):
            await self._take(song, update, context)
        elif is_private(update):
            await reply(message, context.translate("group.no_song"))
        else:
            await reply(message, *await self._setting(message.chat, context))

    async def song(self, update: Update, context: Context) -> None:
        """Take a file in a group if its caption asks for it or the group wants every song answered."""
        message = update.effective_message
        if message is None:
            return
        is_asked = names_bot(message.caption or "", context.bot.username)
        source = source_of(message)
        if source is None and not message.media_group_id:
            if is_asked:
                await reply(message, context.translate("group.no_song"))
            return
        is_song = source is not None and source.kind in _SONGS and source.extension != UNKNOWN_EXTENSION
        is_asked = is_asked or (is_song and await self.group_settings.answers_all(message.chat_id))
        if message.media_group_id:
            await self.albums.join(message, message, context, is_asked=is_asked)
        elif is_asked:
            await self.uploads.take(message, update, context)

    async def talk(self, update: Update, context: Context) -> None:
        """Take the song that a text replies to if the text names the bot."""
        message = update.effective_message
        if message is None or not names_bot(message.text or "", context.bot.username):
            return
        if song := replied_song(message):
            await self._take(song, update, context)
        elif (message.text or "").lstrip().startswith("@"):  # the bot is addressed, not just mentioned
            await reply(message, context.translate("group.how", bot=context.bot.username))

    async def edited(self, update: Update, context: Context) -> None:
        """Take a song when its caption, or a reply to it, was edited and now names the bot.

        Idempotent: each message asks only once.
        """
        message = update.effective_message
        if message is None or not names_bot(message.text or message.caption or "", context.bot.username):
            return
        if song := message if source_of(message) else replied_song(message):
            await self._take(song, update, context)

    async def _take(self, song: Message | ExternalReplyInfo, update: Update, context: Context) -> None:
        """Take a song, together with its album if no other message has asked for that album before."""
        request = update.effective_message
        is_taken = False
        if request and isinstance(song, Message) and song.media_group_id and not is_private(update):
            is_taken = await self.albums.join(song, request, context, is_asked=True)
        if not is_taken:
            await self.uploads.take(song, update, context)

    async def tap(self, update: Update, context: Context) -> None:
        """Switch the setting; only administrators of the group may."""
        query, translate = update.callback_query, context.translate
        if query is None or query.message is None:
            return
        words = tapped_words(query)
        if words not in ((_EVERY,), (_ASKED,)):
            await answer_tap(query, translate("tap.stale_screen"))
            return
        chat = query.message.chat
        if not await is_administrator(chat, query.from_user.id):
            await answer_tap(query, translate("group.admins_only"))
            return
        await self.group_settings.set_answers_all(chat.id, words == (_EVERY,))
        log.info("group %d: every song is answered: %s", chat.id, words == (_EVERY,))
        await answer_tap(query, None)
        await edit(query, *await self._setting(chat, context))

    async def migrated(self, update: Update, context: Context) -> None:
        """Keep the settings of a group that became a supergroup. Idempotent: Telegram sends it twice."""
        message = update.effective_message
        if message is None:
            return
        old = message.migrate_from_chat_id or message.chat_id
        new = message.migrate_to_chat_id or message.chat_id
        log.info("group %d is %d now", old, new)
        await self.group_settings.migrate(old, new)
        await self.users.migrate(old, new)
        for job in await self.store.obstructed_jobs(old):
            await self.store.migrate(job, new)
        await self._send_waiting(new)

    async def _setting(self, chat: Chat, context: Context) -> Rendered:
        translate = context.translate
        every = await self.group_settings.answers_all(chat.id)
        text = f"{translate('group.how', bot=context.bot.username)}\n\n"
        text += translate("group.every" if every else "group.asked")
        if not await _reads_all(chat, context):
            text += "\n\n" + translate("group.blind", bot=context.bot.username)
        label = translate("button.group_asked" if every else "button.group_every")
        switch = button(label, Screen.GROUP, _ASKED if every else _EVERY)
        return text, InlineKeyboardMarkup([[switch]])


async def _reads_all(chat: Chat, context: Context) -> bool:
    """Whether the bot receives every message of the group; most bots receive only those that name them
    (core.telegram.org/bots/features#privacy-mode)."""
    return bool(context.bot.can_read_all_group_messages) or await is_administrator(chat, context.bot.id)
