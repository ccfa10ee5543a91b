"""The bot's calls wait when Telegram says so, over all processes; the users' files come whole or in ranges;
the token shows nowhere."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import Clock
from cancelling import endlessly, open_files, written_and_cancelled
from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from redis.asyncio import Redis
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.error import BadRequest, ChatMigrated, Forbidden, NetworkError, RetryAfter
from telegram.ext import ExtBot

from sandbox.environment.server import serve
from sandbox.telegram.chats import User
from sandbox.telegram.faults import DOWNLOAD, FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.refusals import is_gone
from stemdrop.chat.telegram_bot import TELEGRAM_PATIENCE_S, RateLimiter, build_bot
from stemdrop.chat.telegram_files import TelegramFile, TelegramFiles
from stemdrop.errors import SourceGone, SourceUnavailable, TryLater
from stemdrop.observability.metric_definitions import LAST_TRY
from stemdrop.settings import Settings
from stemdrop.storage.counters import Counters
from stemdrop.storage.flood_limiter import FloodLimiter

# Linux opens it for its own process, and fails to read its first byte.
UNREADABLE = Path("/proc/self/mem")


@pytest.fixture
def alice(telegram: Telegram) -> User:
    return telegram.add_user("Alice")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def files(bot: ExtBot[float], http: httpx.AsyncClient) -> TelegramFiles:
    return TelegramFiles(bot, http)


async def add_file(telegram: Telegram, alice: User, path: Path) -> str:
    """The file id of a song that Alice sent."""
    message = await telegram.send_file(alice.id, path)
    assert message.media
    return str(message.media["file_id"])


async def read(files: TelegramFiles, file: TelegramFile, start: int = 0, end: int | None = None) -> bytes:
    async with files.open(file, start, end) as chunks:
        return b"".join([chunk async for chunk in chunks])


# Waiting


async def test_a_429_is_obeyed_and_tried_again(bot: ExtBot[float], telegram: Telegram, alice: User) -> None:
    fault = telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method="sendMessage", retry_after_s=1)
    await bot.send_message(alice.id, "patience")
    refused, taken = [call for call in telegram.calls if call.method == "sendMessage"]
    assert (refused.status, taken.status, fault.hits) == (429, 200, 1)
    assert taken.time - refused.time >= 1
    assert [message.text for message in telegram.bot_messages(alice.id)] == ["patience"]


async def test_a_429_pauses_every_bot(
    bot: ExtBot[float], settings: Settings, redis: Redis, telegram: Telegram, alice: User
) -> None:
    bob = telegram.add_user("Bob")
    telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method="sendMessage", retry_after_s=1)
    async with build_bot(settings, FloodLimiter(redis)) as other:
        await bot.send_message(alice.id, "first")
        telegram.faults.add(
            FaultKind.TOO_MANY_REQUESTS, chat_id=alice.id, retry_after_s=int(TELEGRAM_PATIENCE_S) + 9
        )
        with pytest.raises(TryLater):
            await bot.send_message(alice.id, "too much")
        with pytest.raises(TryLater) as met:
            await other.send_message(bob.id, "of another process, to another chat")
    assert TELEGRAM_PATIENCE_S < met.value.after_s <= TELEGRAM_PATIENCE_S + 9
    assert [call.status for call in telegram.calls if call.method == "sendMessage"] == [429, 200, 429]


async def test_repeated_429s_end_in_try_later(bot: ExtBot[float], telegram: Telegram, alice: User) -> None:
    telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method="sendMessage", retry_after_s=1, times=None)
    with pytest.raises(TryLater) as met:
        await bot.send_message(alice.id, "never")
    assert met.value.after_s == 1
    assert len([call for call in telegram.calls if call.method == "sendMessage"]) == 3


async def test_a_server_that_refuses_styles_of_buttons_is_sent_none(
    bot: ExtBot[float], telegram: Telegram, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    styled = InlineKeyboardMarkup([[InlineKeyboardButton("x", callback_data="x", style="danger")]])
    first = await bot.send_message(alice.id, "styled", reply_markup=styled)
    monkeypatch.setattr("sandbox.telegram.bot_api.keyboards._BUTTON_STYLES", ("primary",))
    await bot.edit_message_text("bare", alice.id, first.message_id, reply_markup=styled)
    await bot.send_message(alice.id, "bare too", reply_markup=styled)
    shown = telegram.bot_messages(alice.id)
    assert [message.buttons for message in shown] == [[{"text": "x", "callback_data": "x"}]] * 2
    assert shown[0].history[0].reply_markup == styled.to_dict()
    statuses = [call.status for call in telegram.calls if call.method != "getMe"]
    assert statuses == [200, 400, 200, 200]


async def test_the_bot_never_exceeds_the_flood_limits(
    bot: ExtBot[float], telegram: Telegram, alice: User
) -> None:
    """The bot waits by itself before Telegram refuses anything."""
    for number in range(12):
        await bot.send_message(alice.id, str(number))
    assert len(telegram.bot_messages(alice.id)) == 12
    assert telegram.flood_refusals == 0


@pytest.mark.parametrize(
    ("endpoint", "data", "messages"),
    [
        ("sendMessage", {"chat_id": 7}, 1),
        ("sendAudio", {"chat_id": 7}, 1),
        ("editMessageText", {"chat_id": 7}, 1),
        ("sendMediaGroup", {"chat_id": 7, "media": [1, 2, 3]}, 3),
        ("sendChatAction", {"chat_id": 7}, 0),
        ("answerCallbackQuery", {}, 0),
        ("getFile", {}, 0),
    ],
)
async def test_each_call_counts_its_messages(
    redis: Redis, clock: Clock, endpoint: str, data: dict[str, Any], messages: int
) -> None:
    flood = FloodLimiter(redis, clock)

    async def call() -> str:
        return "done"

    assert await RateLimiter(flood).process_request(call, (), {}, endpoint, data, None) == "done"
    clock.advance(0.2)  # for the limit over all chats
    assert await flood.reserve(7, 10 - messages) == (0, True)
    assert (await flood.reserve(7, 1))[0] > 0


class Call:
    """Calls that pass the limiter; waiting moves only the clock, and `then` is called meanwhile."""

    def __init__(self, flood: FloodLimiter, clock: Clock) -> None:
        self.waited_s = 0.0
        self.then: list[float] = []  # further pauses, each ordered at the end of a wait
        self._flood, self._clock = flood, clock

    async def make(self, endpoint: str, patience_s: float | None = None) -> Any:
        async def call() -> str:
            return "done"

        limiter = RateLimiter(self._flood)
        return await limiter.process_request(call, (), {}, endpoint, {"chat_id": 7}, patience_s)

    async def sleep(self, seconds: float) -> None:
        self.waited_s += seconds
        self._clock.advance(seconds)
        if self.then:
            await self._flood.pause(self.then.pop())


@pytest.fixture
def flood(redis: Redis, clock: Clock) -> FloodLimiter:
    return FloodLimiter(redis, clock)


@pytest.fixture
def call(flood: FloodLimiter, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Call:
    made = Call(flood, clock)
    monkeypatch.setattr("stemdrop.chat.telegram_bot.sleep", made.sleep)
    return made


@pytest.mark.parametrize("endpoint", ["getFile", "getMe", "answerCallbackQuery", "sendChatAction"])
async def test_calls_that_show_nothing_do_not_wait(flood: FloodLimiter, call: Call, endpoint: str) -> None:
    """Files are fetched and taps are answered while messages must wait."""
    await flood.reserve(7, 10)
    await flood.pause(100)
    assert await call.make(endpoint) == "done"
    assert call.waited_s == 0


async def test_a_refused_chat_action_is_not_tried_again(flood: FloodLimiter, call: Call) -> None:
    refused = []

    async def refuse() -> None:
        refused.append(True)
        raise RetryAfter(1)

    with pytest.raises(RetryAfter):
        await RateLimiter(flood).process_request(refuse, (), {}, "sendChatAction", {"chat_id": 7}, None)
    assert refused == [True]
    assert call.waited_s == 0
    assert await flood.reserve(7, 1) == (0, True)


@pytest.mark.parametrize("endpoint", ["sendMessage", "editMessageText"])
@pytest.mark.parametrize(
    ("pause_s", "patience_s", "waits"),
    [
        (TELEGRAM_PATIENCE_S - 1, None, True),
        (TELEGRAM_PATIENCE_S + 1, None, False),
        (TELEGRAM_PATIENCE_S - 1, 2, False),
        (600, 601, True),
        (602, 601, False),
    ],
)
async def test_a_call_waits_as_long_as_its_caller_allows(
    flood: FloodLimiter, call: Call, endpoint: str, pause_s: float, patience_s: float | None, waits: bool
) -> None:
    await flood.pause(pause_s)
    if waits:
        assert await call.make(endpoint, patience_s) == "done"
        assert call.waited_s == pytest.approx(pause_s, abs=0.01)
    else:
        with pytest.raises(TryLater) as met:
            await call.make(endpoint, patience_s)
        assert met.value.after_s == pytest.approx(pause_s, abs=0.01)
        assert call.waited_s == 0


async def test_the_allowed_wait_is_for_all_waits_of_a_call(flood: FloodLimiter, call: Call) -> None:
    await flood.pause(6)
    call.then = [6, 6]
    with pytest.raises(TryLater):
        await call.make("sendMessage", 15)
    assert call.waited_s == pytest.approx(12, abs=0.01)


async def test_a_pause_that_begins_while_a_call_waits_for_its_time_is_kept(
    flood: FloodLimiter, call: Call
) -> None:
    for chat_id in range(10, 20):
        assert await flood.reserve(chat_id, 2)
    call.then = [3]
    assert await call.make("sendMessage") == "done"
    assert call.waited_s == pytest.approx(0.55 + 3, abs=0.01)


# Files


def bytes_of(path: Path, start: int = 0, end: int | None = None) -> bytes:
    return path.read_bytes()[start:end]


def remove(path: Path) -> None:
    path.unlink()


async def test_a_file_is_downloaded_whole(
    files: TelegramFiles, telegram: Telegram, alice: User, song: Path
) -> None:
    file = await files.find(await add_file(telegram, alice, song))
    content = bytes_of(song)
    assert (file.size_bytes, file.path) == (len(content), None)
    assert await read(files, file) == content


RANGES = [
    (0, 1),
    (0, 10),
    (10, 20),
    (100_000, 200_000),
    (65_536, 131_072),
    (1, None),
    (400_000, None),
    (0, 10**9),
]


@pytest.mark.parametrize("is_local", [False, True])
async def test_a_part_of_a_file_is_downloaded(
    files: TelegramFiles, telegram: Telegram, alice: User, song: Path
) -> None:
    file = await files.find(await add_file(telegram, alice, song))
    for start, end in RANGES:
        assert await read(files, file, start, end) == bytes_of(song, start, end), (start, end)


async def test_a_server_that_ignores_ranges_is_handled(files: TelegramFiles, song: Path) -> None:
    app = FastAPI()

    @app.get("/song")
    async def whole() -> Response:
        return Response(bytes_of(song))

    async with serve(app) as url:
        file = TelegramFile(len(bytes_of(song)), None, f"{url}/song")
        for start, end in RANGES:
            assert await read(files, file, start, end) == bytes_of(song, start, end), (start, end)


async def test_an_unread_file_releases_its_connection(
    files: TelegramFiles, telegram: Telegram, alice: User, song: Path
) -> None:
    file = await files.find(await add_file(telegram, alice, song))
    for _ in range(3):
        async with files.open(file) as chunks:
            assert await anext(aiter(chunks))


async def test_saving_stops_at_the_size_limit(
    files: TelegramFiles, telegram: Telegram, alice: User, song: Path, tmp_path: Path
) -> None:
    file = await files.find(await add_file(telegram, alice, song))
    assert await files.save(file, tmp_path / "song", 10**9) == len(bytes_of(song))
    assert bytes_of(tmp_path / "song") == bytes_of(song)
    assert 1000 < await files.save(file, tmp_path / "part", 1000) < 200_000


async def test_a_cancelled_download_closes_its_file(files: TelegramFiles, tmp_path: Path) -> None:
    app, path = FastAPI(), tmp_path / "song"

    @app.get("/song")
    async def endless() -> Response:
        return StreamingResponse(endlessly(bytes(100_000)), media_type="audio/mpeg")

    async with serve(app) as url:
        saving = asyncio.create_task(files.save(TelegramFile(10**9, None, f"{url}/song"), path, 10**9))
        await written_and_cancelled(saving, path)
        assert open_files(path) == []


@pytest.mark.parametrize("is_local", [True])
async def test_in_local_mode_a_file_is_read_from_the_disk(
    files: TelegramFiles, telegram: Telegram, alice: User, song: Path
) -> None:
    file = await files.find(await add_file(telegram, alice, song))
    assert file.path
    assert bytes_of(file.path) == bytes_of(song)
    assert not [call for call in telegram.calls if call.method == DOWNLOAD]
    remove(file.path)
    with pytest.raises(SourceGone):
        await read(files, file)


@pytest.mark.parametrize("is_local", [True])
async def test_in_local_mode_an_unshared_disk_is_reported(
    files: TelegramFiles, telegram: Telegram, alice: User, song: Path
) -> None:
    file_id = await add_file(telegram, alice, song)
    remove(telegram.file_location(file_id))
    with pytest.raises(SourceGone, match="disk"):
        await files.find(file_id)


@pytest.mark.parametrize("is_local", [True])
async def test_in_local_mode_a_file_that_cannot_be_read_is_unavailable(
    files: TelegramFiles, telegram: Telegram, alice: User, song: Path
) -> None:
    file_id = await add_file(telegram, alice, song)
    file = await files.find(file_id)
    assert file.path
    remove(file.path)
    for target in (file.path, UNREADABLE):  # a link to itself cannot be opened
        file.path.symlink_to(target)
        with pytest.raises(SourceUnavailable) as not_found:
            await files.find(file_id)
        with pytest.raises(SourceUnavailable) as not_read:
            await read(files, file)
        for met in (not_found, not_read):
            assert telegram.token not in "".join(traceback.format_exception(met.value))
        remove(file.path)


@pytest.mark.parametrize("file_id", ["unknown", "", "../../etc/passwd", "\x00"])
async def test_an_unknown_file_is_gone(files: TelegramFiles, file_id: str) -> None:
    with pytest.raises(SourceGone):
        await files.find(file_id)


async def test_a_file_that_telegram_no_longer_has_is_gone(
    files: TelegramFiles, telegram: Telegram, alice: User, song: Path
) -> None:
    file_id = await add_file(telegram, alice, song)
    telegram.faults.add(FaultKind.FILE_GONE, method="getFile")
    with pytest.raises(SourceGone):
        await files.find(file_id)
    file = await files.find(file_id)
    telegram.faults.add(FaultKind.FILE_GONE, method=DOWNLOAD)
    with pytest.raises(SourceGone, match="404") as met:
        await read(files, file)
    assert telegram.token not in repr(met.value)


async def test_refusals_of_the_file_server_are_raised(files: TelegramFiles) -> None:
    """Some statuses mean that the file is gone; after the others it is requested again."""
    app, raised = FastAPI(), dict[int, Exception]()
    gone, broken = (400, 401, 403, 404, 410), (302, 416, 429, 500, 502, 503)

    @app.get("/song/{status}")
    async def refuse(status: int) -> Response:
        return PlainTextResponse("no", status, headers={"Location": "/elsewhere"})

    async with serve(app) as url:
        for status in (*gone, *broken):
            try:
                await read(files, TelegramFile(1, None, f"{url}/song/{status}"))
            except (SourceGone, httpx.RemoteProtocolError) as error:
                raised[status] = error
    assert {status: type(error) for status, error in raised.items()} == {
        **dict.fromkeys(gone, SourceGone),
        **dict.fromkeys(broken, httpx.RemoteProtocolError),
    }
    for status, error in raised.items():
        assert str(status) in str(error)
        assert url not in repr(error)
        assert "/song" not in repr(error)


async def test_a_redirect_of_the_file_server_to_an_impossible_host_is_raised(files: TelegramFiles) -> None:
    app = FastAPI()

    @app.get("/song")
    async def redirect() -> Response:
        return Response(status_code=302, headers={"Location": "https://xn--.example/"})

    async with serve(app) as url:
        with pytest.raises(httpx.RemoteProtocolError):
            await read(files, TelegramFile(1, None, f"{url}/song"))


async def test_a_broken_download_is_raised(
    files: TelegramFiles, telegram: Telegram, alice: User, song: Path
) -> None:
    file = await files.find(await add_file(telegram, alice, song))
    telegram.faults.add(FaultKind.RESET_MID_DOWNLOAD)
    with pytest.raises(httpx.HTTPError) as met:
        await read(files, file)
    assert telegram.token not in str(met.value)


async def test_compressed_transfer_is_not_asked_for(files: TelegramFiles, song: Path) -> None:
    app = FastAPI()
    asked: list[str] = []

    @app.middleware("http")
    async def note(request: Any, call_next: Any) -> Any:
        asked.append(request.headers["accept-encoding"])
        return await call_next(request)

    @app.get("/song")
    async def whole() -> Response:
        return FileResponse(song)

    async with serve(app) as url:
        await read(files, TelegramFile(1, None, f"{url}/song"))
    assert asked == ["identity"]


async def test_the_token_is_in_no_representation(
    files: TelegramFiles, telegram: Telegram, alice: User, song: Path
) -> None:
    file = await files.find(await add_file(telegram, alice, song))
    for shown in (repr(file), str(file), f"{file}", repr([file])):
        assert telegram.token not in shown
        assert "http" not in shown


# Gone


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (Forbidden("Forbidden: bot was blocked by the user"), True),
        (Forbidden("Forbidden: bot was kicked from the group chat"), True),
        (BadRequest("Chat not found"), True),
        (BadRequest("Message to be replied not found"), False),
        (ChatMigrated(-100), False),
        (NetworkError("down"), False),
    ],
)
def test_errors_that_mean_a_chat_is_gone(error: Any, gone: bool) -> None:
    assert is_gone(error) is gone


async def test_whether_telegram_was_reached_is_noted(
    settings: Settings, redis: Redis, telegram: Telegram, clock: Clock
) -> None:
    """Polling included; a gateway's 502 is no Telegram."""
    counters, times = Counters(redis, clock), []
    async with build_bot(settings, FloodLimiter(redis), counters) as bot:
        for kind in (None, FaultKind.SERVER_ERROR):
            clock.advance(10)
            if kind:
                telegram.faults.add(kind, method="getUpdates")
            with suppress(NetworkError):
                await bot.get_updates()
            await counters.write()
            found = await counters.all()
            times.append({how: found.get(LAST_TRY.field("telegram", how)) for how in ("reached", "failed")})
    before, now = clock.now - 10, clock.now
    assert times == [{"reached": before, "failed": None}, {"reached": before, "failed": now}]
