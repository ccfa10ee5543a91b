"""The state of the local Telegram, shared by the Bot API and the chat API, and the steps that change it.

Each step changes the state, wakes the waiting tasks, and queues the bot's update when a person caused it.
`sandbox.telegram.membership` and `person_actions` add what people do, `sandbox.telegram.bot_api` the bot's
methods.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sandbox.bench.records import RecordKind, Records
from sandbox.telegram.bounded_log import BoundedLog
from sandbox.telegram.chats import MEDIA_KINDS, CallbackQuery, Chat, Message, Revision, Topic, User
from sandbox.telegram.disk_room import DiskRoom
from sandbox.telegram.errors import PersonError
from sandbox.telegram.faults import Faults
from sandbox.telegram.files import FileStore
from sandbox.telegram.flood import FloodLimits
from sandbox.telegram.updates import Updates

_T = TypeVar("_T")
_MEGABYTE = 1024 * 1024
_KEPT_REVISIONS = 100  # of one message: progress is edited every few seconds


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes (core.telegram.org/bots/api#sending-files, #using-a-local-bot-api-server)."""

    download_bytes: int | None
    upload_bytes: int


PUBLIC_LIMITS = Limits(20 * _MEGABYTE, 50 * _MEGABYTE)
LOCAL_LIMITS = Limits(None, 2000 * _MEGABYTE)


@dataclass(frozen=True)
class BotCall:
    """One logged call of the bot.

    `parameters` has uploads as {"file_name", "size_bytes"}. `status` is the HTTP status, None without an
    answer. `fault` names the injected fault. `answer` is what a successful call returned.
    """

    method: str
    parameters: dict[str, Any]
    status: int | None
    description: str
    time: float
    fault: str | None = None
    answer: Any = None


@dataclass(frozen=True)
class Event:
    """A visible change in a chat.

    `kind` is message, edited, deleted, reaction, callback_answer, action or chat.
    """

    number: int
    chat_id: int
    kind: str
    content: dict[str, Any]


def _for_people(message: Message) -> dict[str, Any]:
    """Return a message with `is_from_bot`, because a channel's messages do not name their author."""
    return {**message.to_dict(), "is_from_bot": message.is_from_bot}


class TelegramState:
    """Chats, messages, files and updates. Not thread-safe: everything runs on one event loop.

    Only the latest of the bot's calls and of the events are kept (`BoundedLog`).
    """

    def __init__(
        self,
        directory: Path,
        *,
        token: str | None = None,
        username: str = "stemdrop_sandbox_bot",
        clock: Callable[[], float] = time.time,
        local: bool = False,
        query_lifetime_s: float = 60.0,
        webhook_first_pause_s: float = 0.5,
    ) -> None:
        """Create an empty Telegram that stores its files in `directory`.

        `token` is random by default. `clock` returns Unix seconds, for dates, flood limits and the age of
        callback queries. `local` switches on the local mode of a self-run Bot API server.
        """
        self.token = token or f"{7_000_000_000 + secrets.randbelow(10**9)}:{secrets.token_urlsafe(27)[:35]}"
        if not re.fullmatch(r"\d+:[\w-]{5,}", self.token):
            raise ValueError("a bot token is a number, a colon and at least 5 letters")
        self.clock = clock
        self.local = local
        self.limits = LOCAL_LIMITS if local else PUBLIC_LIMITS
        self.bot = User(int(self.token.split(":")[0]), "stemdrop", is_bot=True, username=username)
        self.files = FileStore(directory)
        self.room = DiskRoom(directory)
        self.updates = Updates(clock, self.notify_change, webhook_first_pause_s=webhook_first_pause_s)
        self.flood = FloodLimits(clock)
        self.faults = Faults(clock)
        self.records = Records(self.wake, clock)
        self.calls: BoundedLog[BotCall] = BoundedLog()
        self.events: BoundedLog[Event] = BoundedLog()
        self.users: dict[int, User] = {}
        self.chats: dict[int, Chat] = {}
        self.queries: dict[str, CallbackQuery] = {}
        # (scope as JSON, language) → commands
        self.commands: dict[tuple[str, str], list[dict[str, str]]] = {}
        self.descriptions: dict[tuple[str, str], str] = {}  # (description | short_description, language)
        self.query_lifetime_s = query_lifetime_s
        self.has_privacy_mode = False  # a real bot has it until its owner switches it off
        self.access_key = secrets.token_urlsafe(24)
        self.run_id = secrets.token_hex(4)  # numbers of events begin anew with each run
        self.closing = asyncio.Event()
        self.last_message_id = 0  # of the chats that share one sequence
        self.save: Callable[[], None] = lambda: None  # see `sandbox.telegram.saved_state`
        self._changed = asyncio.Event()

    @property
    def flood_refusals(self) -> int:
        """How often the bot got 429 because it sent too fast; injected faults do not count."""
        return self.flood.refusals

    @property
    def unanswered_queries(self) -> list[CallbackQuery]:
        return [query for query in self.queries.values() if not query.is_answered]

    async def wait_for(self, predicate: Callable[[], _T], timeout_s: float = 200.0) -> _T:
        """Wait until `predicate()` is truthy and return its value. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while not (found := predicate()):
            left_s = deadline - time.monotonic()
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, left_s))
            except TimeoutError:
                if found := predicate():
                    return found
                calls = [f"{call.method} → {call.status} {call.description}" for call in self.calls[-5:]]
                raise TimeoutError(f"not within {timeout_s} s; the bot's last calls: {calls}") from None
        return found

    async def wait_for_events(self, chat_id: int, after: int, timeout_s: float) -> list[Event]:
        """Return the chat's events after number `after`; waits for one, and returns [] at the timeout."""

        def new_events() -> list[Event]:
            return [event for _, event in self.events.after(after) if event.chat_id == chat_id]

        with suppress(TimeoutError):
            await self.wait_for(lambda: new_events() or self.closing.is_set(), timeout_s)
        return new_events()

    async def wait_for_records(self, after: int, timeout_s: float) -> None:
        """Wait for a record or a job's change with a number above `after`, or for the timeout."""
        with suppress(TimeoutError):
            await self.wait_for(lambda: self.records.last_number > after or self.closing.is_set(), timeout_s)

    async def close(self) -> None:
        self.closing.set()
        self.notify_change()
        await self.updates.close()

    def log_call(self, call: BotCall) -> None:
        """Log a call; the bench records all but the constant successful getUpdates, which would fill it."""
        self.calls.append(call)
        if call.method != "getUpdates" or call.status != 200:
            self.records.add(
                RecordKind.BOT,
                call.method,
                parameters=call.parameters,
                status=call.status,
                description=call.description,
                fault=call.fault,
                answer=call.answer,
            )
        self.notify_change()

    def notify_change(self) -> None:
        """Save the state, then wake the tasks that wait for a change; to be called after every change."""
        self.save()
        self.wake()

    def wake(self) -> None:
        """Wake the tasks that wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def add_event(self, chat_id: int, kind: str, content: dict[str, Any]) -> None:
        self.events.append(Event(self.events.last_number + 1, chat_id, kind, content))
        self.notify_change()

    def chat(self, chat_id: int) -> Chat:
        """Return a chat by id. Raises PersonError when there is none."""
        if chat_id not in self.chats:
            raise PersonError(f"there is no chat {chat_id}")
        return self.chats[chat_id]

    def post(
        self,
        chat: Chat,
        sender: User,
        content: dict[str, Any],
        *,
        reply_markup: dict[str, Any] | None = None,
        thread_id: int | None = None,
        reply_to: Message | None = None,
        media_group_id: str | None = None,
        opens_topic: bool = False,
    ) -> Message:
        """Add a message to a chat; a person's message becomes an update."""
        message = Message(
            self._new_message_id(chat),
            chat,
            sender,
            int(self.clock()),
            content,
            reply_markup,
            thread_id,
            reply_to,
            media_group_id,
        )
        if opens_topic:
            message.thread_id = message.message_id
        chat.messages[message.message_id] = message
        chat.last_message_id = message.message_id
        if not sender.is_bot and self._reaches_bot(message):
            self.updates.add("channel_post" if chat.type == "channel" else "message", message.to_dict())
        self.add_event(chat.id, "message", _for_people(message))
        return message

    def edit(self, message: Message, content: dict[str, Any], reply_markup: dict[str, Any] | None) -> None:
        """Change a message and keep its history; a person's edit becomes an update."""
        message.history.append(
            Revision(message.edit_date or message.date, message.content, message.reply_markup)
        )
        del message.history[:-_KEPT_REVISIONS]
        message.content, message.reply_markup = content, reply_markup
        message.edit_date = int(self.clock())
        if not message.sender.is_bot and self._reaches_bot(message):
            kind = "channel_post" if message.chat.type == "channel" else "message"
            self.updates.add(f"edited_{kind}", message.to_dict())
        self.add_event(message.chat.id, "edited", _for_people(message))

    def delete(self, message: Message) -> None:
        """Delete a message for everyone; as in Telegram, no update tells the bot."""
        message.is_deleted = True
        self.add_event(message.chat.id, "deleted", {"message_id": message.message_id})

    def find_message(self, chat: Chat, message_id: int) -> Message | None:
        message = chat.messages.get(message_id)
        return None if message is None or message.is_deleted else message

    def open_topic(self, chat: Chat, name: str, opener: User) -> Topic:
        """Add a topic with its service message, whose id is the topic's thread id."""
        created = {"forum_topic_created": {"name": name, "icon_color": 7322096}}
        topic = Topic(self.post(chat, opener, created, opens_topic=True).message_id, name)
        chat.topics[topic.thread_id] = topic
        self.notify_change()
        return topic

    def _reaches_bot(self, message: Message) -> bool:
        """Return whether the bot gets an update for a message.

        In groups with privacy mode, a bot gets commands, its mentions, replies to it and service messages
        (core.telegram.org/bots/features#privacy-mode).
        """
        chat, text = message.chat, message.text
        if chat.is_bot_out:
            return False
        if chat.type in ("private", "channel") or not self.has_privacy_mode:
            return True
        is_reply = message.reply_to is not None and message.reply_to.is_from_bot
        is_service = message.kind not in (*MEDIA_KINDS, "text", "location", "contact", "dice")
        return text.startswith("/") or f"@{self.bot.username}" in text or is_reply or is_service

    def _new_message_id(self, chat: Chat) -> int:
        """Return the next id. Supergroups and channels have their own sequences; other chats share one."""
        if chat.type in ("supergroup", "channel"):
            return max(chat.last_message_id, 1) + 1
        self.last_message_id += 1
        return self.last_message_id
