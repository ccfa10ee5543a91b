"""The webhook in process: its HTTP application on loopback, and the worker's tasks, of the real parts."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fileserver import FileServer
from product import Product

from sandbox.environment.server import serve
from sandbox.telegram.chats import Message, User
from sandbox.telegram.person_actions import Telegram
from webhook.app import create_app


@pytest.fixture
async def client(product: Product) -> AsyncIterator[httpx.AsyncClient]:
    """Over HTTP to the webhook."""
    app = create_app(product)
    async with (
        serve(app) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=30) as http,
    ):
        yield http


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
