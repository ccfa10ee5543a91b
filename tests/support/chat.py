"""A simulated user of a journey: sends songs, taps buttons, and waits for messages."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from waits import WAIT_S

from sandbox.telegram.chats import CallbackQuery, Message
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import CREDITS, Mode


def mode_label(translate: Language, mode: Mode) -> str:
    """Return the label of a mode's button at the price of the paid hosts."""
    return translate.priced(f"mode.{mode}", translate.credits(CREDITS[mode]))


class Person:
    """One person in their private chat, or in `chat_id`."""

    def __init__(
        self, telegram: Telegram, name: str = "Alice", *, language: str = "en", chat_id: int = 0
    ) -> None:
        self.telegram = telegram
        self.id = telegram.add_user(name, language_code=language).id
        self.chat_id = chat_id or self.id
        self.wait_s = WAIT_S

    async def sees(self, what: Callable[[], object]) -> None:
        """Wait until the condition holds; raises `TimeoutError`."""
        await self.telegram.wait_for(what, timeout_s=self.wait_s)

    async def sends(self, song: Path, **how: str | int | None) -> Message:
        """Send a song into the chat."""
        return await self.telegram.send_file(self.chat_id, song, user_id=self.id, **how)  # type: ignore[arg-type]

    def says(self, text: str, *, thread_id: int | None = None, reply_to: int | None = None) -> Message:
        """Type a text into the chat."""
        place = {"thread_id": thread_id, "reply_to": reply_to}
        return self.telegram.send_text(self.chat_id, text, user_id=self.id, **place)

    async def asks(self, song: Path, *numbers: int, **how: str | int | None) -> tuple[Message, Message]:
        """Send a song and press the n-th button for each of `numbers` in turn; returns song and menu."""
        sent = await self.sends(song, **how)
        menu = await self.answer_to(sent)
        for number in numbers:
            await self.press_and_wait(menu, number)
        return sent, menu

    async def press_and_wait(self, menu: Message, number: int) -> None:
        """Press the n-th button and wait until the message has changed."""
        before = len(menu.history)
        await self.taps(menu, number)
        await self.sees(lambda: len(menu.history) > before or menu.is_deleted)

    async def answer_to(self, message: Message) -> Message:
        """Wait for the bot's first message after this one."""
        await self.sees(lambda: self.after(message))
        return self.after(message)[0]

    def after(self, message: Message) -> list[Message]:
        """Return the bot's messages after this one."""
        shown = self.telegram.bot_messages(self.chat_id)
        return [found for found in shown if found.message_id > message.message_id]

    def audios(self) -> list[Message]:
        """Return all stems that have arrived."""
        return [found for found in self.telegram.bot_messages(self.chat_id) if found.kind == "audio"]

    def titles(self) -> list[str]:
        """Return the titles of the stems that have arrived, in order."""
        return [str(message.media["title"]) for message in self.audios() if message.media]

    async def taps(self, message: Message, number: int) -> CallbackQuery:
        """Press the n-th button and wait until the bot has answered the tap."""
        data = message.buttons[number]["callback_data"]
        query = self.telegram.tap(self.chat_id, message.message_id, data, user_id=self.id)
        await self.sees(lambda: query.is_answered)
        return query

    async def presses(self, message: Message, label: str) -> CallbackQuery:
        """Tap the button with this label, as `taps` does."""
        return await self.taps(message, number_of(message, label))

    async def presses_twice(self, message: Message, label: str) -> list[CallbackQuery]:
        """Tap the button with this label twice at the same moment."""
        number = number_of(message, label)
        return list(await asyncio.gather(*(self.taps(message, number) for _ in range(2))))

    async def shows(self, message: Message, start: str) -> Message:
        """Wait until the message, or the result that replaced it, starts with this text; returns it."""
        await self.sees(lambda: self.current(message, start).text.startswith(start))
        return self.current(message, start)

    def current(self, message: Message, start: str = "") -> Message:
        """Return the message, or the result of its song that has replaced it below the stems."""
        if not message.is_deleted:
            return message
        later = [it for it in self.after(message) if it.kind == "text" and it.reply_to is message.reply_to]
        return next((it for it in later if it.text.startswith(start)), message)


def number_of(message: Message, label: str) -> int:
    """Return the number of the button with this label."""
    labels = [str(button["text"]) for button in message.buttons]
    found = [number for number, text in enumerate(labels) if label in text]
    assert found, f"no button {label!r} in {labels} under {message.text!r}"
    return found[0]
