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
from pathlib import Path
from typing import Any, BinaryIO

from sandbox.telegram.chats import CallbackQuery, Message
from sandbox.telegram.entities import text_fields
from sandbox.telegram.errors import PersonError
from sandbox.telegram.files import StoredFile
from sandbox.telegram.membership import Membership
from sandbox.telegram.message_content import file_content, other_content
from sandbox.telegram.person_texts import check_caption, check_text
from sandbox.telegram.web_apps import launch_url


class Telegram(Membership):
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
        check_text(text)
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
        content = other_content(self.files, kind, self.person(chat, user_id))
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
        `media_group_id`. A stream needs a `file_name`. An empty file is refused, as TDLib refuses it.
        """
        check_caption(caption)
        file_name = file_name or (source.name if isinstance(source, Path) else "file")
        if isinstance(source, Path):
            content = await asyncio.to_thread(self.files.read_path, source)
        else:
            content = await asyncio.to_thread(self.files.read, source)
        if content.size_bytes == 0:
            raise PersonError("the file is empty")
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
            str(secrets.randbits(62)), self.person(chat, user_id), message, callback_data, self.clock()
        )
        self.queries[query.id] = query
        self.updates.add("callback_query", query.to_dict())
        self.notify_change()
        return query

    def open_web_app(
        self, chat_id: int, message_id: int, url: str, *, user_id: int | None = None, is_night: bool = False
    ) -> str:
        """Press a button that opens a Web App; returns the address that the client opens."""
        chat = self.chat(chat_id)
        message = self.find_message(chat, message_id)
        shown = (
            [button["web_app"]["url"] for button in message.buttons if "web_app" in button] if message else []
        )
        if url not in shown:
            raise PersonError(f"message {message_id} opens no Web App {url!r}, only {shown}")
        return launch_url(url, self.token, self.person(chat, user_id), self.clock(), is_night=is_night)

    def edit_text(self, chat_id: int, message_id: int, text: str) -> Message:
        message = self._own(chat_id, message_id)
        kept = {key: value for key, value in message.content.items() if not key.endswith("entities")}
        is_text = "text" in message.content
        (check_text if is_text else check_caption)(text)
        fields = text_fields("text" if is_text else "caption", text)
        self.edit(message, kept | fields, message.reply_markup)
        return message

    def delete_message(self, chat_id: int, message_id: int) -> None:
        """Delete any message of a chat for everyone, also the bot's."""
        message = self.find_message(self.chat(chat_id), message_id)
        if message is None:
            raise PersonError(f"there is no message {message_id}")
        self.delete(message)

    # Reading

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
        """Return a file's path on disk, only for reading: equal files share their bytes."""
        return self.files.path_of(self.file(file_id))

    def forget_file(self, file_id: str) -> None:
        self.files.forget(file_id)

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
        if thread_id is not None:
            self._topic(chat, thread_id)
        original = None if reply_to is None else self.message(reply_chat_id or chat_id, reply_to)
        person = self.person(chat, user_id)
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
