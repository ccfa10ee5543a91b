"""A simulated user: sends a song, taps a mode, follows the bot's message and saves the stems that arrive.

It uses the chat API over HTTP, as the page in the browser does, and sees only what a person sees.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx

from separator.modes import STEM_NAMES

# How the bot's message begins at the end of a job.
_DONE, _FAILED = "✅", "⚠️"
# The buttons that turn the pages of the list of instruments.
_PREVIOUS_PAGE, _NEXT_PAGE = "‹", "›"
# The order of the buttons under a song, fixed by the product's interface.
ONE_INSTRUMENT = "split_stem_advanced"
MODES = ("separate_vocal", "split_stem", ONE_INSTRUMENT)


class NotDeliveredError(Exception):
    """The stems did not arrive; the message is the bot's text or the reason."""


@dataclass(frozen=True)
class ReceivedStem:
    """One stem that arrived in the chat, saved at `path`."""

    title: str
    path: Path


class SimulatedUser:
    """One user of the local Telegram at `url`; calls `on_text` with each new text of the bot's message."""

    def __init__(
        self, url: str, access_key: str, on_text: Callable[[str], None], *, language_code: str = "en"
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/chat",
            headers={"X-Sandbox-Key": access_key},
            timeout=90,
            trust_env=False,
        )
        self._on_text = on_text
        self._language_code = language_code
        self.chat_id = 0

    async def __aenter__(self) -> "SimulatedUser":
        person = {"first_name": "Robin", "language_code": self._language_code}
        self.chat_id = (await self.post("users", json=person))["id"]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._http.aclose()

    async def play(
        self,
        song: Path,
        mode: str,
        out: Path,
        *,
        instrument: str = "",
        kind: str | None = None,
        timeout_s: float = 900,
    ) -> list[ReceivedStem]:
        """Send `song`, tap `mode`, and save the stems in `out`. Raises `NotDeliveredError`.

        `instrument` is a name in the list of instruments or in the contract, or the beginning of one.
        """
        await anyio.Path(out).mkdir(parents=True, exist_ok=True)
        with song.open("rb") as file:
            form = {"kind": kind} if kind else {}
            sent = await self.post(f"{self.chat_id}/files", files={"file": (song.name, file)}, data=form)
        async with asyncio.timeout(timeout_s):
            menu = await self.next_message(after=sent["message_id"])
            self._on_text(menu["text"])
            buttons = _buttons(menu)
            if not buttons:
                raise NotDeliveredError(menu["text"])
            await self._tap(menu, buttons[MODES.index(mode)])
            if mode == ONE_INSTRUMENT:
                menu = await self._choose_instrument(menu, instrument)
            await self._wait_for_result(menu["message_id"], menu["text"])
        messages, _ = await self._messages()
        answers = [m for m in messages if m["is_from_bot"] and m["message_id"] > sent["message_id"]]
        stems = [await self._save(message["audio"], out) for message in answers if "audio" in message]
        if not stems:
            raise NotDeliveredError("the bot reported success, but no stem arrived")
        return stems

    async def next_message(self, after: int) -> dict[str, Any]:
        """Wait for the bot's first message with an id above `after`."""
        while True:
            messages, last_event = await self._messages()
            found = [m for m in messages if m["is_from_bot"] and m["message_id"] > after]
            if found:
                return found[0]
            await self._wait_for_event(last_event)

    async def post(self, path: str, **request: Any) -> dict[str, Any]:
        """Call the chat API. Raises `NotDeliveredError` with its answer when it refuses."""
        response = await self._http.post(path, **request)
        if response.is_error:
            raise NotDeliveredError(response.text)
        answer: dict[str, Any] = response.json()
        return answer

    async def _tap(self, message: dict[str, Any], button: dict[str, Any]) -> None:
        tap = {"message_id": message["message_id"], "callback_data": button["callback_data"]}
        await self.post(f"{self.chat_id}/taps", json=tap)

    async def _choose_instrument(self, menu: dict[str, Any], instrument: str) -> dict[str, Any]:
        """Tap `instrument` on one of the list's pages; returns the message with the list."""
        offered: list[str] = []
        while True:
            menu = await self._changed_buttons(menu)
            buttons = {button["text"]: button for button in _buttons(menu)[:-2]}  # the last two: back, cancel
            next_page = buttons.pop(_NEXT_PAGE, None)
            buttons.pop(_PREVIOUS_PAGE, None)
            if button := _named(buttons, instrument):
                await self._tap(menu, button)
                return menu
            offered += buttons
            if next_page is None:
                raise NotDeliveredError(f"there is no instrument {instrument}, only {', '.join(offered)}")
            await self._tap(menu, next_page)

    async def _changed_buttons(self, menu: dict[str, Any]) -> dict[str, Any]:
        """Wait until the message has other buttons."""
        while True:
            messages, last_event = await self._messages()
            now = next((m for m in messages if m["message_id"] == menu["message_id"]), None)
            if now is None:
                raise NotDeliveredError("the bot deleted its message")
            if _buttons(now) != _buttons(menu):
                return now
            await self._wait_for_event(last_event)

    async def _wait_for_result(self, message_id: int, last_text: str) -> None:
        while True:
            messages, last_event = await self._messages()
            # the bot replaces its message by the result below the stems
            later = [m for m in messages if m["is_from_bot"] and m["message_id"] >= message_id]
            text = next((m["text"] for m in later if "text" in m), "")
            if text != last_text:
                last_text = text
                self._on_text(text)
            if text.startswith(_DONE):
                return
            if text.startswith(_FAILED) or not text:
                raise NotDeliveredError(text or "the bot deleted its message")
            await self._wait_for_event(last_event)

    async def _save(self, audio: dict[str, Any], out: Path) -> ReceivedStem:
        # Only the last part of the name: it comes from the chat and must not lead out of the folder.
        path = out / Path(audio.get("file_name") or f"{audio['file_unique_id']}.mp3").name
        async with self._http.stream("GET", f"files/{audio['file_id']}") as response:
            response.raise_for_status()
            with path.open("wb") as file:
                async for chunk in response.aiter_bytes():
                    file.write(chunk)
        return ReceivedStem(audio.get("title", ""), path)

    async def _messages(self) -> tuple[list[dict[str, Any]], int]:
        response = await self._http.get(f"{self.chat_id}/messages")
        response.raise_for_status()
        answer = response.json()
        return answer["messages"], answer["last_event"]

    async def _wait_for_event(self, after: int) -> None:
        response = await self._http.get(f"{self.chat_id}/events", params={"after": after, "timeout": 25})
        response.raise_for_status()


def _buttons(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the message's inline buttons, row by row."""
    return [button for row in message.get("reply_markup", {}).get("inline_keyboard", []) for button in row]


def _named(buttons: dict[str, dict[str, Any]], instrument: str) -> dict[str, Any] | None:
    """Return the button, of those by label, whose label is `instrument` or begins with it.

    For a name of the contract its first word is enough, since the chat calls a Drum Kit "Drums".
    """
    wanted = instrument.casefold()
    beginnings = [wanted]
    if wanted in (name.casefold() for name in STEM_NAMES):
        beginnings.append(wanted.split()[0])
    # where credits are spent a label can end in " · free"
    labels = {label.partition(" · ")[0].casefold(): button for label, button in buttons.items()}
    found = (labels[label] for start in beginnings for label in labels if label.startswith(start))
    return labels.get(wanted) or next(found, None)
