"""The local Telegram with the actions of people: send, tap, edit, delete, read.

    telegram = Telegram(directory)
    alice = telegram.add_user("Alice", language_code="en")       # her private chat has the id alice.id
    song = await telegram.send_file(alice.id, Path("song.mp3"))  # becomes an `audio` message
    menu = await telegram.wait_for(lambda: telegram.bot_messages(alice.id), timeout_s=10)
    query = telegram.tap(alice.id, menu[-1].message_id, menu[-1].buttons[0]["callback_data"])
    await telegram.wait_for(lambda: query.is_answered)

A sending method takes the chat first; `user_id` is the sender (default: the private chat's person, a
group's first member, or a channel's owner). `reply_chat_id` is the chat of `reply_to` if it is another one.
An action that no client offers raises `PersonError`. For HTTP see `sandbox.telegram.app.run_telegram`.
"""

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from sandbox.telegram.chats import CallbackQuery, Chat, Message, User
from sandbox.telegram.entities import text_fields
from sandbox.telegram.errors import PersonError
from sandbox.telegram.files import StoredFile
from sandbox.telegram.message_content import file_content, other_content
from sandbox.telegram.state import TelegramState


class Telegram(TelegramState):
    # People and chats

    def add_user(
        self,
        first_name: str,
        *,
        language_code: str | None = "en",
        user_id: int | None = None,
        last_name: str | None = None,
        username: str | None = None,
    ) -> User:
        """Add a person with an open private chat with the bot; the chat's id is the user's id."""
        user_id = user_id or 10_000_001 + len(self.users)
        if user_id in self.users:
            raise PersonError(f"there is a user {user_id} already")
        user = User(user_id, first_name, False, last_name, username, language_code)
        self.users[user_id] = user
        self.chats[user_id] = Chat(user_id, "private", user=user)
        return user

    def add_group(
        self, title: str, members: Sequence[User], *, supergroup: bool = False, forum: bool = False
    ) -> Chat:
        """Add a group, supergroup or forum with the bot in it; the first member owns it."""
        supergroup = supergroup or forum
        number = 1_000_001 + len(self.chats)
        chat = Chat(
            -1_000_000_000_000 - number if supergroup else -number,
            "supergroup" if supergroup else "group",
            title,
            forum,
        )
        chat.members = {user.id: "member" for user in members} | {self.bot.id: "member"}
        chat.members[members[0].id] = "creator"
        self.chats[chat.id] = chat
        return chat

    def add_channel(self, title: str, owner: User, subscribers: Sequence[User] = ()) -> Chat:
        """Add a channel whose administrator the bot is."""
        chat = Chat(-1_000_000_000_000 - 1_000_001 - len(self.chats), "channel", title)
        chat.members = {user.id: "member" for user in subscribers}
        chat.members |= {owner.id: "creator", self.bot.id: "administrator"}
        self.chats[chat.id] = chat
        return chat

    def add_topic(self, chat_id: int, name: str) -> int:
        """Open a topic in a forum; returns its message_thread_id."""
        chat = self.chat(chat_id)
        if not chat.is_forum:
            raise PersonError("only a forum has topics")
        return self.open_topic(chat, name, self._person(chat, None)).thread_id

    def close_topic(self, chat_id: int, thread_id: int | None, *, closed: bool = True) -> None:
        """Close or reopen a topic (`None`: General); the bot gets TOPIC_CLOSED in a closed one."""
        chat = self.chat(chat_id)
        if thread_id is None:
            chat.is_general_closed = closed
        else:
            chat.topics[thread_id].is_closed = closed
        service = "forum_topic_closed" if closed else "forum_topic_reopened"
        self.post(chat, self._person(chat, None), {service: {}}, thread_id=thread_id)

    def delete_topic(self, chat_id: int, thread_id: int) -> None:
        chat = self.chat(chat_id)
        chat.topics[thread_id].is_deleted = True
        for message in chat.messages.values():
            if message.thread_id == thread_id:
                self.delete(message)

    def migrate_group(self, chat_id: int) -> Chat:
        """Upgrade a group to a supergroup with a new id and no history."""
        old = self.chat(chat_id)
        if old.type != "group" or old.migrated_to is not None:
            raise PersonError("only a group can be upgraded, and once")
        owner = self._person(old, None)
        members = [self.users[user_id] for user_id in old.members if user_id in self.users]
        new = self.add_group(old.title or "", members, supergroup=True)
        self.post(old, owner, {"migrate_to_chat_id": new.id})
        old.migrated_to = new.id
        self.post(new, owner, {"migrate_from_chat_id": old.id})
        return new

    def block_bot(self, chat_id: int) -> None:
        self._set_bot_out(chat_id, is_out=True)

    def unblock_bot(self, chat_id: int) -> None:
        self._set_bot_out(chat_id, is_out=False)

    def forbid(self, chat_id: int, *permissions: str, bot_only: bool = False) -> None:
        """Take these permissions from a group's members, or from the bot alone; none gives them back.

        Only the latter is an update.
        """
        chat = self.chat(chat_id)
        if not bot_only:
            chat.forbidden = frozenset(permissions)
            return
        old = chat.member(self.bot)
        chat.bot_forbidden = frozenset(permissions)
        self._change_bot(chat, old, chat.member(self.bot))

    def set_bot_status(self, chat_id: int, status: str) -> None:
        """Make the bot an `administrator` of a group or channel, or a `member`."""
        chat = self.chat(chat_id)
        old = chat.member(self.bot)
        chat.members[self.bot.id] = status
        self._change_bot(chat, old, chat.member(self.bot))

    def forbid_voice(self, chat_id: int, *, forbidden: bool = True) -> None:
        self.chat(chat_id).forbids_voice = forbidden

    # Sending

    def send_text(
        self,
        chat_id: int,
        text: str,
        *,
        user_id: int | None = None,
        thread_id: int | None = None,
        reply_to: int | None = None,
        reply_chat_id: int | None = None,
    ) -> Message:
        """Send a text; commands, links and mentions in it become entities."""
        fields = text_fields("text", text)
        return self._send(chat_id, fields, user_id, thread_id, reply_to, reply_chat_id=reply_chat_id)

    def send_other(
        self,
        chat_id: int,
        kind: str,
        *,
        user_id: int | None = None,
        thread_id: int | None = None,
        reply_to: int | None = None,
    ) -> Message:
        chat = self.chat(chat_id)
        content = other_content(self.files, kind, self._person(chat, user_id))
        return self._send(chat_id, content, user_id, thread_id, reply_to)

    async def send_file(
        self,
        chat_id: int,
        source: Path | BinaryIO,
        *,
        kind: str | None = None,
        file_name: str | None = None,
        mime_type: str | None = None,
        caption: str = "",
        user_id: int | None = None,
        thread_id: int | None = None,
        reply_to: int | None = None,
        media_group_id: str | None = None,
    ) -> Message:
        """Send a file as a Telegram client does.

        An MP3 or M4A that decodes is `audio`, an MP4 with video is `video`, any other file a `document`;
        `kind` (also voice, video_note, photo) overrides that. An album is several calls with one
        `media_group_id`. A stream needs a `file_name`.
        """
        if isinstance(source, Path):
            file_name = file_name or source.name
            content = await asyncio.to_thread(self.files.read_path, source)
        else:
            file_name = file_name or "file"
            content = await asyncio.to_thread(self.files.read, source)
        fields = file_content(self.files, content, file_name, kind, mime_type)
        if caption:
            fields["caption"] = caption
        return self._send(chat_id, fields, user_id, thread_id, reply_to, media_group_id=media_group_id)

    def tap(
        self, chat_id: int, message_id: int, callback_data: str, *, user_id: int | None = None
    ) -> CallbackQuery:
        """Press a button of a message. The returned query gets the bot's answer."""
        chat = self.chat(chat_id)
        message = self.find_message(chat, message_id)
        shown = [button.get("callback_data") for button in message.buttons] if message else []
        if message is None or callback_data not in shown:
            raise PersonError(f"message {message_id} shows no button {callback_data!r}, only {shown}")
        query = CallbackQuery(
            str(secrets.randbits(62)), self._person(chat, user_id), message, callback_data, self.clock()
        )
        self.queries[query.id] = query
        self.updates.add("callback_query", query.to_dict())
        return query

    def edit_text(self, chat_id: int, message_id: int, text: str) -> Message:
        message = self._own(chat_id, message_id)
        kept = {key: value for key, value in message.content.items() if not key.endswith("entities")}
        fields = text_fields("text" if "text" in message.content else "caption", text)
        self.edit(message, kept | fields, message.reply_markup)
        return message

    def delete_message(self, chat_id: int, message_id: int) -> None:
        """Delete any message of a chat for everyone, also the bot's."""
        message = self.find_message(self.chat(chat_id), message_id)
        if message is None:
            raise PersonError(f"there is no message {message_id}")
        self.delete(message)

    # Reading

    def user(self, user_id: int) -> User:
        if user_id not in self.users:
            raise PersonError(f"there is no user {user_id}")
        return self.users[user_id]

    def messages(self, chat_id: int, *, thread_id: int | None = None) -> list[Message]:
        """Return the chat's undeleted messages in order; with `thread_id` only those of that topic."""
        return [
            message
            for message in self.chat(chat_id).messages.values()
            if not message.is_deleted and (thread_id is None or message.thread_id == thread_id)
        ]

    def bot_messages(self, chat_id: int) -> list[Message]:
        return [message for message in self.messages(chat_id) if message.is_from_bot]

    def message(self, chat_id: int, message_id: int) -> Message:
        found = self.chat(chat_id).messages.get(message_id)
        if found is None:
            raise PersonError(f"there is no message {message_id}")
        return found

    def file(self, file_id: str) -> StoredFile:
        found = self.files.get(file_id)
        if found is None:
            raise PersonError("there is no such file")
        return found

    def file_location(self, file_id: str) -> Path:
        """Return a file's path on disk. Read only: equal files share their bytes."""
        return self.files.path_of(self.file(file_id))

    def forget_file(self, file_id: str) -> None:
        self.files.forget(file_id)

    def _set_bot_out(self, chat_id: int, *, is_out: bool) -> None:
        chat = self.chat(chat_id)
        if chat.is_bot_out == is_out:
            return
        chat.is_bot_out = is_out
        statuses = ["member", "kicked"] if is_out else ["kicked", "member"]
        old, new = (
            {"user": self.bot.to_dict(), "status": status} | ({"until_date": 0} if status == "kicked" else {})
            for status in statuses
        )
        self._change_bot(chat, old, new)

    def _change_bot(self, chat: Chat, old: dict[str, Any], new: dict[str, Any]) -> None:
        if old == new:
            return
        change = {
            "chat": chat.to_dict(),
            "from": self._person(chat, None).to_dict(),
            "date": int(self.clock()),
            "old_chat_member": old,
            "new_chat_member": new,
        }
        self.updates.add("my_chat_member", change)
        self.add_event(chat.id, "chat", change)

    def _person(self, chat: Chat, user_id: int | None) -> User:
        if chat.user is not None:
            return chat.user
        if user_id is None:
            owners = [found for found, status in chat.members.items() if status == "creator"]
            user_id = owners[0] if chat.type == "channel" else next(iter(chat.members))
        if user_id not in self.users or user_id not in chat.members:
            raise PersonError(f"user {user_id} is not in {chat.title}")
        return self.users[user_id]

    def _send(
        self,
        chat_id: int,
        content: dict[str, Any],
        user_id: int | None,
        thread_id: int | None,
        reply_to: int | None,
        *,
        reply_chat_id: int | None = None,
        media_group_id: str | None = None,
    ) -> Message:
        chat = self.chat(chat_id)
        if chat.migrated_to is not None:
            raise PersonError(f"the group is now {chat.migrated_to}")
        if thread_id is not None and (thread_id not in chat.topics or chat.topics[thread_id].is_deleted):
            raise PersonError(f"there is no topic {thread_id}")
        original = None if reply_to is None else self.message(reply_chat_id or chat_id, reply_to)
        person = self._person(chat, user_id)
        if chat.type == "channel" and chat.members[person.id] not in ("creator", "administrator"):
            raise PersonError("only administrators post in a channel")
        return self.post(
            chat,
            person,
            content,
            thread_id=thread_id,
            reply_to=original,
            media_group_id=media_group_id,
        )

    def _own(self, chat_id: int, message_id: int) -> Message:
        message = self.find_message(self.chat(chat_id), message_id)
        if message is None or message.is_from_bot:
            raise PersonError(f"message {message_id} is not a person's message")
        return message
