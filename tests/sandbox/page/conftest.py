"""One Chromium, one sandbox with the real bot, and local Telegrams for the stories of the page."""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from process_pool import ForkedProcess

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.page.routes import PageLink
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.person_actions import Telegram

ADMIN = 20_000_000
# The ids of people whom the bot knows; all others are strangers.
GUESTS = range(20_000_001, 20_000_030)
# Shows a person's chat, unless the page has shown another one before it was reloaded.
SHOW = "sessionStorage.getItem('shown') ?? sessionStorage.setItem('shown', '{0},{1},0')"

PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}}
DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, encoded] of files) {
    const bytes = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "audio/mpeg" }));
  }
  return transfer;
}"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the stories with one line where there is no Chromium."""
    stories = [item for item in items if "browser" in getattr(item, "fixturenames", ())]
    if not stories or _has_chromium():
        return
    reason = f"!!! NOT TESTED: {len(stories)} stories of the page; no Chromium (apt-get install chromium)"
    stories[0].add_marker(pytest.mark.skip(reason=reason))
    config.hook.pytest_deselected(items=stories[1:])
    items[:] = [item for item in items if item not in stories[1:]]


def _has_chromium() -> bool:
    from browser import CHROMIUM

    return bool(CHROMIUM)


@pytest_asyncio.fixture(loop_scope="package", scope="package")
async def browser() -> AsyncIterator[Any]:
    from browser import chromium  # skips the files of the stories where Playwright is missing

    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="package")
async def tg(tmp_path: Path) -> AsyncIterator[Telegram]:
    telegram = Telegram(tmp_path / "telegram")
    yield telegram
    await telegram.close()


@pytest_asyncio.fixture(loop_scope="package")
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
        self, chat_id: int, text: str, *buttons: Sequence[dict[str, Any]], reply_to: Message | None = None
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


class Sandbox:
    """What `make sandbox` runs, with the light engine; only by invitation."""

    def __init__(self, environment: LocalEnvironment, browser: Any) -> None:
        self._environment = environment
        self._browser = browser
        self._guests = iter(GUESTS)
        self.telegram = environment.telegram
        self.api_key = environment.variables()["SEPARATION_API_KEY"]
        self.admin = self.telegram.add_user("Boss", user_id=ADMIN)

    def guest(self, name: str, language: str = "en") -> User:
        """Add a person whom the bot knows."""
        return self.telegram.add_user(name, language_code=language, user_id=next(self._guests))

    def page(self, person: User, chat_id: int = 0, **options: Any) -> AbstractAsyncContextManager[Any]:
        """Open the page at a person's chat with the bot, or at another chat; see `browser.quiet_page`."""
        from browser import quiet_page

        url = self._environment.page.url(self._environment.telegram_url)
        shown = SHOW.format(person.id, chat_id or person.id)
        return quiet_page(self._browser, url, script=shown, **options)


def said(page: Any, words: str) -> Any:
    """The texts of messages in the shown chat that contain these words."""
    return page.locator(".messages .text").filter(has_text=words)


async def drop(page: Any, *songs: Path) -> None:
    """Drop files on the page as a person does with the mouse."""
    files = [(song.name, base64.b64encode(song.read_bytes()).decode()) for song in songs]
    transfer = await page.evaluate_handle(DROP, files)
    for kind in ("dragover", "drop"):
        await page.dispatch_event("main", kind, {"dataTransfer": transfer})


@pytest_asyncio.fixture(loop_scope="package", scope="package")
async def world(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    settings = {"ACCESS": "invite", "ADMINS": str(ADMIN), "ALLOWED_USERS": ",".join(map(str, GUESTS))}
    async with LocalEnvironment(
        tmp_path_factory.mktemp("sandbox") / "world", settings=settings, process=ForkedProcess, bench=True
    ) as environment:
        await environment.start("up")
        yield Sandbox(environment, browser)
        assert environment.telegram.unanswered_queries == []
        lines = environment.logs().splitlines()
        bad = [line for line in lines if " ERROR " in line or "Traceback" in line]
        assert [line for line in bad if "credits at the separation service" not in line] == []
