"""One user's songs that must be downloaded delay no other user, and a full disk loses none of them."""

import asyncio
import json
import shutil
from collections import namedtuple
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from product import Clock, Product, until
from recordings import record
from running import running

from bot import download_slots
from bot.app import build_bot
from bot.download_slots import DownloadSlots
from bot.updates import UpdateHandler
from sandbox.telegram.chats import User
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.errors import TryLater
from stemdrop.tasks.engine import Engine, Queue, Task

# More songs than the bot handles updates at once.
SONGS, CONCURRENCY = 6, 4


class HeldDownloads(httpx.AsyncBaseTransport):
    """Telegram's file server, which holds the downloads that it is told to until they are released."""

    def __init__(self, is_held: Callable[[str], bool]) -> None:
        self._inner = httpx.AsyncHTTPTransport()
        self._is_held = is_held
        self.released = asyncio.Event()
        self.held: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._is_held(request.url.path) and not self.released.is_set():
            self.held.append(request.url.path)
            await self.released.wait()
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def bot(product: Product, engine: Engine | None = None) -> AsyncIterator[UpdateHandler]:
    """A bot handles updates as `stemdrop bot` does, by this engine, while the block lasts."""
    tasks = build_bot(product)
    await tasks.application.initialize()
    engine = engine or product.engine

    def work(stop: asyncio.Event) -> Coroutine[Any, Any, None]:
        handlers = {Task.UPDATE: tasks.updates.run, Task.ALBUM: tasks.albums.run}
        return engine.work(Queue.UPDATES, handlers, stop, concurrency=CONCURRENCY, grace_s=0)

    async with running(work):
        yield tasks.updates


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_slots, "SLOT_AGAIN_S", 0.2)


def held_product(product: Product, telegram: Telegram, user: User) -> tuple[Product, HeldDownloads]:
    """The product, to which Telegram's file server gives no file of this user until they are released."""

    def is_of_user(path: str) -> bool:
        stored = telegram.files.by_path(path.partition(f"/file/bot{telegram.token}/")[2])
        media = [message.media or {} for message in telegram.messages(user.id)]
        return stored is not None and stored.file_id in [it.get("file_id") for it in media]

    downloads = HeldDownloads(is_of_user)
    client = httpx.AsyncClient(transport=downloads, timeout=None)
    product.closing.push_async_callback(client.aclose)
    return product.changed(files=TelegramFiles(product.bot, client)), downloads


@pytest.mark.usefixtures("quick")
async def test_a_users_many_documents_delay_no_other_user(
    product: Product, telegram: Telegram, alice: User, song: Path, tmp_path: Path
) -> None:
    """Single ones and those of an album."""
    take = record(tmp_path / "take.wav", seconds=1)
    bob = telegram.add_user("Bob")
    held, downloads = held_product(product, telegram, alice)
    async with running(held.poller().run), bot(held):
        for _ in range(2):
            await telegram.send_file(alice.id, take, media_group_id="7")
        while not (album := await product.albums.get(f"{alice.id}:7")) or len(album.files) < 2:  # noqa: ASYNC110 - Redis sets no event
            await asyncio.sleep(0.01)
        product.clock.advance(1)
        await until(lambda: downloads.held)
        for _ in range(SONGS):
            await telegram.send_file(alice.id, take)
        await telegram.wait_for(lambda: not telegram.updates.pending)
        await until(lambda: len(downloads.held) > 1)
        await telegram.send_file(bob.id, song)
        menu = (await telegram.wait_for(lambda: telegram.bot_messages(bob.id)))[0]
        query = telegram.tap(bob.id, menu.message_id, menu.buttons[0]["callback_data"])
        await telegram.wait_for(lambda: query.is_answered)
        await telegram.send_file(bob.id, take)
        await telegram.wait_for(lambda: len(telegram.bot_messages(bob.id)) == 2)
        assert telegram.bot_messages(alice.id) == []
        assert len(downloads.held) <= download_slots.PER_OWNER
        downloads.released.set()
        await until(lambda: len(telegram.bot_messages(alice.id)) == SONGS + 1, timeout_s=120)
    replied = {message.reply_to.message_id for message in telegram.bot_messages(alice.id) if message.reply_to}
    assert len(replied) == SONGS + 1
    assert len(await product.jobs(alice.id)) == SONGS + 2


@pytest.mark.usefixtures("quick")
async def test_songs_that_wait_are_answered_once_by_the_bots_after_a_restart(
    product: Product, telegram: Telegram, redis_url: str, alice: User, tmp_path: Path
) -> None:
    take = record(tmp_path / "take.wav", seconds=1)
    held, downloads = held_product(product, telegram, alice)
    async with running(held.poller().run):
        async with bot(held):
            for _ in range(SONGS):
                await telegram.send_file(alice.id, take)
            await telegram.wait_for(lambda: not telegram.updates.pending)
            await until(lambda: downloads.held)
        downloads.released.set()
        async with Engine(redis_url) as engine, bot(held), bot(held, engine):
            await until(lambda: len(telegram.bot_messages(alice.id)) >= SONGS, timeout_s=120)
            replied = [message.reply_to for message in telegram.bot_messages(alice.id)]
    assert len({message.message_id for message in replied if message}) == len(replied) == SONGS
    assert len(await product.jobs(alice.id)) == SONGS


def test_an_owner_holds_a_share_and_all_owners_together_the_total() -> None:
    slots = DownloadSlots(total=3, per_owner=2)
    with slots.hold(1, 10), slots.hold(1, 11), slots.hold(2, 12):
        for owner in (1, 2, 3):
            with pytest.raises(TryLater), slots.hold(owner, 20 + owner):
                pass
    with slots.hold(3, 23), slots.hold(2, 22), slots.hold(1, 21):
        pass


def test_an_owners_messages_go_in_their_order_and_wait_longer_the_later_they_are() -> None:
    clock = Clock()
    slots = DownloadSlots(total=2, per_owner=1, clock=clock)
    pauses = []
    with slots.hold(1, 10):
        for number in (11, 12, 13, 11):
            with pytest.raises(TryLater) as later, slots.hold(1, number):
                pass
            pauses.append(later.value.after_s)
    assert pauses == [1, 1.25, 1.5, 1]
    with suppress(TryLater), slots.hold(1, 12):
        pytest.fail("the older message is next")
    with slots.hold(1, 11):
        pass
    with slots.hold(1, 12):
        pass
    clock.advance(60)
    with slots.hold(1, 14):  # another process has handled message 13
        pass


async def test_a_song_waits_while_the_disk_is_nearly_full(
    product: Product, telegram: Telegram, alice: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    await telegram.send_file(alice.id, record(tmp_path / "take.wav"))
    (update,) = telegram.updates.pending
    application = product.application()
    await application.initialize()
    handler = product.updates(application)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
        with pytest.raises(TryLater, match="bytes are free"):
            await handler.run(json.dumps(update))
    assert telegram.bot_messages(alice.id) == []
    await handler.run(json.dumps(update))
    (menu,) = telegram.bot_messages(alice.id)
    assert menu.buttons
