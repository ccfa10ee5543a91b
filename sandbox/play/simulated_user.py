"""Plays one person in the chat: sends a song, taps a mode, watches the bot's message, keeps what arrives.

It goes through the person's door over HTTP, as a page in a browser does, and knows of the bot only what a
person sees: buttons, texts, audio.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx

# What a person reads off the bot's message: it worked, or it did not.
_DONE, _FAILED = "✅", "⚠️"
# The order of the buttons under a song (the product's interface).
MODES = ("separate_vocal", "split_stem")


class NotDeliveredError(Exception):
    """The stems did not come; the text is what the bot said, or what it failed to say."""


@dataclass(frozen=True)
class ReceivedStem:
    """One stem as it arrived in the chat and was kept."""

    title: str
    performer: str
    duration_s: int
    path: Path


class SimulatedUser:
    """One person in front of the local Telegram at `url`. `say` gets each new text of the bot's message."""

    def __init__(
        self, url: str, access_key: str, say: Callable[[str], None], *, language_code: str = "en"
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"{url}/chat", headers={"X-Sandbox-Key": access_key}, timeout=90
        )
        self._say = say
        self._language_code = language_code
        self._chat_id = 0

    async def __aenter__(self) -> "SimulatedUser":
        person = {"first_name": "Robin", "language_code": self._language_code}
        self._chat_id = (await self._post("users", json=person))["id"]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._http.aclose()

    async def play(
        self, song: Path, mode: str, out: Path, *, kind: str | None = None, timeout_s: float = 900
    ) -> list[ReceivedStem]:
        """Send `song` (as `kind`, else as a client would), tap `mode`, and keep the stems in `out`.

        Raises `NotDeliveredError` with the bot's own words when they do not come.
        """
        await anyio.Path(out).mkdir(parents=True, exist_ok=True)
        sent = await self._send(song, kind)
        async with asyncio.timeout(timeout_s):
            menu = await self._next_message(after=sent["message_id"])
            self._say(menu["text"])
            buttons = [b for row in menu.get("reply_markup", {}).get("inline_keyboard", []) for b in row]
            if not buttons:
                raise NotDeliveredError(menu["text"])
            chosen = buttons[MODES.index(mode)]["callback_data"]
            await self._post(
                f"{self._chat_id}/taps", json={"message_id": menu["message_id"], "callback_data": chosen}
            )
            await self._watch(menu["message_id"], menu["text"])
        return await self._keep(sent["message_id"], out)

    async def _send(self, song: Path, kind: str | None) -> dict[str, Any]:
        data = {"kind": kind} if kind else {}
        with song.open("rb") as file:
            return await self._post(f"{self._chat_id}/files", files={"file": (song.name, file)}, data=data)

    async def _next_message(self, after: int) -> dict[str, Any]:
        while True:
            messages, last_event = await self._messages()
            found = [m for m in messages if m["is_from_bot"] and m["message_id"] > after]
            if found:
                return found[0]
            await self._wait(last_event)

    async def _watch(self, message_id: int, seen: str) -> None:
        while True:
            messages, last_event = await self._messages()
            text = next((m.get("text", "") for m in messages if m["message_id"] == message_id), "")
            if text != seen:
                seen = text
                self._say(text)
            if text.startswith(_DONE):
                return
            if text.startswith(_FAILED) or not text:
                raise NotDeliveredError(text or "the bot's message is gone")
            await self._wait(last_event)

    async def _keep(self, after: int, out: Path) -> list[ReceivedStem]:
        messages, _ = await self._messages()
        stems = [m for m in messages if m["is_from_bot"] and m["message_id"] > after]
        return [await self._save(m["audio"], out) for m in stems if "audio" in m]

    async def _save(self, audio: dict[str, Any], out: Path) -> ReceivedStem:
        # a name from the chat is somebody else's word: only its last part may become a file here
        path = out / Path(audio.get("file_name") or f"{audio['file_unique_id']}.mp3").name
        async with self._http.stream("GET", f"files/{audio['file_id']}") as response:
            response.raise_for_status()
            with path.open("wb") as file:
                async for chunk in response.aiter_bytes():
                    file.write(chunk)
        return ReceivedStem(
            audio.get("title", ""), audio.get("performer", ""), audio.get("duration", 0), path
        )

    async def _messages(self) -> tuple[list[dict[str, Any]], int]:
        response = await self._http.get(f"{self._chat_id}/messages")
        response.raise_for_status()
        answer = response.json()
        return answer["messages"], answer["last_event"]

    async def _wait(self, last_event: int) -> None:
        response = await self._http.get(
            f"{self._chat_id}/events", params={"after": last_event, "timeout": 25}
        )
        response.raise_for_status()

    async def _post(self, path: str, **request: Any) -> dict[str, Any]:
        response = await self._http.post(path, **request)
        if response.is_error:
            raise NotDeliveredError(response.text)
        answer: dict[str, Any] = response.json()
        return answer
