"""The local Telegram's state in a database: written with every change, read at the next start.

Deleted messages are not kept, and files that belong to no message are removed at the start and at the end.
Flood limits, injected faults, the log of calls and the events begin anew.
"""

import base64
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sandbox.environment.database import Database
from sandbox.telegram.chats import CallbackQuery, Chat, Message, Revision, User
from sandbox.telegram.files import StoredFile
from sandbox.telegram.media import Probe
from sandbox.telegram.person_actions import Telegram
from sandbox.telegram.updates import Webhook

_THE_BOT = 0  # the bot's id in records, since its real id changes with the token
_Key = tuple[str, str]
_T = TypeVar("_T")


@dataclass
class _Bot:
    """The keys, the last numbers of each sequence, and what the bot has set at Telegram."""

    token: str
    access_key: str
    user_id: int
    last_message_id: int = 0
    last_file_number: int = -1
    next_update_id: int = 0
    allowed_kinds: list[str] | None = None
    webhook: Webhook | None = None
    commands: list[tuple[str, str, list[dict[str, str]]]] = field(default_factory=list)
    descriptions: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class _Message:
    chat_id: int
    message_id: int
    sender_id: int
    date: int
    content: dict[str, Any]
    reply_markup: dict[str, Any] | None
    thread_id: int | None
    reply_to: tuple[int, int] | None  # chat and message
    media_group_id: str | None
    edit_date: int | None
    reaction: str
    history: list[Revision]


@dataclass
class _Query:
    id: str
    user_id: int
    chat_id: int
    message_id: int
    data: str
    date: float


@dataclass
class _File:
    file_id: str
    kind: str
    file_path: str
    attributes: dict[str, Any]
    unique_id: str
    size_bytes: int
    probe: dict[str, Any]  # its cover in Base64


_BOT, _USER, _CHAT = TypeAdapter(_Bot), TypeAdapter(User), TypeAdapter(Chat)
_MESSAGE, _QUERY, _FILE = TypeAdapter(_Message), TypeAdapter(_Query), TypeAdapter(_File)
_UPDATE = TypeAdapter(dict[str, Any])


def open_telegram(
    database: Database, directory: Path, *, token: str | None = None, local: bool = False
) -> Telegram:
    """Return the database's Telegram, or a new one; every change is saved until the database is closed.

    `token` replaces the earlier one. Raises `DatabaseError`, and ValueError for a malformed token.
    """
    bots = _read(database, "bot", _BOT)
    telegram = Telegram(directory, token=token or (bots[0].token if bots else None), local=local)
    if bots:
        _restore(telegram, database, bots[0])
    saved = _SavedState(telegram, database)
    telegram.save = saved.save
    telegram.save()
    return telegram


def close_telegram(telegram: Telegram, database: Database) -> None:
    """Remove the files that no message has, save, and close the database. Blocking."""
    telegram.files.keep_only(set(_file_ids(telegram)))
    telegram.save()
    telegram.save = lambda: None
    database.close()


def _read(database: Database, kind: str, record: TypeAdapter[_T]) -> list[_T]:
    return [_parse(database, record, text) for _, text in database.read(kind)]


def _parse(database: Database, record: TypeAdapter[_T], text: str) -> _T:
    try:
        return record.validate_json(text)
    except ValidationError as error:
        raise database.damaged(f"{error.error_count()} wrong values of a {error.title}") from error


def _restore(telegram: Telegram, database: Database, bot: _Bot) -> None:
    telegram.access_key = bot.access_key
    telegram.last_message_id = bot.last_message_id
    telegram.commands = {(scope, language): listed for scope, language, listed in bot.commands}
    telegram.descriptions = {(name, language): text for name, language, text in bot.descriptions}
    updates = [(int(key), _parse(database, _UPDATE, text)) for key, text in database.read("update")]
    telegram.updates.restore(updates, bot.next_update_id)
    telegram.updates.allowed_kinds, telegram.updates.webhook = bot.allowed_kinds, bot.webhook
    telegram.users = {user.id: user for user in _read(database, "user", _USER)}
    for chat in _read(database, "chat", _CHAT):
        chat.user = telegram.users.get(chat.id)
        members = chat.members.items()
        chat.members = {telegram.bot.id if found == bot.user_id else found: rank for found, rank in members}
        telegram.chats[chat.id] = chat
    try:
        _restore_messages(telegram, _read(database, "message", _MESSAGE))
        for query in _read(database, "query", _QUERY):
            message = telegram.chats[query.chat_id].messages.get(query.message_id)
            if message is not None:
                user = telegram.users[query.user_id]
                telegram.queries[query.id] = CallbackQuery(query.id, user, message, query.data, query.date)
    except KeyError as error:
        raise database.damaged(f"there is no person or chat {error}") from error
    _restore_files(telegram, _read(database, "file", _FILE), bot.last_file_number)


def _restore_messages(telegram: Telegram, records: list[_Message]) -> None:
    people = {_THE_BOT: telegram.bot, **telegram.users}
    for record in sorted(records, key=lambda record: record.message_id):
        chat = telegram.chats[record.chat_id]
        values = vars(record) | {"reply_to": None}
        del values["chat_id"], values["sender_id"]
        chat.messages[record.message_id] = Message(chat=chat, sender=people[record.sender_id], **values)
    for record in records:
        if record.reply_to is not None:
            chat_id, message_id = record.reply_to
            original = telegram.chats[chat_id].messages.get(message_id)
            telegram.chats[record.chat_id].messages[record.message_id].reply_to = original


def _restore_files(telegram: Telegram, records: list[_File], last_number: int) -> None:
    files = telegram.files
    files.last_number = last_number
    for record in records:
        cover = record.probe.get("cover")
        probe = Probe(**record.probe | {"cover": base64.b64decode(cover) if cover else None})
        content = files.content(record.unique_id, record.size_bytes, probe)
        stored = StoredFile(record.file_id, record.kind, content, record.file_path, record.attributes)
        if content.path.exists() and files.path_of(stored).exists():
            files.restore(stored)
    files.keep_only(set(_file_ids(telegram)))


def _file_ids(telegram: Telegram) -> Iterator[str]:
    """Return the ids of the files that messages have."""
    for chat in telegram.chats.values():
        for message in chat.messages.values():
            if not message.is_deleted:
                for content in (message.content, *(revision.content for revision in message.history)):
                    yield from _ids_in(content)


def _ids_in(content: Any) -> Iterator[str]:
    if isinstance(content, list):
        for item in content:
            yield from _ids_in(item)
    elif isinstance(content, dict):
        if "file_id" in content:
            yield content["file_id"]
        for item in content.values():
            yield from _ids_in(item)


class _SavedState:
    """Writes what has changed since the last `save`, in one transaction."""

    def __init__(self, telegram: Telegram, database: Database) -> None:
        self._telegram = telegram
        self._database = database
        self._last_event = 0
        self._written: dict[_Key, str] = {}
        for kind in ("bot", "user", "chat", "update", "query", "file"):
            self._written |= {(kind, key): text for key, text in database.read(kind)}

    def save(self) -> None:
        """Write the changes. Raises `DatabaseError`, with nothing written."""
        state = dict(self._state())
        changes: dict[_Key, str | None] = {
            key: text for key, text in state.items() if self._written.get(key) != text
        }
        changes |= {key: None for key in self._written if key not in state}
        changes |= dict(self._messages())
        if changes:
            self._database.write(changes)
        self._written = state
        self._last_event = self._telegram.events.last_number

    def _state(self) -> Iterator[tuple[_Key, str]]:
        """Yield all records but the messages; updates and files never change, so theirs are written once."""
        telegram = self._telegram
        yield ("bot", ""), _BOT.dump_json(self._bot()).decode()
        for user in telegram.users.values():
            yield ("user", str(user.id)), _USER.dump_json(user).decode()
        for chat in telegram.chats.values():
            yield ("chat", str(chat.id)), _CHAT.dump_json(chat, exclude={"messages", "user"}).decode()
        for number, update in telegram.updates.waiting:
            key = ("update", str(number))
            yield key, self._written.get(key) or _UPDATE.dump_json(update).decode()
        for query in telegram.queries.values():
            if not query.is_answered and telegram.clock() - query.date <= telegram.query_lifetime_s:
                message = query.message
                record = _Query(
                    query.id, query.user.id, message.chat.id, message.message_id, query.data, query.date
                )
                yield ("query", query.id), _QUERY.dump_json(record).decode()
        for file_id, stored in telegram.files.files.items():
            key = ("file", file_id)
            yield key, self._written.get(key) or _file_text(stored)

    def _bot(self) -> _Bot:
        telegram, updates = self._telegram, self._telegram.updates
        return _Bot(
            telegram.token,
            telegram.access_key,
            telegram.bot.id,
            telegram.last_message_id,
            telegram.files.last_number,
            updates.next_id,
            updates.allowed_kinds,
            updates.webhook,
            [(*key, listed) for key, listed in telegram.commands.items()],
            [(*key, text) for key, text in telegram.descriptions.items()],
        )

    def _messages(self) -> Iterator[tuple[_Key, str | None]]:
        """Return the records of the messages that the events since the last `save` name."""
        for event in reversed(self._telegram.events):
            if event.number <= self._last_event:
                return
            message = self._telegram.chats[event.chat_id].messages.get(event.content.get("message_id", 0))
            if message is not None:
                key = ("message", f"{event.chat_id}:{message.message_id}")
                yield key, None if message.is_deleted else _message_text(message)


def _message_text(message: Message) -> str:
    original = message.reply_to
    record = _Message(
        message.chat.id,
        message.message_id,
        _THE_BOT if message.is_from_bot else message.sender.id,
        message.date,
        message.content,
        message.reply_markup,
        message.thread_id,
        (original.chat.id, original.message_id) if original else None,
        message.media_group_id,
        message.edit_date,
        message.reaction,
        message.history,
    )
    return _MESSAGE.dump_json(record).decode()


def _file_text(stored: StoredFile) -> str:
    content, cover = stored.content, stored.content.probe.cover
    probe = asdict(content.probe) | {"cover": base64.b64encode(cover).decode() if cover else None}
    record = _File(
        *(stored.file_id, stored.kind, stored.file_path, stored.attributes),
        *(content.unique_id, content.size_bytes, probe),
    )
    return _FILE.dump_json(record).decode()
