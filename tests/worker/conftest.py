"""A user with a song, and a file server for stems."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fileserver import FileServer

from sandbox.telegram.chats import Message, User
from sandbox.telegram.person_actions import Telegram


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    """Where stems lie."""
    async with FileServer().run() as running:
        yield running


@pytest.fixture
def alice(telegram: Telegram) -> User:
    return telegram.add_user("Alice")


@pytest.fixture
async def sent(telegram: Telegram, alice: User, song: Path) -> Message:
    """Alice's message with the song."""
    return await telegram.send_file(alice.id, song)
