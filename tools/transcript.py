"""A chat as text: people's messages and taps, and the bot's messages with their changes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.telegram.chats import CallbackQuery, Message, User
from sandbox.telegram.person_actions import Telegram

TIMEOUT_S = 120.0
_BOT = "stemdrop"


class NoReplyError(Exception):
    """The bot did not do what the story waits for, or a button to tap is missing."""


@dataclass
class Transcript:
    """One chat with the actions of people in it; `lines` is its text so far."""

    telegram: Telegram
    chat_id: int
    lines: list[str] = field(default_factory=list)
    _next_event: int = 0
    _shown: dict[int, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._next_event = len(self.telegram.events)

    async def send_file(self, person: User, song: Path, *, length: str, **options: Any) -> Message:
        """Send a file as `person`; returns the bot's next message."""
        caption = f"  “{options['caption']}”" if "caption" in options else ""
        self._add_line(person.first_name, f"🎵 {song.name}  {length}{caption}")
        sent = await self.telegram.send_file(self.chat_id, song, **self._sender(person), **options)
        return await self._answer_to(sent)

    async def send_text(self, person: User, text: str, **options: Any) -> Message:
        """Send a text as `person`; returns the bot's next message."""
        self._add_line(person.first_name, text)
        return await self._answer_to(
            self.telegram.send_text(self.chat_id, text, **self._sender(person), **options)
        )

    async def tap(self, person: User, message: Message, words: str, number: int = 0) -> CallbackQuery:
        """Press a button whose text contains `words`, and wait for the bot's answer.

        `number` is the place of the button among several such buttons, from 0. Raises `NoReplyError`.
        """
        texts = [button["text"] for button in message.buttons]
        found = [button for button in message.buttons if words in button["text"]]
        if len(found) <= number:
            raise NoReplyError(f"there is no button {words!r}, only {texts}")
        self._add_line(person.first_name, f"taps [ {found[number]['text']} ]")
        data = found[number]["callback_data"]
        query = self.telegram.tap(self.chat_id, message.message_id, data, **self._sender(person))
        await self.wait_until(lambda: query.is_answered)
        return query

    async def wait_for_text(self, message: Message, words: str) -> Message:
        """Wait until the message, or the result that replaced it, contains `words`; returns it."""
        await self.wait_until(lambda: words in self._current(message).text)
        return self._current(message)

    async def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()` is true, and add the bot's actions up to then."""
        try:
            await self.telegram.wait_for(condition, timeout_s=TIMEOUT_S)
        except TimeoutError as error:
            self._add_events()
            raise NoReplyError("\n".join([*self.lines, str(error)])) from error
        self._add_events()

    def text_messages(self) -> list[Message]:
        """Return the bot's text messages in the chat."""
        return [m for m in self.telegram.bot_messages(self.chat_id) if m.kind == "text"]

    def _current(self, message: Message) -> Message:
        if not message.is_deleted:
            return message
        replies = [it for it in self.text_messages() if it.reply_to is message.reply_to]
        return replies[-1] if replies else message

    def _add_events(self) -> None:
        events = self.telegram.events[self._next_event :]
        self._next_event += len(events)
        for event in events:
            if event.chat_id != self.chat_id:
                continue
            if event.kind == "callback_answer" and event.content["text"]:
                self._add_line(_BOT, f"(in a pop-up) {event.content['text']}")
            if event.kind == "deleted" and event.content["message_id"] in self._shown:
                self._add_line("  ✗", f"(deleted) {self._shown[event.content['message_id']][0]}")
            if event.kind in ("message", "edited") and event.content["from"]["is_bot"]:
                self._add_bot_message(event.content, is_new=event.kind == "message")

    def _add_bot_message(self, content: dict[str, Any], *, is_new: bool) -> None:
        text, buttons = _text(content), _buttons(content)
        before = self._shown.get(content["message_id"], ("", ""))
        self._shown[content["message_id"]] = (text, buttons)
        if (text, buttons) == before:
            return
        self._add_line(_BOT if is_new else "  ↻", text if text != before[0] else "(other buttons)")
        if buttons and buttons != before[1]:
            self.lines.append(buttons)

    async def _answer_to(self, sent: Message) -> Message:
        def answers() -> list[Message]:
            messages = self.telegram.bot_messages(self.chat_id)
            return [message for message in messages if message.message_id > sent.message_id]

        await self.wait_until(answers)
        return answers()[0]

    def _sender(self, person: User) -> dict[str, Any]:
        return {} if self.chat_id == person.id else {"user_id": person.id}

    def _add_line(self, name: str, text: str) -> None:
        first, *rest = text.splitlines() or [""]
        self.lines.append(f"{name:<9} {first}".rstrip())
        self.lines.extend(f"{'':<9} {line}".rstrip() for line in rest)


def _text(content: dict[str, Any]) -> str:
    for kind, sign in (("audio", "▶"), ("voice", "🎙"), ("document", "📎")):
        if media := content.get(kind):
            name = media.get("title") or media.get("file_name") or content.get("caption", "")
            seconds = media.get("duration")
            length = f"  {seconds // 60}:{seconds % 60:02}" if seconds else ""
            caption = content.get("caption", "")
            return f"{sign} {name}{length}" + (f"  “{caption}”" if caption and caption != name else "")
    return str(content.get("text", ""))


def _buttons(content: dict[str, Any]) -> str:
    rows = (content.get("reply_markup") or {}).get("inline_keyboard", [])
    shown = ["  ".join(f"[ {button['text']} ]" for button in row) for row in rows]
    return "\n".join(f"{'':<9} {row}" for row in shown)
