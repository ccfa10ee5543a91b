"""One Chromium and one local Telegram for the stories of a file."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox.page.routes import PageLink
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message
from sandbox.telegram.person_actions import Telegram


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Any]:
    from browser import chromium  # skips the tests where Playwright is missing

    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def tg(tmp_path: Path) -> AsyncIterator[Telegram]:
    telegram = Telegram(tmp_path / "telegram")
    yield telegram
    await telegram.close()


@pytest_asyncio.fixture(loop_scope="module")
async def url(tg: Telegram) -> AsyncIterator[str]:
    """The page's address with its key."""
    link = PageLink(tg.access_key)
    async with run_telegram(tg, with_chat_api=True, link=link) as base:
        yield link.url(base)


class Bot:
    """The bot, which says what a test tells it to say."""

    def __init__(self, telegram: Telegram) -> None:
        self._telegram = telegram

    def says(
        self, chat_id: int, text: str, *buttons: Sequence[dict[str, str]], reply_to: Message | None = None
    ) -> Message:
        chat = self._telegram.chat(chat_id)
        markup = {"inline_keyboard": [list(row) for row in buttons]} if buttons else None
        return self._telegram.post(
            chat, self._telegram.bot, {"text": text}, reply_markup=markup, reply_to=reply_to
        )

    async def sends(self, chat_id: int, *songs: Path, reply_to: Message | None = None) -> list[Message]:
        """Send sounds as one album."""
        files, chat = self._telegram.files, self._telegram.chat(chat_id)
        contents = [
            {"audio": files.add_media("audio", files.read_path(song), song.name, title=song.stem).to_dict()}
            for song in songs
        ]
        return [
            self._telegram.post(chat, self._telegram.bot, content, media_group_id="1", reply_to=reply_to)
            for content in contents
        ]


@pytest.fixture
def bot(tg: Telegram) -> Bot:
    return Bot(tg)
