"""Makes what the words with a dollar in the table of refusals stand for; each is an attribute."""

import inspect
from functools import cached_property
from io import BytesIO
from typing import Any

from sandbox.telegram.chats import CallbackQuery, Chat, Message
from sandbox.telegram.files import StoredFile
from sandbox.telegram.person_actions import Telegram
from sandbox.telegram.state import Limits
from sandbox.telegram.updates import Webhook

_VALUES = {Chat: "id", Message: "message_id", CallbackQuery: "id", StoredFile: "file_id"}


class World:
    def __init__(self, telegram: Telegram, song: bytes) -> None:
        self.telegram = telegram
        self._song = song
        self._alice = telegram.add_user("Alice")

    async def resolve(self, value: Any) -> Any:
        """Return a parameter, or the `parameters` of an answer, with its dollar words replaced."""
        if isinstance(value, dict):
            return {key: await self.resolve(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [await self.resolve(inner) for inner in value]
        if not isinstance(value, str) or not value.startswith("$"):
            return value
        found = getattr(self, value[1:])
        found = await found() if inspect.iscoroutinefunction(found) else found
        return getattr(found, _VALUES[type(found)]) if type(found) in _VALUES else found

    # Chats

    @cached_property
    def alice(self) -> Chat:
        return self.telegram.chat(self._alice.id)

    @property
    def blocked(self) -> Chat:
        self.telegram.block_bot(self._alice.id)
        return self.alice

    @property
    def quiet(self) -> Chat:
        self.telegram.forbid_voice(self._alice.id)
        return self.alice

    @property
    def flooded(self) -> Chat:
        self.telegram.flood.take(self._alice.id, 20)
        return self.alice

    @cached_property
    def group(self) -> Chat:
        return self.telegram.add_group("Band", [self._alice])

    @property
    def left_group(self) -> Chat:
        self.telegram.block_bot(self.group.id)
        return self.group

    @property
    def left_supergroup(self) -> Chat:
        chat = self.telegram.add_group("Band", [self._alice], supergroup=True)
        self.telegram.block_bot(chat.id)
        return chat

    @cached_property
    def migrated_to(self) -> Chat:
        return self.telegram.migrate_group(self.group.id)

    @property
    def migrated(self) -> Chat:
        assert self.migrated_to
        return self.group

    @cached_property
    def muted(self) -> Chat:
        rights = ("messages", "audios", "voice_notes", "documents", "photos")
        self.telegram.forbid(self.group.id, *(f"can_send_{right}" for right in rights))
        return self.group

    @cached_property
    def channel(self) -> Chat:
        return self.telegram.add_channel("Label", self._alice)

    @property
    def foreign_channel(self) -> Chat:
        self.telegram.set_bot_status(self.channel.id, "member")
        return self.channel

    @cached_property
    def forum(self) -> Chat:
        return self.telegram.add_group("Forum", [self._alice], forum=True)

    @property
    def closed_topic(self) -> int:
        thread_id = self.telegram.add_topic(self.forum.id, "songs")
        self.telegram.close_topic(self.forum.id, thread_id)
        return thread_id

    @property
    def deleted_topic(self) -> int:
        thread_id = self.telegram.add_topic(self.forum.id, "songs")
        self.telegram.delete_topic(self.forum.id, thread_id)
        return thread_id

    # Messages

    @property
    def song(self) -> Message:
        return self.telegram.send_text(self._alice.id, "song")

    @property
    def said(self) -> Message:
        return self.telegram.send_text(self.group.id, "said")

    @property
    def deleted(self) -> Message:
        message = self.own_text
        self.telegram.delete(message)
        return message

    @property
    def old(self) -> Message:
        message = self.own_text
        message.date -= 48 * 3600 + 1
        return message

    @property
    def own_text(self) -> Message:
        return self._post(self.alice, {"text": "own text"})

    @property
    def own_muted(self) -> Message:
        return self._post(self.muted, {"text": "own text"})

    @property
    def own_audio(self) -> Message:
        return self._post(self.alice, {"audio": self.audio.to_dict()})

    @property
    def query(self) -> CallbackQuery:
        keyboard = {"inline_keyboard": [[{"text": "x", "callback_data": "x"}]]}
        message = self._post(self.alice, {"text": "choose"}, keyboard)
        return self.telegram.tap(self._alice.id, message.message_id, "x")

    @property
    def answered_query(self) -> CallbackQuery:
        query = self.query
        query.is_answered = True
        return query

    @property
    def late_query(self) -> CallbackQuery:
        query = self.query
        query.date -= self.telegram.query_lifetime_s + 1
        return query

    # Files and other state

    @cached_property
    def audio(self) -> StoredFile:
        return self._file("audio", "song.mp3")

    @cached_property
    def document(self) -> StoredFile:
        return self._file("document", "song.wav")

    @cached_property
    def voice(self) -> StoredFile:
        return self._file("voice", "voice.ogg")

    @property
    def forgotten(self) -> StoredFile:
        self.telegram.forget_file(self.audio.file_id)
        return self.audio

    @property
    def big_file(self) -> StoredFile:
        self.telegram.limits = Limits(download_bytes=len(self._song) - 1, upload_bytes=0)
        return self.audio

    async def webhook(self) -> int:
        await self.telegram.updates.set_webhook(Webhook("http://127.0.0.1:9/", None, 1))
        return 0

    def _post(self, chat: Chat, content: dict[str, Any], keyboard: dict[str, Any] | None = None) -> Message:
        return self.telegram.post(chat, self.telegram.bot, content, reply_markup=keyboard)

    def _file(self, kind: str, name: str) -> StoredFile:
        content = self.telegram.files.read(BytesIO(self._song))
        return self.telegram.files.add_media(kind, content, name)
