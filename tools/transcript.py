"""A chat as text: who sent what, which button was tapped, what the bot's message became."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.telegram.chats import CallbackQuery, Message, User
from sandbox.telegram.person_actions import Telegram

WAIT_S = 120.0
_BOT = "stemdrop"


class SilenceError(Exception):
    """The bot did not do what the story waits for."""


@dataclass
class Scene:
    """One chat while somebody plays in it; `lines` is its transcript so far."""

    telegram: Telegram
    chat_id: int
    lines: list[str] = field(default_factory=list)
    _told: int = 0
    _shown: dict[int, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._told = len(self.telegram.events)

    async def sends(self, person: User, song: Path, **how: Any) -> Message:
        """A person sends a file; returns the bot's next message."""
        length = f"  {how.pop('length')}" if "length" in how else ""
        caption = f"  “{how['caption']}”" if how.get("caption") else ""
        self._say(person.first_name, f"🎵 {song.name}{length}{caption}")
        sent = await self.telegram.send_file(self.chat_id, song, **self._who(person), **how)
        return await self._answer(sent)

    async def says(self, person: User, text: str, **how: Any) -> Message:
        """A person types; returns the bot's next message."""
        self._say(person.first_name, text)
        return await self._answer(self.telegram.send_text(self.chat_id, text, **self._who(person), **how))

    async def taps(self, person: User, message: Message, words: str) -> CallbackQuery:
        """A person presses the button whose text has these words in it."""
        found = [button for button in message.buttons if words in button["text"]]
        if not found:
            texts = [button["text"] for button in message.buttons]
            raise SilenceError(f"no button says {words!r}, only {texts}")
        self._say(person.first_name, f"taps [ {found[0]['text']} ]")
        data = found[0]["callback_data"]
        query = self.telegram.tap(self.chat_id, message.message_id, data, **self._who(person))
        await self.until(lambda: query.is_answered)
        return query

    async def until(self, what: Callable[[], object]) -> None:
        """Wait for it, and tell what happened meanwhile."""
        try:
            await self.telegram.wait_for(what, timeout_s=WAIT_S)
        except TimeoutError as error:
            self.tell()
            raise SilenceError("\n".join([*self.lines, str(error)])) from error
        self.tell()

    async def shows(self, message: Message, words: str) -> None:
        """Wait until the message has these words in it."""
        await self.until(lambda: words in message.text)

    def tell(self) -> None:
        """Put into words what the bot has done since."""
        events = self.telegram.events[self._told :]
        self._told += len(events)
        for event in events:
            if event.chat_id != self.chat_id:
                continue
            if event.kind == "callback_answer" and event.content["text"]:
                self._say(_BOT, f"(tells the tapper) {event.content['text']}")
            if event.kind in ("message", "edited") and event.content["from"]["is_bot"]:
                self._tell_message(event.content, is_new=event.kind == "message")

    def _tell_message(self, content: dict[str, Any], *, is_new: bool) -> None:
        text, buttons = _text(content), _buttons(content)
        before = self._shown.get(content["message_id"], ("", ""))
        self._shown[content["message_id"]] = (text, buttons)
        if (text, buttons) == before:
            return
        self._say(_BOT if is_new else "  ↻", text if text != before[0] else "(other buttons)")
        if buttons and buttons != before[1]:
            self.lines.append(buttons)

    async def _answer(self, sent: Message) -> Message:
        def answers() -> list[Message]:
            shown = self.telegram.bot_messages(self.chat_id)
            return [message for message in shown if message.message_id > sent.message_id]

        await self.until(answers)
        return answers()[0]

    def _who(self, person: User) -> dict[str, Any]:
        return {} if self.chat_id == person.id else {"user_id": person.id}

    def _say(self, who: str, what: str) -> None:
        first, *rest = what.splitlines() or [""]
        self.lines.append(f"{who:<9} {first}".rstrip())
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
